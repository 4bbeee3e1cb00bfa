//! A field section read as the head of a request: what RFC 9114 sections 4.1.2, 4.2 and 4.3 call malformed is refused.
//!
//! The words for what was wrong are those of HTTP/1.1, since the faults are the same ones.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::error::Code;
use super::qpack::{self, Stop};
use crate::h1::{self, Reason};
use crate::limits::{Limits, METHOD_BYTES_MAX};

/// What a client asks.
#[derive(Debug)]
pub struct RequestHead {
    pub method: Method,
    /// Host and port; from Host where there is no `:authority`.
    pub authority: Bytes,
    /// Path and query, or `*`; empty for CONNECT.
    pub target: Bytes,
    pub fields: HeaderMap,
    /// The length that is announced.
    pub length: Option<u64>,
}

/// What is wrong with a section.
#[derive(Debug, PartialEq, Eq)]
pub enum Malformed {
    /// An error of the connection.
    Connection(Code),
    /// An error of the stream: it may be answered first.
    Message(Reason),
}

impl From<Stop<Reason>> for Malformed {
    fn from(stop: Stop<Reason>) -> Self {
        match stop {
            Stop::Connection(code) => Malformed::Connection(code),
            Stop::TooLarge => Malformed::Message(Reason::HeaderTooLarge),
            Stop::Taker(reason) => Malformed::Message(reason),
        }
    }
}

/// Reads the head of a request.
pub fn read_head(section: Bytes, limits: &Limits) -> Result<RequestHead, Malformed> {
    let mut draft = Draft { count_max: limits.header_count, ..Draft::default() };
    qpack::decode(section, limits.h2_header_list_bytes, |name, value| draft.take(&name, value))?;
    draft.finish().map_err(Malformed::Message)
}

/// Reads trailers: no pseudo-header fields (section 4.3), and nothing that frames.
pub fn read_trailers(section: Bytes, limits: &Limits) -> Result<HeaderMap, Malformed> {
    let mut draft = Draft { count_max: limits.header_count, regular: true, ..Draft::default() };
    qpack::decode(section, limits.h2_header_list_bytes, |name, value| draft.take(&name, value))?;
    Ok(draft.fields)
}

#[derive(Debug, Default)]
struct Draft {
    method: Option<Method>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Bytes>,
    fields: HeaderMap,
    cookies: BytesMut,
    length: Option<u64>,
    count: u32,
    count_max: u32,
    /// A field came that is no pseudo-header field: none of those may follow.
    regular: bool,
}

impl Draft {
    fn take(&mut self, name: &[u8], value: Bytes) -> Result<(), Reason> {
        self.count += 1;
        if self.count > self.count_max {
            return Err(Reason::TooManyHeaders);
        }
        if name.first() == Some(&b':') {
            return self.take_pseudo(name, value);
        }
        self.regular = true;
        // Upper case is malformed (section 4.2).
        let name = HeaderName::from_lowercase(name).map_err(|_| Reason::BadHeaderName)?;
        let value = HeaderValue::from_maybe_shared(trimmed(value)).map_err(|_| Reason::Control)?;
        self.take_field(name, value)
    }

    /// Each once, and before the others (sections 4.3 and 4.3.1).
    fn take_pseudo(&mut self, name: &[u8], value: Bytes) -> Result<(), Reason> {
        if self.regular {
            return Err(Reason::PseudoHeader);
        }
        let place = match name {
            b":method" if self.method.is_none() => {
                if value.len() > METHOD_BYTES_MAX {
                    return Err(Reason::MethodTooLong);
                }
                self.method = Some(Method::from_bytes(&value).map_err(|_| Reason::BadMethod)?);
                return Ok(());
            }
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            _ => return Err(Reason::PseudoHeader),
        };
        if place.replace(value).is_some() { Err(Reason::PseudoHeader) } else { Ok(()) }
    }

    fn take_field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Reason> {
        match name {
            // Connection-specific fields are malformed (section 4.2).
            header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => return Err(Reason::ConnectionField),
            _ if matches!(name.as_str(), "keep-alive" | "proxy-connection") => return Err(Reason::ConnectionField),
            header::TE if value != "trailers" => return Err(Reason::ConnectionField),
            _ if matches!(name.as_str(), "content_length" | "transfer_encoding") => return Err(Reason::FramingAlias),
            header::CONTENT_LENGTH => {
                if self.length.is_some() {
                    return Err(Reason::DuplicateLength);
                }
                self.length = Some(decimal(value.as_bytes()).ok_or(Reason::BadLength)?);
            }
            header::HOST if self.fields.contains_key(header::HOST) => return Err(Reason::HostDuplicate),
            // Split for compression; one field for everybody behind us (section 4.2.1).
            header::COOKIE => {
                if !self.cookies.is_empty() {
                    self.cookies.extend_from_slice(b"; ");
                }
                self.cookies.extend_from_slice(value.as_bytes());
                return Ok(());
            }
            _ => {}
        }
        self.fields.append(name, value);
        Ok(())
    }

    fn finish(mut self) -> Result<RequestHead, Reason> {
        if !self.cookies.is_empty() {
            let cookies = HeaderValue::from_maybe_shared(self.cookies.freeze()).map_err(|_| Reason::Control)?;
            self.fields.insert(header::COOKIE, cookies);
        }
        let method = self.method.ok_or(Reason::PseudoHeader)?;
        if method == Method::CONNECT {
            let authority = self.authority.unwrap_or_default();
            return Ok(RequestHead {
                method,
                authority,
                target: Bytes::new(),
                fields: self.fields,
                length: self.length,
            });
        }
        // We do not say that we take extended CONNECT, so nobody may use its field (RFC 9220 section 3).
        let (Some(scheme), Some(target), None) = (self.scheme, self.path, self.protocol) else {
            return Err(Reason::PseudoHeader);
        };
        if !scheme.eq_ignore_ascii_case(b"https") {
            return Err(Reason::BadTarget);
        }
        h1::check_target(&target)?;
        if target.first() != Some(&b'/') && !(&target[..] == b"*" && method == Method::OPTIONS) {
            return Err(Reason::BadTarget);
        }
        let authority = authority(self.authority, &self.fields)?;
        Ok(RequestHead { method, authority, target, fields: self.fields, length: self.length })
    }
}

/// One of the two is there, names a host, and both say the same (section 4.3.1).
fn authority(named: Option<Bytes>, fields: &HeaderMap) -> Result<Bytes, Reason> {
    let host = fields.get(header::HOST).map(HeaderValue::as_bytes);
    let authority = match (named, host) {
        (None, None) => return Err(Reason::HostMissing),
        (Some(named), Some(host)) if !named.eq_ignore_ascii_case(host) => return Err(Reason::HostDuplicate),
        (Some(named), _) => named,
        (None, Some(host)) => Bytes::copy_from_slice(host),
    };
    if h1::is_authority(&authority) { Ok(authority) } else { Err(Reason::HostBad) }
}

/// Without white space at its ends, which is no part of a value (RFC 9110 section 5.5).
fn trimmed(value: Bytes) -> Bytes {
    let inner = value.trim_ascii();
    if inner.len() == value.len() { value } else { value.slice_ref(inner) }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
