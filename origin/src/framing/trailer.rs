//! The trailer section: fields after the body (RFC 9112 7.1.2, RFC 9110 6.5).
//!
//! Lines are gathered whole, since they may arrive in pieces, and read when the empty line is there. Fields that
//! frame, route, authenticate or describe the content are dropped: whoever reads them late has acted already.

use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::FramingError;
use crate::error::Excess;

/// Bytes of a trailer section, line ends included.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Fields of a trailer section.
pub const TRAILER_FIELDS_MAX: usize = 32;

/// A trailer section as it arrives.
#[derive(Debug, Default)]
pub(super) struct TrailerSection {
    bytes: Vec<u8>,
    line_start: usize,
}

impl TrailerSection {
    /// Takes bytes up to the empty line; true when it was there.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Result<bool, FramingError> {
        while let Some(end) = memchr::memchr(b'\n', input) {
            self.append(&input.split_to(end + 1))?;
            if !self.bytes.ends_with(b"\r\n") {
                return Err(FramingError::Malformed("trailer line ended by a bare LF"));
            }
            if self.bytes.len() - self.line_start == 2 {
                return Ok(true);
            }
            self.line_start = self.bytes.len();
        }
        let rest = input.split_to(input.len());
        self.append(&rest)?;
        Ok(false)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FramingError> {
        if self.bytes.len() + bytes.len() > TRAILER_BYTES_MAX {
            return Err(FramingError::TooLarge(Excess::Trailers));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The fields that may trail, once `take` said true; none is `None`.
    pub(super) fn fields(&self) -> Result<Option<HeaderMap>, FramingError> {
        if self.line_start == 0 {
            return Ok(None);
        }
        let mut lines = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
        let parsed = match httparse::parse_headers(&self.bytes, &mut lines) {
            Ok(httparse::Status::Complete((used, parsed))) if used == self.bytes.len() => parsed,
            Err(httparse::Error::TooManyHeaders) => return Err(FramingError::TooLarge(Excess::Trailers)),
            _ => return Err(FramingError::Malformed("trailer section")),
        };
        let mut fields = HeaderMap::with_capacity(parsed.len());
        for line in parsed {
            const BAD: FramingError = FramingError::Malformed("trailer field");
            let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| BAD)?;
            let value = HeaderValue::from_bytes(line.value).map_err(|_| BAD)?;
            if may_trail(&name) {
                fields.append(name, value);
            }
        }
        Ok((!fields.is_empty()).then_some(fields))
    }
}

/// The fields of `trailers` that may trail.
pub fn only_trailing(trailers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in trailers.iter().filter(|(name, _)| may_trail(name)) {
        kept.append(name.clone(), value.clone());
    }
    kept
}

/// False for fields that must not come late (RFC 9110 6.5.1): framing, routing, request modifiers, authentication,
/// cookies, response control data and how to read the content.
pub fn may_trail(name: &HeaderName) -> bool {
    const NEVER: [HeaderName; 30] = [
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
        header::CONTENT_LOCATION,
        header::HOST,
        header::CONNECTION,
        header::UPGRADE,
        header::TRAILER,
        header::TE,
        header::VIA,
        header::FORWARDED,
        header::CACHE_CONTROL,
        header::EXPIRES,
        header::AGE,
        header::DATE,
        header::VARY,
        header::LOCATION,
        header::RETRY_AFTER,
        header::EXPECT,
        header::MAX_FORWARDS,
        header::RANGE,
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::WWW_AUTHENTICATE,
        header::PROXY_AUTHENTICATE,
        header::COOKIE,
        header::SET_COOKIE,
        header::PRAGMA,
    ];
    !NEVER.contains(name) && !matches!(name.as_str(), "keep-alive" | "proxy-connection" | "set-cookie2")
}
