//! Why a request was not let in: one word per reason, and the status that is answered before the connection closes.
//!
//! Every reason here is the client's fault. The words are metric labels and log values, so they do not change.

use std::fmt;

/// A request that is answered with an error and followed by the end of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status to answer with.
    pub status: u16,
    /// What was wrong.
    pub reason: Reason,
}

/// What was wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A line ended by LF without CR.
    BareLf,
    /// A CR that no LF follows.
    BareCr,
    /// A NUL byte in the head.
    Nul,
    /// Another control byte in a field value.
    Control,
    /// More empty lines before the request line than are passed over.
    EmptyLines,
    /// The method is not a token.
    BadMethod,
    /// The method is longer than any in use.
    MethodTooLong,
    /// CONNECT: this is not a forward proxy.
    Connect,
    /// The request target is none of the forms of RFC 9112 3.2, or has bytes that no URI has.
    BadTarget,
    /// The request line is too long.
    TargetTooLong,
    /// The last word of the request line is no HTTP version, or is missing (HTTP/0.9).
    BadVersion,
    /// A version of HTTP that is not spoken here.
    UnknownVersion,
    /// A field name that is empty, not a token, or not followed by a colon.
    BadHeaderName,
    /// White space between field name and colon.
    SpaceBeforeColon,
    /// A field value continued on the next line.
    ObsFold,
    /// A framing field whose name is written with an underscore.
    FramingAlias,
    /// More than one Content-Length.
    DuplicateLength,
    /// A Content-Length that is not a decimal number, or too large for one.
    BadLength,
    /// Content-Length together with Transfer-Encoding.
    LengthAndEncoding,
    /// A Transfer-Encoding that does not end in exactly one `chunked`.
    BadEncoding,
    /// A transfer coding that is not spoken here.
    UnknownEncoding,
    /// Transfer-Encoding in an HTTP/1.0 request.
    EncodingInOld,
    /// No Host in an HTTP/1.1 request.
    HostMissing,
    /// More than one Host.
    HostDuplicate,
    /// A Host that names no host.
    HostBad,
    /// Too many field lines.
    TooManyHeaders,
    /// A field line or the whole head is too large.
    HeaderTooLarge,
    /// An expectation other than `100-continue`.
    Expectation,
    /// A body larger than allowed.
    BodyTooLarge,
    /// Chunked framing, trailer section included, that breaks RFC 9112 7.1.
    BadChunk,
    /// Too much chunk framing for the data it frames.
    ChunkOverhead,
    /// Too many or too large trailer fields.
    TrailerTooLarge,
    /// A field of the connection where a protocol has none (RFC 9114 4.2).
    ConnectionField,
    /// A pseudo-header field that is unknown, missing, repeated, or late (RFC 9114 4.3).
    PseudoHeader,
}

impl Reason {
    /// The word for metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::BareLf => "bare-lf",
            Self::BareCr => "bare-cr",
            Self::Nul => "nul",
            Self::Control => "control",
            Self::EmptyLines => "empty-lines",
            Self::BadMethod => "bad-method",
            Self::MethodTooLong => "method-too-long",
            Self::Connect => "connect",
            Self::BadTarget => "bad-target",
            Self::TargetTooLong => "target-too-long",
            Self::BadVersion => "bad-version",
            Self::UnknownVersion => "unknown-version",
            Self::BadHeaderName => "bad-header-name",
            Self::SpaceBeforeColon => "space-before-colon",
            Self::ObsFold => "obs-fold",
            Self::FramingAlias => "framing-alias",
            Self::DuplicateLength => "duplicate-length",
            Self::BadLength => "bad-length",
            Self::LengthAndEncoding => "length-and-encoding",
            Self::BadEncoding => "bad-encoding",
            Self::UnknownEncoding => "unknown-encoding",
            Self::EncodingInOld => "encoding-in-1.0",
            Self::HostMissing => "host-missing",
            Self::HostDuplicate => "host-duplicate",
            Self::HostBad => "host-bad",
            Self::TooManyHeaders => "too-many-headers",
            Self::HeaderTooLarge => "header-too-large",
            Self::Expectation => "expectation",
            Self::BodyTooLarge => "body-too-large",
            Self::BadChunk => "bad-chunk",
            Self::ChunkOverhead => "chunk-overhead",
            Self::TrailerTooLarge => "trailer-too-large",
            Self::ConnectionField => "connection-field",
            Self::PseudoHeader => "pseudo-header",
        }
    }

    /// Every reason, in the order of the enum: the label set of the counter.
    pub const ALL: [Self; 34] = [
        Self::BareLf,
        Self::BareCr,
        Self::Nul,
        Self::Control,
        Self::EmptyLines,
        Self::BadMethod,
        Self::MethodTooLong,
        Self::Connect,
        Self::BadTarget,
        Self::TargetTooLong,
        Self::BadVersion,
        Self::UnknownVersion,
        Self::BadHeaderName,
        Self::SpaceBeforeColon,
        Self::ObsFold,
        Self::FramingAlias,
        Self::DuplicateLength,
        Self::BadLength,
        Self::LengthAndEncoding,
        Self::BadEncoding,
        Self::UnknownEncoding,
        Self::EncodingInOld,
        Self::HostMissing,
        Self::HostDuplicate,
        Self::HostBad,
        Self::TooManyHeaders,
        Self::HeaderTooLarge,
        Self::Expectation,
        Self::BodyTooLarge,
        Self::BadChunk,
        Self::ChunkOverhead,
        Self::TrailerTooLarge,
        Self::ConnectionField,
        Self::PseudoHeader,
    ];

    /// Position in [`Reason::ALL`], for an array of counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The status of the answer; 400 unless a clause names a better one.
    pub fn status(self) -> u16 {
        match self {
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417, // RFC 9110 10.1.1
            Self::TooManyHeaders | Self::HeaderTooLarge | Self::TrailerTooLarge => 431,
            Self::MethodTooLong | Self::Connect | Self::UnknownEncoding => 501, // RFC 9112 3 and 6.1
            Self::UnknownVersion => 505,
            _ => 400,
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { status: reason.status(), reason }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason.word(), self.status)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_reasons_is_whole_and_in_order() {
        for (position, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), position, "{}", reason.word());
        }
        assert_eq!(Reason::PseudoHeader.index() + 1, Reason::ALL.len());
    }

    #[test]
    fn no_two_reasons_share_a_word() {
        let words: std::collections::HashSet<_> = Reason::ALL.into_iter().map(Reason::word).collect();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
