//! Reading a request head: line by line, each byte looked at when it arrives and never again.
//!
//! Model: [`HeadParser`] remembers the lines it has judged as offsets into the connection's read buffer. A line is
//! judged when its CRLF is there, in the order of arrival, so the verdict cannot depend on how reads were split, and
//! input that drips in costs no more than input that comes at once. When the empty line comes, the head is split off
//! the buffer; body and pipelined bytes stay.
//!
//! Invariant between calls: the caller only appends to the buffer. Anything RFC 9112 2.2 to 5.2 lets a lenient
//! recipient repair (bare LF, bare CR, folded lines, white space before the colon) is refused.

use bytes::BytesMut;
use headland_origin::framing::{is_field_value, is_token_byte, is_value_byte, token_end, trim_ows};
use http::Method;
use memchr::memchr;

use super::fields::{FlatFields, Line, Lines, Span};
use super::framing::{BodyFraming, Conclusion, Facts};
use super::refuse::{Reason, Refusal};
use super::target::{Target, TargetSpans};
use crate::limits::{HEAD_BYTES_CEILING, LEADING_EMPTY_LINES_MAX, Limits, METHOD_BYTES_MAX};

mod recall;

use recall::Recall;

/// The version a request is served as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, and any later minor version (RFC 9110 2.5).
    Http11,
}

/// A request head that broke no rule.
#[derive(Debug)]
pub struct RequestHead {
    /// The method; an unknown token is an extension method.
    pub method: Method,
    /// The version it is served as.
    pub version: Version,
    /// The field lines as they came, framing fields included.
    pub fields: FlatFields,
    /// How its body ends.
    pub framing: BodyFraming,
    /// Whether the client wants to keep the connection (RFC 9112 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for 100 (Continue) before it sends its body.
    pub expect_continue: bool,
    target: TargetSpans,
    host: Option<Span>,
    upgrade: Option<Span>,
}

impl RequestHead {
    /// The request target as sent.
    #[inline]
    pub fn target(&self) -> Target<'_> {
        self.target.of(self.fields.head())
    }

    /// The host the request is for, with its port if one was sent: of the target in absolute form, else of Host
    /// (RFC 9112 3.2.2). Only HTTP/1.0 requests have none.
    #[inline]
    pub fn authority(&self) -> Option<&[u8]> {
        match self.target() {
            Target::Absolute { authority, .. } => Some(authority),
            _ => self.host.map(|span| span.of(self.fields.head())),
        }
    }

    /// The Upgrade value, when Connection names it and it may be passed on.
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.upgrade.map(|span| span.of(self.fields.head()))
    }
}

/// How far a head has come.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "boxing the head would cost each request an allocation")]
pub enum Parsed {
    /// The head is whole and no longer in the buffer.
    Complete(RequestHead),
    /// The bytes so far may become a head.
    Partial,
}

/// The request line, judged.
#[derive(Debug)]
struct RequestLine {
    method: Method,
    target: TargetSpans,
    version: Version,
}

/// One request head being read; ready for the next one after each [`Parsed::Complete`].
#[derive(Debug, Default)]
pub struct HeadParser {
    scanned: usize,
    line_start: usize,
    empty_lines: u8,
    request_line: Option<RequestLine>,
    lines: Lines,
    facts: Facts,
    recall: Recall,
}

impl HeadParser {
    /// A parser at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing of a head was seen yet (empty lines are not of it): such a connection is idle, and closing it
    /// loses no request.
    pub fn is_idle(&self) -> bool {
        self.request_line.is_none() && self.scanned == self.line_start
    }

    /// Goes on with what the buffer holds beyond the last call. After a refusal the parser is of no further use.
    pub fn advance(&mut self, buffer: &mut BytesMut, limits: &Limits) -> Result<Parsed, Refusal> {
        if self.scanned == 0
            && let Some(head) = self.recalled(buffer, limits)
        {
            return Ok(Parsed::Complete(head));
        }
        loop {
            let Some(found) = memchr(b'\n', &buffer[self.scanned..]) else {
                self.scanned = buffer.len();
                self.check_size(&buffer[self.line_start..], buffer.len(), limits)?;
                return Ok(Parsed::Partial);
            };
            let line_feed = self.scanned + found;
            if self.take_line(buffer, line_feed, limits)? {
                return self.complete(buffer, line_feed + 1, limits);
            }
            self.scanned = line_feed + 1;
            self.line_start = self.scanned;
        }
    }

    /// The head that the buffer begins with, if its fields are those of the head before it. What is not so, or may break
    /// a rule, is left to the whole judgement.
    fn recalled(&self, buffer: &mut BytesMut, limits: &Limits) -> Option<RequestHead> {
        let line_feed = memchr(b'\n', buffer)?;
        let line = buffer[..line_feed].strip_suffix(b"\r")?;
        if line.is_empty() || line.len() > limits.request_line_bytes as usize {
            return None;
        }
        let (_, version) = split_version(line).ok()?;
        if !self.recall.knows(buffer, line_feed + 1, version, limits) {
            return None;
        }
        check_method(line).ok()?;
        let line = read_request_line(buffer, line, 0).ok()?;
        self.recall.head(buffer, line_feed + 1, line)
    }

    /// Judges the line that ends at `line_feed`; true when it is the empty line after a head.
    #[inline]
    fn take_line(&mut self, buffer: &[u8], line_feed: usize, limits: &Limits) -> Result<bool, Reason> {
        let raw = &buffer[self.line_start..line_feed];
        self.check_size(raw, line_feed + 1, limits)?;
        let [line @ .., b'\r'] = raw else { return Err(Reason::BareLf) };
        let Some(request_line) = &self.request_line else {
            return self.take_first_line(buffer, line, limits).map(|()| false);
        };
        if line.is_empty() {
            return Ok(true);
        }
        if line.len() > limits.field_bytes as usize {
            return Err(Reason::HeaderTooLarge);
        }
        if self.lines.len() == limits.header_count as usize {
            return Err(Reason::TooManyHeaders);
        }
        let line = read_field(line, self.line_start)?;
        self.facts.note(buffer, line, request_line.version)?;
        self.lines.push(line);
        Ok(false)
    }

    /// Judges the request line, or passes over an empty line before it.
    fn take_first_line(&mut self, buffer: &[u8], line: &[u8], limits: &Limits) -> Result<(), Reason> {
        if line.is_empty() {
            self.empty_lines += 1;
            return if self.empty_lines > LEADING_EMPTY_LINES_MAX { Err(Reason::EmptyLines) } else { Ok(()) };
        }
        if line.len() > limits.request_line_bytes as usize {
            return Err(Reason::TargetTooLong);
        }
        self.request_line = Some(read_request_line(buffer, line, self.line_start)?);
        Ok(())
    }

    /// Refuses what is too long before its end is seen. `raw` may have its CR, hence the one byte more.
    #[inline]
    fn check_size(&self, raw: &[u8], head_bytes: usize, limits: &Limits) -> Result<(), Reason> {
        if self.request_line.is_none() {
            check_method(raw)?;
            if raw.len() > limits.request_line_bytes as usize + 1 {
                return Err(Reason::TargetTooLong);
            }
        } else if raw.len() > limits.field_bytes as usize + 1 {
            return Err(Reason::HeaderTooLarge);
        }
        let head_bytes_max = limits.header_bytes.min(HEAD_BYTES_CEILING) as usize; // offsets have 16 bits
        if head_bytes > head_bytes_max { Err(Reason::HeaderTooLarge) } else { Ok(()) }
    }

    /// Splits the head off the buffer and draws the conclusions.
    fn complete(&mut self, buffer: &mut BytesMut, end: usize, limits: &Limits) -> Result<Parsed, Refusal> {
        let recall = std::mem::take(&mut self.recall);
        let read = std::mem::replace(self, HeadParser { recall, ..Self::default() });
        let RequestLine { method, target, version } = read.request_line.expect("a head ends after its request line");
        let facts = read.facts.conclude(buffer, version)?;
        if let BodyFraming::Length(length) = facts.framing
            && length > limits.body_bytes_max
        {
            return Err(Reason::BodyTooLarge.into());
        }
        if let Some(first) = read.lines.first() {
            self.recall.keep(&buffer[..end], usize::from(first.name.start), &read.lines, version, &facts);
        }
        Ok(Parsed::Complete(RequestHead {
            method,
            version,
            fields: FlatFields::new(buffer.split_to(end).freeze(), read.lines),
            framing: facts.framing,
            keep_alive: facts.keep_alive,
            expect_continue: facts.expect_continue,
            target,
            host: facts.host,
            upgrade: facts.upgrade,
        }))
    }
}

/// Judges as much of a method as there is. A lone CR may be the beginning of an empty line.
fn check_method(raw: &[u8]) -> Result<(), Reason> {
    match raw.iter().take(METHOD_BYTES_MAX + 1).position(|&byte| !is_token_byte(byte)) {
        Some(0) if raw == b"\r" => Ok(()),
        Some(0) => Err(Reason::BadMethod),
        Some(end) if raw[end] == b' ' => Ok(()),
        Some(_) => Err(Reason::BadMethod),
        None if raw.len() > METHOD_BYTES_MAX => Err(Reason::MethodTooLong),
        None => Ok(()),
    }
}

/// `method SP request-target SP HTTP-version` with single spaces (RFC 9112 3).
fn read_request_line(buffer: &[u8], line: &[u8], start: usize) -> Result<RequestLine, Reason> {
    let (before, version) = split_version(line)?;
    let method_bytes = memchr(b' ', before).ok_or(Reason::BadVersion)?; // HTTP/0.9, or no target
    let method = Method::from_bytes(&before[..method_bytes]).map_err(|_| Reason::BadMethod)?;
    if method == Method::CONNECT {
        return Err(Reason::Connect);
    }
    let target = Span { start: (start + method_bytes + 1) as u16, end: (start + before.len()) as u16 };
    let target = TargetSpans::read(buffer, target, &method)?;
    Ok(RequestLine { method, target, version })
}

/// Takes the version off the end of a request line; case counts (RFC 9112 2.3).
#[inline]
fn split_version(line: &[u8]) -> Result<(&[u8], Version), Reason> {
    const WITH_SPACE: usize = b" HTTP/1.1".len();
    let split = line.len().checked_sub(WITH_SPACE).ok_or(Reason::BadVersion)?;
    let (before, word) = line.split_at(split);
    match word {
        b" HTTP/1.0" => Ok((before, Version::Http10)),
        [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Ok((before, Version::Http11)),
        [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Reason::UnknownVersion)
        }
        _ => Err(Reason::BadVersion),
    }
}

/// `field-name ":" OWS field-value OWS` (RFC 9112 5).
#[inline]
fn read_field(line: &[u8], start: usize) -> Result<Line, Reason> {
    let colon = token_end(line).ok_or(Reason::BadHeaderName)?;
    if line[colon] != b':' || colon == 0 {
        return Err(judge_name(line, colon));
    }
    let value = trim_ows(&line[colon + 1..]);
    if !is_field_value(value) {
        return Err(judge_value(value));
    }
    let value_start = start + (value.as_ptr() as usize - line.as_ptr() as usize);
    Ok(Line {
        name: Span { start: start as u16, end: (start + colon) as u16 },
        value: Span { start: value_start as u16, end: (value_start + value.len()) as u16 },
    })
}

/// Why a name does not end in a colon.
#[cold]
fn judge_name(line: &[u8], end: usize) -> Reason {
    match (line[end], end) {
        (b' ' | b'\t', 0) => Reason::ObsFold, // RFC 9112 5.2
        (b' ' | b'\t', _) if trim_ows(&line[end..]).first() == Some(&b':') => Reason::SpaceBeforeColon, // RFC 9112 5.1
        (0, _) => Reason::Nul,
        (b'\r', _) => Reason::BareCr,
        _ => Reason::BadHeaderName,
    }
}

/// Which control byte a value has.
#[cold]
fn judge_value(value: &[u8]) -> Reason {
    match value.iter().find(|&&byte| !is_value_byte(byte)) {
        Some(0) => Reason::Nul,
        Some(b'\r') => Reason::BareCr, // RFC 9112 2.2
        _ => Reason::Control,
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod tests;
