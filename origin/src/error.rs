//! What can go wrong between the node and an origin, and who is at fault.
//!
//! One `FetchError` says what happened ([`Fault`]), how far the exchange had come ([`Phase`]) and whether a byte
//! of the request can have reached the origin (`nothing_sent`: the licence to retry). It answers the three
//! questions that callers ask: the word for metrics and logs, the RFC 9209 token for the client, 502 or 504.

use std::error::Error;
use std::fmt;
use std::io;

/// The step of an exchange in which it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waiting for a connection that the pool may use.
    Queue,
    Resolve,
    Connect,
    /// The TLS handshake.
    Handshake,
    /// Writing the request.
    Send,
    /// Waiting for and reading the response head.
    Head,
    /// Reading the response body.
    Body,
}

impl Phase {
    pub fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Send => "send",
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

/// The deadline that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    Queue,
    Resolve,
    Connect,
    FirstByte,
    BetweenBytes,
    Total,
}

impl Deadline {
    pub fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::BetweenBytes => "between_bytes",
            Self::Total => "total",
        }
    }
}

/// Why a TLS connection was not made, or broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsFault {
    /// The origin's certificate was refused: expired, wrong name, unknown issuer, revoked.
    Certificate,
    /// The origin sent an alert: it refused us.
    Alert,
    /// Anything else that is not TLS as we speak it.
    Protocol,
}

/// Which bound an origin's answer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Excess {
    /// The head of the response, in bytes or in fields.
    Head,
    /// More interim (1xx) answers than allowed.
    Interim,
    /// Chunk framing: more overhead than data.
    Framing,
    Trailers,
    /// More bytes of content than the settings take.
    Body,
}

/// Why the request body ended early: the client's side of the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// The client went away.
    Disconnected,
    /// The client broke the framing of its body; the reason names the rule.
    Malformed(&'static str),
    /// The body is larger than the site takes, or than it declared.
    TooLarge,
    /// The body is shorter than it declared.
    TooShort,
    /// The client sent nothing for longer than allowed.
    Timeout,
}

impl BodyFault {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Disconnected => "client_disconnected",
            Self::Malformed(_) => "client_body_malformed",
            Self::TooLarge => "client_body_too_large",
            Self::TooShort => "client_body_too_short",
            Self::Timeout => "client_body_timeout",
        }
    }
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(reason) => write!(f, "malformed request body: {reason}"),
            other => f.write_str(other.word()),
        }
    }
}

impl Error for BodyFault {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens at the address.
    Refused,
    /// No route, or the address is prohibited.
    Unreachable,
    Dns,
    /// The name leads to addresses that the settings do not allow.
    Prohibited,
    Tls(TlsFault),
    Timeout(Deadline),
    /// The origin closed or reset before its answer began.
    Reset,
    /// The origin ended the HTTP/2 stream and not its connection.
    StreamReset,
    /// The origin closed or reset inside its answer.
    Truncated,
    /// The answer is not HTTP; the reason names the rule that was broken.
    Malformed(&'static str),
    TooLarge(Excess),
    /// The pool's queue for this origin is full.
    QueueFull,
    /// Every server of the group works on as much as it may.
    Overloaded,
    /// Every server of the group is ejected or absent.
    NoServer,
    /// Nobody wants the answer any more.
    Canceled,
    /// The client's body failed: the origin is not to blame.
    ClientBody(BodyFault),
    /// Any other failure of a socket.
    Io(io::ErrorKind),
}

impl Fault {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Refused => "connection_refused",
            Self::Unreachable => "unreachable",
            Self::Dns => "dns_error",
            Self::Prohibited => "address_prohibited",
            Self::Tls(TlsFault::Certificate) => "tls_certificate_error",
            Self::Tls(TlsFault::Alert) => "tls_alert_received",
            Self::Tls(TlsFault::Protocol) => "tls_protocol_error",
            Self::Timeout(Deadline::Queue) => "queue_timeout",
            Self::Timeout(Deadline::Resolve) => "dns_timeout",
            Self::Timeout(Deadline::Connect) => "connect_timeout",
            Self::Timeout(Deadline::FirstByte) => "first_byte_timeout",
            Self::Timeout(Deadline::BetweenBytes) => "between_bytes_timeout",
            Self::Timeout(Deadline::Total) => "total_timeout",
            Self::Reset => "reset",
            Self::StreamReset => "stream_reset",
            Self::Truncated => "truncated",
            Self::Malformed(_) => "malformed",
            Self::TooLarge(Excess::Head) => "head_too_large",
            Self::TooLarge(Excess::Interim) => "too_many_interim",
            Self::TooLarge(Excess::Framing) => "framing_too_large",
            Self::TooLarge(Excess::Trailers) => "trailers_too_large",
            Self::TooLarge(Excess::Body) => "body_too_large",
            Self::QueueFull => "queue_full",
            Self::Overloaded => "overloaded",
            Self::NoServer => "no_server",
            Self::Canceled => "canceled",
            Self::ClientBody(fault) => fault.word(),
            Self::Io(_) => "io_error",
        }
    }
}

/// A fetch that failed.
#[derive(Debug)]
pub struct FetchError {
    pub fault: Fault,
    pub phase: Phase,
    /// No byte of the request can have reached the origin, or the origin said that it did not act on it
    /// (RFC 9113 8.7): any method may be sent again, if its body was not begun.
    pub nothing_sent: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl FetchError {
    pub fn new(fault: Fault, phase: Phase) -> Self {
        let nothing_sent = matches!(phase, Phase::Queue | Phase::Resolve | Phase::Connect | Phase::Handshake);
        Self { fault, phase, nothing_sent, source: None }
    }

    pub fn timeout(deadline: Deadline, phase: Phase) -> Self {
        Self::new(Fault::Timeout(deadline), phase)
    }

    pub fn malformed(reason: &'static str, phase: Phase) -> Self {
        Self::new(Fault::Malformed(reason), phase)
    }

    /// Sorts a socket's error into a fault. What rustls says travels inside `io::Error`.
    pub fn io(error: io::Error, phase: Phase) -> Self {
        let fault = fault_of_io(&error, phase);
        Self::new(fault, phase).because(error)
    }

    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn with_nothing_sent(mut self, nothing_sent: bool) -> Self {
        self.nothing_sent = nothing_sent;
        self
    }

    /// The word for metrics and logs.
    pub fn word(&self) -> &'static str {
        self.fault.word()
    }

    /// 504 when a deadline passed, else 502 (RFC 9110 15.6.3, 15.6.5).
    pub fn is_timeout(&self) -> bool {
        matches!(self.fault, Fault::Timeout(_))
    }

    /// Our own bounds kept the request from the origin: 503, and later again (RFC 9110 15.6.4).
    pub fn is_overload(&self) -> bool {
        matches!(self.fault, Fault::QueueFull | Fault::Overloaded | Fault::Timeout(Deadline::Queue))
    }

    /// The `error` parameter of Proxy-Status (RFC 9209 2.3).
    pub fn proxy_status_error(&self) -> &'static str {
        match &self.fault {
            Fault::Refused => "connection_refused",
            Fault::Unreachable => "destination_ip_unroutable",
            Fault::Dns => "dns_error",
            Fault::Prohibited => "destination_ip_prohibited",
            Fault::Tls(TlsFault::Certificate) => "tls_certificate_error",
            Fault::Tls(TlsFault::Alert) => "tls_alert_received",
            Fault::Tls(TlsFault::Protocol) => "tls_protocol_error",
            Fault::Timeout(Deadline::Resolve) => "dns_timeout",
            Fault::Timeout(Deadline::Connect) => "connection_timeout",
            Fault::Timeout(Deadline::Queue) | Fault::QueueFull | Fault::Overloaded => "connection_limit_reached",
            Fault::Timeout(Deadline::BetweenBytes) if self.phase == Phase::Send => "connection_write_timeout",
            Fault::Timeout(Deadline::BetweenBytes) => "connection_read_timeout",
            Fault::Timeout(Deadline::FirstByte | Deadline::Total) => "http_response_timeout",
            Fault::Reset | Fault::StreamReset | Fault::Io(_) => "connection_terminated",
            Fault::Truncated => "http_response_incomplete",
            Fault::Malformed(_) if self.phase == Phase::Body => "http_response_transfer_coding",
            Fault::Malformed(_) | Fault::TooLarge(Excess::Interim | Excess::Framing) => "http_protocol_error",
            Fault::TooLarge(Excess::Head) => "http_response_header_section_size",
            Fault::TooLarge(Excess::Trailers) => "http_response_trailer_section_size",
            Fault::TooLarge(Excess::Body) => "http_response_body_size",
            Fault::NoServer => "destination_unavailable",
            Fault::Canceled => "proxy_internal_error",
            Fault::ClientBody(_) => "http_request_error",
        }
    }
}

fn fault_of_io(error: &io::Error, phase: Phase) -> Fault {
    use io::ErrorKind as K;
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Fault::Tls(fault_of_tls(tls));
    }
    match error.kind() {
        K::ConnectionRefused => Fault::Refused,
        K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown | K::AddrNotAvailable => Fault::Unreachable,
        K::TimedOut if phase == Phase::Connect => Fault::Timeout(Deadline::Connect),
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof | K::NotConnected => {
            if phase == Phase::Body { Fault::Truncated } else { Fault::Reset }
        }
        kind => Fault::Io(kind),
    }
}

fn fault_of_tls(error: &rustls::Error) -> TlsFault {
    match error {
        rustls::Error::InvalidCertificate(_)
        | rustls::Error::NoCertificatesPresented
        | rustls::Error::UnsupportedNameType
        | rustls::Error::InvalidCertRevocationList(_) => TlsFault::Certificate,
        rustls::Error::AlertReceived(_) => TlsFault::Alert,
        _ => TlsFault::Protocol,
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.fault.word(), self.phase.word())?;
        if let Fault::Malformed(reason) = self.fault {
            write!(f, ": {reason}")?;
        }
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_inside_the_body_is_a_truncation_and_before_it_a_reset() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(FetchError::io(reset(), Phase::Head).fault, Fault::Reset);
        assert_eq!(FetchError::io(reset(), Phase::Body).fault, Fault::Truncated);
    }

    #[test]
    fn what_fails_before_the_request_is_written_has_sent_nothing() {
        assert!(FetchError::new(Fault::Refused, Phase::Connect).nothing_sent);
        assert!(!FetchError::new(Fault::Reset, Phase::Send).nothing_sent);
    }

    #[test]
    fn a_tls_error_inside_an_io_error_keeps_its_word() {
        let inner = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let error = FetchError::io(io::Error::new(io::ErrorKind::InvalidData, inner), Phase::Handshake);
        assert_eq!(error.word(), "tls_certificate_error");
        assert_eq!(error.proxy_status_error(), "tls_certificate_error");
    }
}
