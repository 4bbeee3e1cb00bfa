//! The head of a stored response, kept the way HTTP/1.1 sends it.
//!
//! The field lines stand in one buffer as `name: value CRLF`, names in lower case, without status line and without
//! the empty line at the end: a hit copies that buffer once. Beside it stands one (name length, value length) pair per
//! line; offsets follow by adding, so head and index are two allocations. Lines with CR, LF or NUL are refused here
//! again, whatever the codec did: no stored head can split a response.

use std::ops::Range;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::fields::Fields;

/// Most bytes of field lines in a stored head; offsets are 16 bits wide.
pub const HEAD_BYTES_MAX: usize = u16::MAX as usize;
/// What the allocator adds to one allocation, as the byte accounts assume it.
pub(crate) const ALLOCATION_BYTES: usize = 16;

/// Why a response head cannot be stored; the origin's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("the field lines exceed {HEAD_BYTES_MAX} bytes")]
    TooLarge,
    #[error("a field line that cannot be sent as it is")]
    Malformed,
}

/// Lengths of one line's name and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    name: u16,
    value: u16,
}

/// A place inside the buffer of field lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u16,
    length: u16,
}

impl Span {
    fn range(self) -> Range<usize> {
        let start = usize::from(self.start);
        start..start + usize::from(self.length)
    }
}

/// Status and field lines of a stored response. Cloning shares the lines.
#[derive(Debug, Clone)]
pub struct StoredHead {
    wire: Bytes,
    lines: Box<[Line]>,
    status: u16,
    etag: Option<Span>,
    last_modified: Option<Span>,
}

impl StoredHead {
    /// Encodes the lines in the given order; which of them may be stored is the caller's knowledge.
    pub fn from_lines<'a, I>(status: u16, lines: I) -> Result<StoredHead, HeadError>
    where
        I: IntoIterator<Item = (&'a [u8], &'a [u8])>,
    {
        let mut draft = Draft::default();
        for (name, value) in lines {
            draft.line(name, value)?;
        }
        Ok(draft.finish(status))
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// The field lines as HTTP/1.1 sends them, without status line and without the empty line at the end.
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// The value of the first field called `name` (given in lower case).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.lines().find(|(stored, _)| *stored == name.as_bytes()).map(|(_, value)| value)
    }

    /// The entity tag as received (RFC 9110 section 8.8.3).
    pub fn etag(&self) -> Option<&[u8]> {
        self.etag.map(|span| &self.wire[span.range()])
    }

    /// The Last-Modified value as received (RFC 9110 section 8.8.2).
    pub fn last_modified(&self) -> Option<&[u8]> {
        self.last_modified.map(|span| &self.wire[span.range()])
    }

    /// The fields for HTTP/2. Values are slices of the stored buffer, not copies.
    pub fn to_header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.lines.len());
        for (name, value) in self.ranges() {
            let name = HeaderName::from_bytes(&self.wire[name]).expect("names were checked when the head was made");
            let value = HeaderValue::from_maybe_shared(self.wire.slice(value)).expect("values were checked as well");
            map.append(name, value);
        }
        map
    }

    /// Bytes held on the heap.
    pub fn weight(&self) -> usize {
        self.wire.len() + size_of_val(&*self.lines) + 2 * ALLOCATION_BYTES
    }

    fn ranges(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let mut at = 0;
        self.lines.iter().map(move |line| {
            let name = at..at + usize::from(line.name);
            let value = name.end + 2..name.end + 2 + usize::from(line.value);
            at = value.end + 2;
            (name, value)
        })
    }
}

impl Fields for StoredHead {
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.ranges().map(|(name, value)| (&self.wire[name], &self.wire[value]))
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.lines().filter(move |(stored, _)| *stored == name.as_bytes()).map(|(_, value)| value)
    }
}

/// A head while it is encoded.
#[derive(Default)]
struct Draft {
    wire: Vec<u8>,
    lines: Vec<Line>,
    etag: Option<Span>,
    last_modified: Option<Span>,
}

impl Draft {
    fn line(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if self.wire.len() + name.len() + value.len() + 4 > HEAD_BYTES_MAX {
            return Err(HeadError::TooLarge);
        }
        let start = self.wire.len();
        self.wire.extend(name.iter().map(u8::to_ascii_lowercase));
        self.wire.extend_from_slice(b": ");
        let value_start = self.wire.len();
        self.wire.extend_from_slice(value);
        self.wire.extend_from_slice(b"\r\n");
        check(&self.wire[start..start + name.len()], value)?;
        self.remember(start..start + name.len(), Span { start: value_start as u16, length: value.len() as u16 });
        self.lines.push(Line { name: name.len() as u16, value: value.len() as u16 });
        Ok(())
    }

    fn remember(&mut self, name: Range<usize>, value: Span) {
        match &self.wire[name] {
            b"etag" => self.etag = self.etag.or(Some(value)),
            b"last-modified" => self.last_modified = self.last_modified.or(Some(value)),
            _ => {}
        }
    }

    fn finish(self, status: u16) -> StoredHead {
        StoredHead {
            wire: Bytes::from(self.wire.into_boxed_slice()),
            lines: self.lines.into_boxed_slice(),
            status,
            etag: self.etag,
            last_modified: self.last_modified,
        }
    }
}

/// RFC 9110 section 5: a name is a token; a value has no controls but the tab. What [`HeaderMap`] would refuse is refused.
fn check(name: &[u8], value: &[u8]) -> Result<(), HeadError> {
    HeaderName::from_bytes(name).map_err(|_| HeadError::Malformed)?;
    let sendable = value.iter().all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f));
    if sendable { Ok(()) } else { Err(HeadError::Malformed) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn head(lines: &[(&'static str, &'static str)]) -> Result<StoredHead, HeadError> {
        StoredHead::from_lines(200, lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    #[test]
    fn lines_are_encoded_as_http_1_1_sends_them() {
        let head = head(&[("Content-Type", "text/html"), ("ETag", "\"a\""), ("x", "")]).unwrap();
        assert_eq!(&head.wire()[..], b"content-type: text/html\r\netag: \"a\"\r\nx: \r\n");
        assert_eq!(head.etag(), Some(&b"\"a\""[..]));
        assert_eq!(head.last_modified(), None);
        assert_eq!(head.get("content-type"), Some(&b"text/html"[..]));
        assert_eq!(head.get("x"), Some(&b""[..]));
        assert_eq!(head.get("y"), None);
    }

    #[test]
    fn repeated_fields_keep_their_order() {
        let head = head(&[("link", "a"), ("date", "d"), ("link", "b")]).unwrap();
        assert_eq!(head.named("link").collect::<Vec<_>>(), [b"a", b"b"]);
        let map = head.to_header_map();
        assert_eq!(map.get_all("link").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(map.len(), 3);
    }

    #[test]
    fn the_map_shares_the_stored_bytes() {
        let head = head(&[("etag", "\"abcdef\"")]).unwrap();
        let map = head.to_header_map();
        let span = head.wire().as_ptr_range();
        assert!(span.contains(&map["etag"].as_bytes().as_ptr()));
    }

    #[test]
    fn a_line_that_would_split_the_response_is_refused() {
        for (name, value) in [("a", "x\r\nb: c"), ("a", "\0"), ("a\r", "x"), ("", "x"), ("a b", "x"), ("a", "x\n")] {
            assert_eq!(head(&[(name, value)]).unwrap_err(), HeadError::Malformed, "{name:?} {value:?}");
        }
    }

    #[test]
    fn a_head_beyond_the_offsets_is_refused() {
        let value = vec![b'v'; HEAD_BYTES_MAX - 5];
        let line = |value| StoredHead::from_lines(200, [(&b"a"[..], value)]);
        assert_eq!(line(&value[..]).unwrap().wire().len(), HEAD_BYTES_MAX);
        let value = vec![b'v'; HEAD_BYTES_MAX - 4];
        assert_eq!(line(&value[..]).unwrap_err(), HeadError::TooLarge);
    }
}
