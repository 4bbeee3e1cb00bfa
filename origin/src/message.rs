//! The request that a caller hands in and the response that it gets back, whatever the protocol underneath.
//!
//! Both sides carry end-to-end fields only: the codec adds `Host` and framing on the way out, and
//! removes framing, hop-by-hop and Connection-nominated fields on the way in. Body frames are slices of shared
//! read buffers of up to 256 KiB: pass them on at once, copy what is kept.

use std::borrow::Cow;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use crate::client::Witness;
use crate::error::{BodyFault, Excess, Fault, FetchError, Phase};
use crate::{h1, h2};

mod field_lines;

pub use field_lines::FieldLines;

/// Takes the interim answers (1xx) of exchanges, other than 100 and 101.
pub trait InterimSink: Send + Sync {
    /// `exchange` tells whose they are: the number that its [`Interim`] was made with.
    fn interim(&self, exchange: u64, status: StatusCode, headers: HeaderMap);
}

/// Where the interim answers of one exchange go.
#[derive(Clone)]
pub struct Interim {
    pub sink: Arc<dyn InterimSink>,
    pub exchange: u64,
}

impl Interim {
    /// Passes one on.
    pub fn pass(&self, status: StatusCode, headers: HeaderMap) {
        self.sink.interim(self.exchange, status, headers);
    }
}

/// A request to an origin. Lent to the exchange, so that it can be sent again when that is safe.
pub struct Request {
    pub method: Method,
    /// The `Host` field or `:authority`.
    pub authority: HeaderValue,
    /// Path and query as sent: canonical, starts with `/`, or `*` for OPTIONS.
    pub target: Bytes,
    /// End-to-end fields only: no `Host`, no framing, nothing hop-by-hop.
    pub headers: RequestFields,
    pub body: RequestBody,
    /// The protocol that the client asks to switch to.
    pub upgrade: Option<HeaderValue>,
    /// Who asks, where one client does.
    pub client: Option<IpAddr>,
}

impl Request {
    /// The same once more, without its body.
    pub(crate) fn twin(&self) -> Request {
        Request {
            method: self.method.clone(),
            authority: self.authority.clone(),
            target: self.target.clone(),
            headers: self.headers.clone(),
            body: RequestBody::Empty,
            upgrade: self.upgrade.clone(),
            client: self.client,
        }
    }
}

/// The fields of a request, in the form that its sender had them in.
#[derive(Debug, Clone)]
pub enum RequestFields {
    Map(HeaderMap),
    /// Field lines as HTTP/1.1 writes them, each `name: value` and CRLF, names in any case. Making a map of what is
    /// sent on as it came would cost more than all the rest of a head.
    Text(Vec<u8>),
}

impl RequestFields {
    /// The value of the first line of this name.
    pub fn first(&self, name: &HeaderName) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Map(map) => map.get(name).map(|value| value.as_bytes().into()),
            Self::Text(text) => text.split(|&byte| byte == b'\n').find_map(|line| {
                let (known, value) = line.split_at_checked(name.as_str().len())?;
                let value =
                    value.strip_prefix(b":").filter(|_| known.eq_ignore_ascii_case(name.as_str().as_bytes()))?;
                Some(value.trim_ascii().into())
            }),
        }
    }

    /// As a map, for a protocol that needs one.
    pub fn to_map(&self) -> HeaderMap {
        match self {
            Self::Map(map) => map.clone(),
            Self::Text(text) => text.split(|&byte| byte == b'\n').filter_map(field_of).collect(),
        }
    }
}

/// One line of text without its line feed.
fn field_of(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let line = line.strip_suffix(b"\r")?;
    let colon = memchr::memchr(b':', line)?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

impl From<HeaderMap> for RequestFields {
    fn from(map: HeaderMap) -> Self {
        Self::Map(map)
    }
}

#[derive(Default)]
pub enum RequestBody {
    #[default]
    Empty,
    Stream {
        body: UnsyncBoxBody<Bytes, BodyFault>,
        /// The declared length; without it the body goes out chunked. A body that is longer or shorter aborts.
        length: Option<u64>,
    },
    /// An exchange has begun to read it: the request cannot be sent again.
    Spent,
}

impl RequestBody {
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// True until an exchange has taken its first byte.
    pub fn is_whole(&self) -> bool {
        !matches!(self, Self::Spent)
    }
}

/// The final answer of an origin.
pub struct Response {
    pub status: StatusCode,
    /// End-to-end fields only.
    pub headers: FieldLines,
    /// What Content-Length said: of the body, or for HEAD and 304 of the representation.
    pub length: Option<u64>,
    pub body: ResponseBody,
    /// The connection itself, after a 101 that was asked for.
    pub upgraded: Option<h1::Upgraded>,
    /// The server that answered, as named in the settings; set by the client.
    pub server: Arc<str>,
    /// The value of Set-Cookie that binds a client to that server, for an answer that is one client's own; set by the
    /// client.
    pub binding: Option<HeaderValue>,
    /// The connection had served before; set by the client.
    pub reused: bool,
    /// The request had gone out before the TLS handshake was done; set by the client.
    pub(crate) early: bool,
    /// Time spent getting a connection, 0 when one was idle; set by the client.
    pub connect_micros: u64,
    /// From the first byte of the request going out to the head of the response being read.
    pub first_byte_micros: u64,
}

impl Response {
    pub(crate) fn new(status: StatusCode, headers: FieldLines, length: Option<u64>, body: ResponseBody) -> Self {
        Self {
            status,
            headers,
            length,
            body,
            upgraded: None,
            server: Arc::default(),
            binding: None,
            reused: false,
            early: false,
            connect_micros: 0,
            first_byte_micros: 0,
        }
    }
}

/// The answer has more content than the settings take.
pub(crate) fn too_long(phase: Phase) -> FetchError {
    FetchError::new(Fault::TooLarge(Excess::Body), phase)
}

/// The body of a response. Dropping it before its end closes an HTTP/1.1 connection or resets an HTTP/2 stream.
pub struct ResponseBody {
    kind: Kind,
    /// Is told when it breaks off.
    witness: Option<Witness>,
    /// Bytes that are still taken.
    left: u64,
}

enum Kind {
    Whole(Option<Bytes>),
    H1(Box<h1::Body>),
    H2(Box<h2::Body>),
}

impl From<Kind> for ResponseBody {
    fn from(kind: Kind) -> Self {
        Self { kind, witness: None, left: u64::MAX }
    }
}

impl ResponseBody {
    /// From now on this one is told when it breaks off, as it does after so many bytes.
    pub(crate) fn witnessed_by(&mut self, witness: Witness, bytes_max: u64) {
        self.left = bytes_max;
        if !matches!(self.kind, Kind::Whole(_)) {
            self.witness = Some(witness);
        }
    }

    pub fn empty() -> Self {
        Kind::Whole(None).into()
    }

    /// A body that is already here.
    pub fn whole(bytes: Bytes) -> Self {
        Kind::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())).into()
    }

    /// All of it, when it came along with the head and has no trailers; nothing is taken.
    pub fn here(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Whole(bytes) => Some(bytes.as_deref().unwrap_or_default()),
            Kind::H1(_) | Kind::H2(_) => None,
        }
    }

    pub(crate) fn h1(body: Box<h1::Body>) -> Self {
        Kind::H1(body).into()
    }

    pub(crate) fn h2(body: Box<h2::Body>) -> Self {
        Kind::H2(body).into()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = FetchError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let body = self.get_mut();
        let mut polled = match &mut body.kind {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::H1(body) => body.poll_frame(cx),
            Kind::H2(body) => body.poll_frame(cx),
        };
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            match body.left.checked_sub(data.len() as u64) {
                Some(left) => body.left = left,
                None => polled = Poll::Ready(Some(Err(too_long(Phase::Body)))),
            }
        }
        if let Poll::Ready(Some(Err(error))) = &polled
            && let Some(witness) = body.witness.take()
        {
            witness.saw(error);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::H1(body) => body.is_end_stream(),
            Kind::H2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::H1(body) => body.remaining().map_or_else(SizeHint::new, SizeHint::with_exact),
            Kind::H2(body) => body.remaining().map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_map_hold_the_same_fields() {
        let text = RequestFields::Text(b"a: 1\r\na: 2\r\nb:\r\nc: x: y\r\n".to_vec()).to_map();
        let mut map = HeaderMap::new();
        for (name, value) in [("a", "1"), ("a", "2"), ("b", ""), ("c", "x: y")] {
            map.append(name, HeaderValue::from_static(value));
        }
        assert_eq!(text, map);
    }

    #[test]
    fn a_field_is_found_in_both() {
        let text = RequestFields::Text(b"ab: 1\r\nA: 2\r\na: 3\r\n".to_vec());
        for fields in [RequestFields::Map(text.to_map()), text] {
            assert_eq!(fields.first(&HeaderName::from_static("a")).as_deref(), Some(b"2".as_slice()));
            assert_eq!(fields.first(&HeaderName::from_static("b")), None);
        }
    }
}
