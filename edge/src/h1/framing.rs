//! Where a message's body ends, and what else its head says about the connection (RFC 9112 6, 7 and 9).
//!
//! [`Facts`] is filled line by line as the head is read, dispatching on the length of the name, so that the lines
//! that say nothing about framing cost one comparison. Two answers to the same question are refused, never merged.

use headland_origin::framing::{is_token_byte, parse_length, trim_ows};
use http::{Method, StatusCode};

use super::authority::is_authority;
use super::fields::{Line, Span};
use super::head::Version;
use super::refuse::Reason;

/// How the end of a request body is found (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is no body.
    Empty,
    /// So many bytes follow.
    Length(u64),
    /// Chunks follow, the last of size zero.
    Chunked,
}

/// How the end of a response body is told (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// No body, whatever the fields say: HEAD, 204, 304.
    None,
    /// By Content-Length.
    Length(u64),
    /// By chunks.
    Chunked,
    /// By the end of the connection: for HTTP/1.0 clients when the length is not known.
    UntilClose,
}

impl ResponseFraming {
    /// Chooses the framing of an answer with this status and body length to this kind of request.
    pub fn choose(method: &Method, version: Version, status: StatusCode, length: Option<u64>) -> Self {
        if *method == Method::HEAD || matches!(status.as_u16(), 100..=199 | 204 | 304) {
            return Self::None;
        }
        match (length, version) {
            (Some(length), _) => Self::Length(length),
            (None, Version::Http11) => Self::Chunked,
            (None, Version::Http10) => Self::UntilClose, // RFC 9112 6.1: no transfer codings for 1.0
        }
    }
}

/// What the lines read so far say about framing and the connection.
#[derive(Debug, Default)]
pub(super) struct Facts {
    host: Option<Span>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    connection_upgrade: bool,
    upgrade: Option<Span>,
    upgrades: u16,
    continue_expected: bool,
}

/// The conclusion from all lines of a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conclusion {
    pub(super) host: Option<Span>,
    pub(super) framing: BodyFraming,
    pub(super) keep_alive: bool,
    pub(super) expect_continue: bool,
    pub(super) upgrade: Option<Span>,
}

impl Facts {
    /// Takes note of one line of the head.
    #[inline]
    pub(super) fn note(&mut self, head: &[u8], line: Line, version: Version) -> Result<(), Reason> {
        let name = line.name.of(head);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.note_host(head, line.value),
            6 if name.eq_ignore_ascii_case(b"expect") => self.note_expect(line.value.of(head)),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrades = self.upgrades.saturating_add(1);
                self.upgrade = Some(line.value);
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.note_connection(line.value.of(head));
                Ok(())
            }
            14 if is_alias(name, b"content-length") => self.note_length(name, line.value.of(head)),
            17 if is_alias(name, b"transfer-encoding") => self.note_encoding(name, line.value.of(head), version),
            _ => Ok(()),
        }
    }

    fn note_host(&mut self, head: &[u8], value: Span) -> Result<(), Reason> {
        // RFC 9112 3.2: more than one Host, or an invalid one, gets 400.
        if self.host.replace(value).is_some() {
            return Err(Reason::HostDuplicate);
        }
        if is_authority(value.of(head)) { Ok(()) } else { Err(Reason::HostBad) }
    }

    fn note_expect(&mut self, value: &[u8]) -> Result<(), Reason> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Reason::Expectation);
        }
        self.continue_expected = true;
        Ok(())
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in members(value) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.connection_upgrade = true,
                _ => {}
            }
        }
    }

    fn note_length(&mut self, name: &[u8], value: &[u8]) -> Result<(), Reason> {
        if name.contains(&b'_') {
            return Err(Reason::FramingAlias);
        }
        let length = parse_length(value).map_err(|_| Reason::BadLength)?;
        // RFC 9112 6.3 lets identical copies pass as one; whoever sends two is not trusted to send two alike.
        if self.length.replace(length).is_some() { Err(Reason::DuplicateLength) } else { Ok(()) }
    }

    fn note_encoding(&mut self, name: &[u8], value: &[u8], version: Version) -> Result<(), Reason> {
        if name.contains(&b'_') {
            return Err(Reason::FramingAlias);
        }
        if version == Version::Http10 {
            return Err(Reason::EncodingInOld); // RFC 9112 6.1
        }
        if self.chunked {
            return Err(Reason::BadEncoding);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(judge_encoding(value));
        }
        self.chunked = true;
        Ok(())
    }

    /// Draws the conclusion once the head has ended.
    pub(super) fn conclude(&self, head: &[u8], version: Version) -> Result<Conclusion, Reason> {
        if self.host.is_none() && version == Version::Http11 {
            return Err(Reason::HostMissing);
        }
        let framing = match (self.length, self.chunked) {
            (Some(_), true) => return Err(Reason::LengthAndEncoding),
            (None, true) => BodyFraming::Chunked,
            (None | Some(0), false) => BodyFraming::Empty,
            (Some(length), false) => BodyFraming::Length(length),
        };
        let persistent = match version {
            Version::Http11 => !self.close,
            Version::Http10 => self.keep_alive && !self.close, // RFC 9112 9.3
        };
        Ok(Conclusion {
            host: self.host,
            framing,
            keep_alive: persistent,
            // RFC 9110 10.1.1: void in HTTP/1.0 and without content.
            expect_continue: self.continue_expected && version == Version::Http11 && framing != BodyFraming::Empty,
            upgrade: self.upgrade.filter(|span| {
                let named = self.connection_upgrade && self.upgrades == 1 && version == Version::Http11;
                named && is_upgrade_offered(span.of(head))
            }),
        })
    }
}

/// Whether an Upgrade value may be passed on. `h2c` may not (RFC 9113 3.1 made it obsolete): a server that took it
/// would switch the connection behind our back. RFC 9110 7.8 allows any offer to be ignored.
fn is_upgrade_offered(value: &[u8]) -> bool {
    !value.is_empty() && !members(value).any(|member| member.eq_ignore_ascii_case(b"h2c"))
}

/// Tells a coding that is not spoken here from a list that cannot frame a request (RFC 9112 6.1, 6.3).
#[cold]
fn judge_encoding(value: &[u8]) -> Reason {
    let chunked = |member: &[u8]| member.eq_ignore_ascii_case(b"chunked");
    let framed_last = members(value).last().is_some_and(chunked) && members(value).filter(|m| chunked(m)).count() == 1;
    let tokens = members(value).all(|member| !member.is_empty() && member.iter().all(|&byte| is_token_byte(byte)));
    if framed_last && tokens { Reason::UnknownEncoding } else { Reason::BadEncoding }
}

/// The members of a comma-separated list without the white space around them (RFC 9110 5.6.1).
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim_ows)
}

/// Whether a name is that of a framing field, or differs from it only in `_` for `-`: CGI-like origins read both as
/// one name (F6).
#[inline]
fn is_alias(name: &[u8], field: &[u8]) -> bool {
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == field.len() && name.iter().map(fold).eq(field.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_framed_by_what_is_known_of_it() {
        let ok = StatusCode::OK;
        let choose = ResponseFraming::choose;
        assert_eq!(choose(&Method::HEAD, Version::Http11, ok, Some(5)), ResponseFraming::None);
        assert_eq!(choose(&Method::GET, Version::Http11, StatusCode::NOT_MODIFIED, None), ResponseFraming::None);
        assert_eq!(choose(&Method::GET, Version::Http10, ok, Some(5)), ResponseFraming::Length(5));
        assert_eq!(choose(&Method::GET, Version::Http11, ok, None), ResponseFraming::Chunked);
        assert_eq!(choose(&Method::GET, Version::Http10, ok, None), ResponseFraming::UntilClose);
    }
}
