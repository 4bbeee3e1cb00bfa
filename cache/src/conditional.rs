//! Conditional requests against a stored response (RFC 9110 section 13, RFC 9111 section 4.3.2), and what a request
//! must carry to validate one (RFC 9111 section 4.3.1).
//!
//! RFC 9111 section 4.3.2 lets a cache leave If-Match and If-Unmodified-Since alone. They are evaluated here all the
//! same: what is stored and fresh is what would be sent, and 412 is the safe answer for a client that resumes.

use http::Method;
use http::header::{HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH};

use crate::facts::RequestFacts;
use crate::{Fields, Time, etag, http_date};

/// What a request's preconditions say about a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Send the response (or the range of it).
    Pass,
    /// Send 304 with the fields of [`belongs_in_304`].
    NotModified,
    /// Send 412.
    Failed,
}

/// What of a stored response preconditions and ranges are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validators<'a> {
    pub etag: Option<&'a [u8]>,
    pub last_modified: Option<&'a [u8]>,
    pub date: Option<&'a [u8]>,
}

impl<'a> Validators<'a> {
    /// The first line of each field counts.
    pub fn of(fields: &'a impl Fields) -> Self {
        let mut found = Validators::default();
        for (name, value) in fields.lines() {
            let slot = match name.len() {
                4 if name.eq_ignore_ascii_case(b"etag") => &mut found.etag,
                4 if name.eq_ignore_ascii_case(b"date") => &mut found.date,
                13 if name.eq_ignore_ascii_case(b"last-modified") => &mut found.last_modified,
                _ => continue,
            };
            slot.get_or_insert(value);
        }
        found
    }

    /// Whether the origin can be asked conditionally at all.
    pub fn can_validate(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// Replaces the request's own conditions by those that validate this response. RFC 9111 section 4.3.1: the
    /// entity tag must be sent where there is one; the date goes with it for origins that know only dates.
    pub fn apply(&self, request: &mut HeaderMap) {
        remove_conditions(request);
        let value = |bytes: Option<&[u8]>| bytes.and_then(|bytes| HeaderValue::from_bytes(bytes).ok());
        if let Some(etag) = value(self.etag) {
            request.insert(IF_NONE_MATCH, etag);
        }
        if let Some(last_modified) = value(self.last_modified) {
            request.insert(IF_MODIFIED_SINCE, last_modified);
        }
    }
}

/// Takes out what would make the origin answer with less than the whole: a fill asks for a complete response.
pub fn remove_conditions(request: &mut HeaderMap) {
    use http::header::{IF_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
    for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE] {
        request.remove(name);
    }
}

/// Evaluates the request's preconditions in the order of RFC 9110 section 13.2.2. `received` is when the stored
/// response arrived.
pub fn precondition(request: &RequestFacts, status: u16, stored: &Validators, received: Time) -> Precondition {
    // RFC 9110 section 13.2.1: ignored where the answer without them would be neither 2xx nor 412.
    let applies = (200..300).contains(&status) && (request.method == Method::GET || request.method == Method::HEAD);
    if !applies {
        return Precondition::Pass;
    }
    let holds = if request.if_match.is_empty() {
        unmodified_since(request, stored, received)
    } else {
        matches_any(&request.if_match, stored.etag, etag::strong_match)
    };
    if !holds {
        return Precondition::Failed;
    }
    let modified = if request.if_none_match.is_empty() {
        modified_since(request, stored, received)
    } else {
        !matches_any(&request.if_none_match, stored.etag, etag::weak_match)
    };
    if modified { Precondition::Pass } else { Precondition::NotModified }
}

/// RFC 9110 sections 13.1.1 and 13.1.2: `*` matches whatever there is, and something is stored.
fn matches_any(lines: &[&[u8]], stored: Option<&[u8]>, compare: fn(&[u8], &[u8]) -> bool) -> bool {
    if etag::is_any(lines) {
        return true;
    }
    let Some(stored) = stored else { return false };
    lines.iter().flat_map(|line| etag::members(line)).any(|tag| compare(tag, stored))
}

/// RFC 9110 section 13.1.4: ignored when it is no date, or when the response has no modification date.
fn unmodified_since(request: &RequestFacts, stored: &Validators, received: Time) -> bool {
    let Some(limit) = request.if_unmodified_since.and_then(|date| http_date::parse(date, received)) else {
        return true;
    };
    let modified = stored.last_modified.and_then(|date| http_date::parse(date, received));
    modified.is_none_or(|modified| modified <= limit)
}

/// RFC 9110 section 13.1.3: ignored when it is no date. RFC 9111 section 4.3.2: without Last-Modified it is compared
/// with Date, and without that with the time of arrival.
fn modified_since(request: &RequestFacts, stored: &Validators, received: Time) -> bool {
    let Some(since) = request.if_modified_since.and_then(|date| http_date::parse(date, received)) else {
        return true;
    };
    let modified = stored.last_modified.or(stored.date).and_then(|date| http_date::parse(date, received));
    modified.unwrap_or(received.as_secs()) > since
}

/// Whether a field of the stored response goes into a 304 (RFC 9110 section 15.4.5).
///
/// Content-Location, Date, `ETag`, Vary, Cache-Control and Expires must; other fields about the representation should
/// not, Last-Modified excepted where it is the only validator. Fields about anything else (CORS, security policy) go
/// along, because the client updates what it has stored with them.
pub fn belongs_in_304(name: &[u8], has_etag: bool) -> bool {
    if name.len() >= 8 && name[..8].eq_ignore_ascii_case(b"content-") {
        return name.eq_ignore_ascii_case(b"content-location")
            || name.len() >= 16 && name[..16].eq_ignore_ascii_case(b"content-security");
    }
    match name.len() {
        7 => !name.eq_ignore_ascii_case(b"trailer"),
        13 => !(has_etag && name.eq_ignore_ascii_case(b"last-modified")),
        17 => !name.eq_ignore_ascii_case(b"transfer-encoding"),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
