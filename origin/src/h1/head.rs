//! Reading the head of a response: where it ends, what it says, how its body is framed.
//!
//! The end is searched for as bytes arrive, each byte once, so that a head that drips in costs no more than one
//! that comes whole; it is then parsed once. Strict: only CRLF ends a line, no folding, no space before a colon, no
//! CR, LF or NUL in a value. The lenient reading of a neighbour is how one answer becomes two.

use http::{Method, StatusCode, Version};
use smallvec::SmallVec;

use crate::error::{Excess, Fault};
use crate::framing::{TransferEncoding, content_length, is_field_value, token_end, transfer_encoding, trim_ows};
use crate::hop_by_hop::is_hop_by_hop;
use crate::message::FieldLines;

/// Field lines of one response head.
pub const HEAD_FIELDS_MAX: usize = 256;

/// Field lines that a usual head has at most.
const USUAL_FIELDS: usize = 16;

/// Looks for the empty line.
#[derive(Debug)]
pub(super) struct Scan {
    bytes_max: usize,
    /// Bytes looked at.
    at: usize,
    line_start: usize,
    lines: usize,
}

impl Scan {
    /// A head may be `bytes_max` long.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, at: 0, line_start: 0, lines: 0 }
    }

    /// The length of the head, once all of it is in `input`.
    pub(super) fn find(&mut self, input: &[u8]) -> Result<Option<usize>, Fault> {
        let start = &input[..input.len().min(7)];
        // HTTP/0.9 and other protocols are told at once, not by a deadline.
        if !start.starts_with(b"HTTP/1.") && !b"HTTP/1.".starts_with(start) {
            return Err(Fault::Malformed("not an HTTP/1 answer"));
        }
        while let Some(offset) = memchr::memchr(b'\n', &input[self.at..]) {
            let lf = self.at + offset;
            if lf == 0 || input[lf - 1] != b'\r' {
                return Err(Fault::Malformed("line ended by a bare LF"));
            }
            self.at = lf + 1;
            if self.at > self.bytes_max || self.lines > HEAD_FIELDS_MAX + 1 {
                return Err(Fault::TooLarge(Excess::Head));
            }
            if lf - 1 == self.line_start {
                return Ok(Some(self.at));
            }
            self.lines += 1;
            self.line_start = self.at;
        }
        self.at = input.len();
        if self.at > self.bytes_max { Err(Fault::TooLarge(Excess::Head)) } else { Ok(None) }
    }
}

/// How the body of a response is delimited (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    Length(u64),
    Chunked,
    /// By the end of the connection.
    Close,
}

/// A response head, cleaned of what concerned this connection only.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: FieldLines,
    pub(super) framing: BodyFraming,
    /// What Content-Length said, also where there is no body.
    pub(super) length: Option<u64>,
    /// The connection may serve again after the body.
    pub(super) persistent: bool,
}

/// Field lines that frame the message or concern the connection.
#[derive(Default)]
struct Hop<'a> {
    lengths: SmallVec<[&'a [u8]; 2]>,
    codings: SmallVec<[&'a [u8]; 2]>,
    connection: SmallVec<[&'a [u8]; 2]>,
}

/// Reads a whole head, the answer to `method`. Its lines end in CRLF, as [`Scan`] has seen.
pub(super) fn parse(head: &[u8], method: &Method) -> Result<Head, Fault> {
    let (start, mut rest) = split_line(head)?;
    let (version, status) = status_line(start)?;
    let mut hop = Hop::default();
    let mut fields = FieldLines::with_capacity(USUAL_FIELDS);
    loop {
        let (line, after) = split_line(rest)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = field(line)?;
        // The client of an upgrade has to be told which protocol was chosen.
        let switching = status == StatusCode::SWITCHING_PROTOCOLS && name.eq_ignore_ascii_case(b"upgrade");
        if !hop.takes(name, value) || switching {
            fields.push_line(&rest[..line.len() + 2], name, value);
        }
        rest = after;
    }
    remove_nominated(&hop, &mut fields)?;
    let persistent = persists(version, &hop);
    finish(status, fields, version, persistent, &hop, method)
}

/// The first line, without its CRLF, and what follows it.
fn split_line(head: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    const BROKEN: Fault = Fault::Malformed("response head");
    let end = memchr::memchr(b'\n', head).ok_or(BROKEN)?;
    let line = head[..end].strip_suffix(b"\r").ok_or(BROKEN)?;
    Ok((line, &head[end + 1..]))
}

/// `HTTP-version SP status-code SP [reason-phrase]` (RFC 9112 4). Many origins leave out the space where no reason
/// follows; nobody reads that line in two ways.
fn status_line(line: &[u8]) -> Result<(Version, StatusCode), Fault> {
    let (version, rest) = match line.split_at_checked(b"HTTP/1.x ".len()) {
        Some((b"HTTP/1.1 ", rest)) => (Version::HTTP_11, rest),
        Some((b"HTTP/1.0 ", rest)) => (Version::HTTP_10, rest),
        _ => return Err(Fault::Malformed("HTTP version")),
    };
    let (code, reason) = rest.split_at_checked(b"200".len()).ok_or(Fault::Malformed("status code"))?;
    let status = StatusCode::from_bytes(code).map_err(|_| Fault::Malformed("status code"))?;
    match reason {
        [] => Ok((version, status)),
        [b' ', phrase @ ..] if is_field_value(phrase) => Ok((version, status)),
        _ => Err(Fault::Malformed("status line")),
    }
}

/// `field-name ":" OWS field-value OWS` (RFC 9112 5).
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    match token_end(line) {
        Some(colon @ 1..) if line[colon] == b':' => {
            let value = trim_ows(&line[colon + 1..]);
            if is_field_value(value) { Ok((&line[..colon], value)) } else { Err(Fault::Malformed("field value")) }
        }
        _ => Err(Fault::Malformed("field name")),
    }
}

impl<'a> Hop<'a> {
    /// Whether a field concerns this connection only (RFC 9110 7.6.1), by its name in any case; what says how the
    /// message is framed and whether the connection stays is remembered.
    fn takes(&mut self, name: &[u8], value: &'a [u8]) -> bool {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            10 if is(b"connection") => self.connection.push(value),
            14 if is(b"content-length") => self.lengths.push(value),
            17 if is(b"transfer-encoding") => self.codings.push(value),
            _ => return is_hop_by_hop(name),
        }
        true
    }
}

/// Drops what `Connection` names and may name. More words than a head may have lines name nothing that is there.
fn remove_nominated(hop: &Hop<'_>, fields: &mut FieldLines) -> Result<(), Fault> {
    let names_a_field = |option: &&[u8]| {
        // The common words, which are about the connection itself.
        let own = [b"keep-alive".as_slice(), b"close", b"upgrade"].iter().any(|word| option.eq_ignore_ascii_case(word));
        !own && !is_end_to_end(option)
    };
    let nominated: SmallVec<[&[u8]; 2]> = options(hop).filter(names_a_field).take(HEAD_FIELDS_MAX + 1).collect();
    if nominated.len() > HEAD_FIELDS_MAX {
        return Err(Fault::TooLarge(Excess::Head));
    }
    if !nominated.is_empty() {
        fields.retain(|name| !nominated.iter().any(|option| name.eq_ignore_ascii_case(option)));
    }
    Ok(())
}

fn options<'a>(hop: &Hop<'a>) -> impl Iterator<Item = &'a [u8]> {
    hop.connection.iter().flat_map(|line| line.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// Fields that `Connection` cannot take away: without them a private answer becomes a public one, or bytes are read
/// as what they are not.
fn is_end_to_end(name: &[u8]) -> bool {
    const KEPT: [&str; 22] = [
        "age",
        "cache-control",
        "content-encoding",
        "content-language",
        "content-location",
        "content-range",
        "content-security-policy",
        "content-type",
        "date",
        "etag",
        "expires",
        "last-modified",
        "location",
        "pragma",
        "retry-after",
        "set-cookie",
        "strict-transport-security",
        "surrogate-control",
        "vary",
        "www-authenticate",
        "x-content-type-options",
        "x-frame-options",
    ];
    let ends =
        |with: &[u8]| name.len().checked_sub(with.len()).is_some_and(|start| name[start..].eq_ignore_ascii_case(with));
    KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept.as_bytes())) || ends(b"-cache-control") || ends(b"-key")
}

/// RFC 9112 9.3.
fn persists(version: Version, hop: &Hop<'_>) -> bool {
    let says = |word: &str| options(hop).any(|option| option.eq_ignore_ascii_case(word.as_bytes()));
    if says("close") { false } else { version == Version::HTTP_11 || says("keep-alive") }
}

/// RFC 9112 6.3, in its order.
fn finish(
    status: StatusCode,
    headers: FieldLines,
    version: Version,
    mut persistent: bool,
    hop: &Hop<'_>,
    method: &Method,
) -> Result<Head, Fault> {
    let mut length = content_length(hop.lengths.iter().copied())?;
    let chunked = transfer_encoding(hop.codings.iter().copied())? == TransferEncoding::Chunked;
    if chunked && version == Version::HTTP_10 {
        // RFC 9112 6.1: faulty framing, whatever else is there.
        return Err(Fault::Malformed("transfer-encoding in HTTP/1.0"));
    }
    if chunked && length.take().is_some() {
        // RFC 9112 6.3 item 3: somebody may be smuggling; nothing after this message is trusted.
        persistent = false;
    }
    let bodiless = *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match (bodiless, chunked, length) {
        (true, _, _) => BodyFraming::Length(0),
        (false, true, _) => BodyFraming::Chunked,
        (false, false, Some(length)) => BodyFraming::Length(length),
        (false, false, None) => BodyFraming::Close,
    };
    persistent &= framing != BodyFraming::Close;
    if status == StatusCode::NO_CONTENT || status.is_informational() {
        length = None;
    }
    Ok(Head { status, headers, framing, length, persistent })
}

#[cfg(test)]
mod tests;
