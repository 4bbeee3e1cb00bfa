//! One answer, before a protocol writes it: status, field lines, content, and the trace of how it came about.
//!
//! A stored head stays the text it was stored as; only the few fields that belong to this delivery are added, by
//! [`adorn`], the same for every protocol. Framing is the protocol's own business.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use headland_cache::{FillReader, Outcome, StoredHead};
use headland_origin::{FetchError, FieldLines, ResponseBody, Upgraded};
use http::header::{self, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::metrics::SiteMetrics;
use crate::pipe::Reader;
use crate::snapshot::Snapshot;
use crate::tier::stream::DiskReader;

/// What Proxy-Status says where our own bounds kept a request from the origin (RFC 9209 section 2.3.9).
const OVERLOAD: &str = "connection_limit_reached";
/// When a client that met them may come again, in seconds.
const RETRY_AFTER_S: &str = "1";

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub head: Head,
    /// Of the content; for HEAD and 304 of what GET would get. Unknown when the origin did not say.
    pub length: Option<u64>,
    /// The part of the whole that this is, for 206 and 416.
    pub part: Option<Part>,
    pub content: Content,
    pub trace: Trace,
    /// The connection is not fit for another request.
    pub close: bool,
}

/// The field lines that came with the content.
#[derive(Debug)]
pub enum Head {
    Stored(StoredHead),
    /// As the origin sent them.
    Lines(FieldLines),
    Map(HeaderMap),
}

impl Head {
    /// The lines as a map; values are slices of what is there.
    pub fn into_map(self) -> HeaderMap {
        match self {
            Head::Stored(head) => head.to_header_map(),
            Head::Lines(lines) => lines.into_map(),
            Head::Map(headers) => headers,
        }
    }
}

impl Default for Head {
    fn default() -> Self {
        Head::Map(HeaderMap::new())
    }
}

/// What Content-Range says (RFC 9110 section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Of { first: u64, last: u64, total: u64 },
    Unsatisfied { total: u64 },
}

/// Where the bytes come from.
pub enum Content {
    Empty,
    Text(Bytes),
    Stored(headland_cache::Body, Range<u64>),
    /// Several parts of what is stored, with what stands between them.
    Parts(Vec<Bytes>),
    /// A fill under way, or the part of it that is wanted.
    Fill(FillReader),
    Origin(ResponseBody),
    /// A large body that is read from disk as it is sent, or the part of it that is wanted.
    Disk(Box<DiskReader>),
    /// What a task makes for this client alone.
    Piped(Reader),
    /// The origin's side of a tunnel, after its 101.
    Tunnel(Upgraded),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Content::Empty => "Empty",
            Content::Text(_) => "Text",
            Content::Stored(..) => "Stored",
            Content::Parts(_) => "Parts",
            Content::Fill(_) => "Fill",
            Content::Origin(_) => "Origin",
            Content::Disk(_) => "Disk",
            Content::Piped(_) => "Piped",
            Content::Tunnel(_) => "Tunnel",
        })
    }
}

/// How an answer came about, for Cache-Status, the log and the metrics.
#[derive(Debug)]
pub struct Trace {
    pub outcome: Outcome,
    pub site: Option<Arc<SiteMetrics>>,
    /// Seconds, when the answer comes from the store.
    pub age_s: Option<u64>,
    /// Seconds of freshness left; negative when stale.
    pub ttl_s: Option<i64>,
    pub key_hash: Option<u128>,
    /// The answer was put into the store by this request's fill.
    pub stored: bool,
    /// The request waited for another one's fill.
    pub collapsed: bool,
    /// It was read from disk for this request.
    pub from_disk: bool,
    pub origin: Option<Box<OriginTrace>>,
    pub error: Option<Box<ErrorTrace>>,
    /// The request's identifier, where an origin was asked under it.
    pub request_id: Option<HeaderValue>,
}

/// What the origin did for this request.
#[derive(Debug, Clone)]
pub struct OriginTrace {
    pub server: Arc<str>,
    pub status: u16,
    pub reused: bool,
    pub connect_us: u64,
    pub first_byte_us: u64,
}

/// An error that the node answers for.
#[derive(Debug, Clone)]
pub struct ErrorTrace {
    /// The Proxy-Status error type (RFC 9209 section 2.3).
    pub error: &'static str,
    /// The cause in our own words, for log and details.
    pub cause: Cow<'static, str>,
}

impl Trace {
    #[must_use]
    pub fn new(outcome: Outcome) -> Self {
        Trace {
            outcome,
            site: None,
            age_s: None,
            ttl_s: None,
            key_hash: None,
            stored: false,
            collapsed: false,
            from_disk: false,
            origin: None,
            error: None,
            request_id: None,
        }
    }
}

impl Answer {
    /// An answer that the node makes itself, with a short text for people.
    pub fn local(status: StatusCode, text: impl Into<Bytes>) -> Self {
        let text = text.into();
        let mut headers = HeaderMap::new();
        if !text.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Answer {
            status,
            head: Head::Map(headers),
            length: Some(text.len() as u64),
            part: None,
            content: if text.is_empty() { Content::Empty } else { Content::Text(text) },
            trace: Trace::new(Outcome::Local),
            close: false,
        }
    }

    /// A refusal or a failure: the status' own phrase and the reason, as text.
    pub fn error(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = reason.into();
        let phrase = status.canonical_reason().unwrap_or("Error");
        Self::local(status, format!("{} {phrase}: {reason}\n", status.as_u16()))
    }

    /// The answer when the origin could not be asked or broke off before its head, with Proxy-Status: 502 or 504, unless
    /// it was the client's fault, and which.
    pub fn fetch_error(error: &FetchError, clients: Option<StatusCode>, outcome: Outcome) -> Self {
        let origins = Self::failed(error.is_timeout(), error.proxy_status_error(), error.word(), error.to_string());
        let mut answer = match clients {
            Some(status) => Answer { trace: origins.trace, ..Self::error(status, error.word()) },
            None => origins,
        };
        answer.trace.outcome = outcome;
        answer
    }

    /// The answer when the origin failed: 504 for a deadline, 503 where our own bounds kept the request from it, else 502.
    /// `error` is the token of Proxy-Status.
    pub fn failed(timeout: bool, error: &'static str, word: &'static str, cause: String) -> Self {
        let overload = error == OVERLOAD;
        let status = match (overload, timeout) {
            (true, _) => StatusCode::SERVICE_UNAVAILABLE,
            (false, true) => StatusCode::GATEWAY_TIMEOUT,
            (false, false) => StatusCode::BAD_GATEWAY,
        };
        let mut answer = Self::error(status, word);
        answer.trace.error = Some(Box::new(ErrorTrace { error, cause: Cow::Owned(cause) }));
        if overload {
            answer.edit(|headers| drop(headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S))));
        }
        answer
    }

    /// Edits the field lines, turning them into a map of their own first.
    pub fn edit(&mut self, edit: impl FnOnce(&mut HeaderMap)) {
        let mut headers = std::mem::take(&mut self.head).into_map();
        edit(&mut headers);
        self.head = Head::Map(headers);
    }
}

/// Takes the fields that a delivery adds.
pub trait FieldSink {
    fn put(&mut self, name: &'static HeaderName, value: &[u8]);
}

static X_CACHE: HeaderName = HeaderName::from_static("x-cache");
static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Adds the fields of this delivery: Age, Via, Cache-Status, X-Cache, Server-Timing, Proxy-Status, Content-Range, Alt-Svc.
/// `secure`: it goes over TLS.
pub fn adorn(answer: &Answer, snapshot: &Snapshot, secure: bool, scratch: &mut String, sink: &mut impl FieldSink) {
    let trace = &answer.trace;
    if let Some(age) = trace.age_s {
        sink.put(&header::AGE, itoa::Buffer::new().format(age).as_bytes());
    }
    sink.put(&header::VIA, snapshot.names.via.as_bytes());
    scratch.clear();
    write_cache_status(trace, &snapshot.names.node, scratch);
    sink.put(&CACHE_STATUS, scratch.as_bytes());
    if snapshot.x_cache && trace.outcome != Outcome::Local {
        sink.put(&X_CACHE, if trace.outcome.is_hit() { b"HIT" } else { b"MISS" });
    }
    if let Some(part) = answer.part {
        sink.put(&header::CONTENT_RANGE, part.to_string().as_bytes());
    }
    if let Some(id) = &trace.request_id {
        sink.put(&X_REQUEST_ID, id.as_bytes());
    }
    if let Some(error) = &trace.error {
        sink.put(&PROXY_STATUS, proxy_status(error, &snapshot.names.node).as_bytes());
    }
    if let Some(alternative) = snapshot.alt_svc.as_ref().filter(|_| secure) {
        sink.put(&header::ALT_SVC, alternative.as_bytes());
    }
    if snapshot.server_timing {
        sink.put(&SERVER_TIMING, server_timing(trace).as_bytes());
    }
}

/// Our member of Cache-Status (RFC 9211 section 2); the origin's own members stay before it.
fn write_cache_status(trace: &Trace, node: &str, out: &mut String) {
    out.push_str(node);
    out.push_str("; ");
    out.push_str(trace.outcome.cache_status());
    if let Some(ttl) = trace.ttl_s {
        out.push_str("; ttl=");
        out.push_str(itoa::Buffer::new().format(ttl));
    }
    if let Some(origin) = trace.origin.as_ref().filter(|_| !matches!(trace.outcome, Outcome::Revalidated)) {
        out.push_str("; fwd-status=");
        out.push_str(itoa::Buffer::new().format(origin.status));
    }
    if trace.from_disk {
        out.push_str("; detail=disk");
    }
    if trace.stored {
        out.push_str("; stored");
    }
    if trace.collapsed {
        out.push_str("; collapsed");
    }
}

/// RFC 9209 section 2: who, what, and the cause as a quoted string.
fn proxy_status(error: &ErrorTrace, node: &str) -> String {
    let cause: String = error
        .cause
        .chars()
        .filter(|c| (' '..='~').contains(c))
        .flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c]))
        .collect();
    format!("{node}; error={}; details=\"{cause}\"", error.error)
}

fn server_timing(trace: &Trace) -> String {
    let word = if trace.outcome.is_hit() { "HIT" } else { "MISS" };
    let mut text = format!("cdn-cache; desc={word}");
    if let Some(origin) = &trace.origin {
        // Writing into a String cannot fail.
        let _ = write!(text, ", origin; dur={:.3}", origin.first_byte_us as f64 / 1000.0);
    }
    text
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Of { first, last, total } => write!(f, "bytes {first}-{last}/{total}"),
            Part::Unsatisfied { total } => write!(f, "bytes */{total}"),
        }
    }
}

impl FieldSink for HeaderMap {
    fn put(&mut self, name: &'static HeaderName, value: &[u8]) {
        // All values are made of bytes that a field may hold.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.append(name, value);
        }
    }
}

impl FieldSink for Vec<u8> {
    fn put(&mut self, name: &'static HeaderName, value: &[u8]) {
        crate::h1::encode::field(self, name.as_str().as_bytes(), value);
    }
}

#[cfg(test)]
mod tests {
    use headland_cache::MissReason;

    use super::*;

    fn status(trace: &Trace) -> String {
        let mut out = String::new();
        write_cache_status(trace, "pop1", &mut out);
        out
    }

    #[test]
    fn cache_status_tells_what_happened() {
        let hit = Trace { ttl_s: Some(30), ..Trace::new(Outcome::Hit) };
        assert_eq!(status(&hit), "pop1; hit; ttl=30");
        let origin = OriginTrace { server: "a".into(), status: 200, reused: true, connect_us: 0, first_byte_us: 1500 };
        let miss = Trace {
            ttl_s: Some(60),
            origin: Some(Box::new(origin)),
            stored: true,
            collapsed: true,
            ..Trace::new(Outcome::Miss(MissReason::Absent))
        };
        assert_eq!(status(&miss), "pop1; fwd=uri-miss; ttl=60; fwd-status=200; stored; collapsed");
        assert_eq!(server_timing(&miss), "cdn-cache; desc=MISS, origin; dur=1.500");
    }

    #[test]
    fn proxy_status_cannot_break_out_of_its_string() {
        let error = ErrorTrace { error: "dns_error", cause: Cow::Borrowed("a\"b\\c\r\nd") };
        assert_eq!(proxy_status(&error, "pop1"), r#"pop1; error=dns_error; details="a\"b\\cd""#);
    }

    #[test]
    fn content_range_names_the_part_or_that_there_is_none() {
        assert_eq!(Part::Of { first: 0, last: 4, total: 9 }.to_string(), "bytes 0-4/9");
        assert_eq!(Part::Unsatisfied { total: 9 }.to_string(), "bytes */9");
    }
}
