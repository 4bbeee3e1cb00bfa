//! The header section that goes to the origin, made from the one that came.
//!
//! Model: every line of the client is dropped or passed on by its name alone, then Connection may drop more, then the
//! node adds what it vouches for. Adding comes last, so no client can strip or spoof it (K1, P1).
//!
//! Never in the result: Host and framing fields (the origin side writes those from the request itself), Expect (the
//! node answers it), Max-Forwards but for OPTIONS (it limits OPTIONS and TRACE only; E4), and fields that make some origins act on
//! another URL, method or client than the edge saw.

use std::net::IpAddr;

use headland_cache::Fields;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::h1::{FlatFields, encode};
use crate::hop_by_hop;

mod client;
mod codings;
mod names;

use names::{Kind, kind_of, passes};

pub use client::{Via, accepted_request_id, loop_count, max_forwards, via_value};

/// What nodes of one place say to each other.
pub static PEER: HeaderName = HeaderName::from_static("headland-peer");

/// Why the origin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// For one client: what it asked is passed on.
    Pass,
    /// For the cache: the whole representation, without the client's conditions, in codings that many clients share.
    Fill,
}

/// What the node knows about a request beside its fields.
#[derive(Clone, Copy, Debug)]
pub struct ForwardContext<'a> {
    pub purpose: Purpose,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether the peer is a proxy whose X-Forwarded-*, Forwarded and X-Real-IP are believed.
    pub peer_trusted: bool,
    /// Whether the request came over TLS.
    pub https: bool,
    /// The host it is for, as sent.
    pub authority: &'a [u8],
    /// This hop in Via; see [`via_value`].
    pub via: &'a HeaderValue,
    /// This node or its network in CDN-Loop (RFC 8586).
    pub loop_token: &'a HeaderValue,
    /// The client's own id if [`accepted_request_id`] took it, else a new one.
    pub request_id: &'a HeaderValue,
    /// Codings are made at the edge: a fill asks for the representation without one.
    pub identity_only: bool,
    /// The request goes to a peer, with this word of who asks; it says to the origin what is to be said.
    pub for_peer: Option<&'a HeaderValue>,
    /// How many more proxies an OPTIONS request may pass (RFC 9110 7.6.2).
    pub max_forwards: Option<u64>,
}

/// Field lines that can be handed over without copying their values.
pub trait OwnedLines: Fields {
    /// Calls `take` with each line, in order.
    fn each_line(&self, take: impl FnMut(HeaderName, HeaderValue));

    /// Appends the lines whose names are kept, as an HTTP/1.1 head has them.
    fn copy_lines(&self, text: &mut Vec<u8>, keep: impl Fn(&[u8]) -> bool) {
        for (name, value) in self.lines().filter(|(name, _)| keep(name)) {
            encode::field(text, name, value);
        }
    }
}

impl OwnedLines for HeaderMap {
    fn each_line(&self, mut take: impl FnMut(HeaderName, HeaderValue)) {
        self.iter().for_each(|(name, value)| take(name.clone(), value.clone()));
    }
}

impl OwnedLines for FlatFields {
    fn each_line(&self, take: impl FnMut(HeaderName, HeaderValue)) {
        self.owned_lines(take);
    }

    fn copy_lines(&self, text: &mut Vec<u8>, keep: impl Fn(&[u8]) -> bool) {
        self.runs(keep).for_each(|run| text.extend_from_slice(run));
    }
}

/// Builds the header section for the origin.
pub fn forward_headers(fields: &impl OwnedLines, context: &ForwardContext<'_>) -> HeaderMap {
    /// Room for the lines that the node adds.
    const ADDED: usize = 8;
    let mut headers = HeaderMap::with_capacity(fields.lines().count() + ADDED);
    fields.each_line(|name, value| {
        if passes(name.as_str().as_bytes(), context.purpose, context.peer_trusted) {
            headers.append(name, value);
        }
    });
    drop_nominated(fields, &mut headers);
    join_cookies(&mut headers);
    if let Some(value) = fill_codings(fields, context) {
        headers.insert(header::ACCEPT_ENCODING, value);
    }
    match context.for_peer {
        Some(word) => drop(headers.insert(&PEER, word.clone())),
        None => client::add_identity(&mut headers, context),
    }
    headers.append(header::VIA, context.via.clone());
    headers.append(HeaderName::from_static("cdn-loop"), context.loop_token.clone());
    headers.insert(HeaderName::from_static("x-request-id"), context.request_id.clone());
    if let Some(left) = context.max_forwards {
        headers.insert(header::MAX_FORWARDS, left.into());
    }
    headers
}

/// The same header section as the text of an HTTP/1.1 head, for requests that need nothing but lines passed on or
/// dropped and ours added. None for the others: a trusted proxy has claims to add to, Connection nominates fields, or
/// a cookie came in pieces.
pub fn forward_text(fields: &impl OwnedLines, context: &ForwardContext<'_>) -> Option<Vec<u8>> {
    /// Room for a browser's request and what the node adds, in bytes.
    const USUAL_BYTES: usize = 1536;
    if context.peer_trusted
        || context.max_forwards.is_some()
        || nominates(fields)
        || fields.named("cookie").nth(1).is_some()
    {
        return None;
    }
    let mut text = Vec::with_capacity(USUAL_BYTES);
    fields.copy_lines(&mut text, |name| passes(name, context.purpose, false));
    if let Some(value) = fill_codings(fields, context) {
        encode::field(&mut text, b"accept-encoding", value.as_bytes());
    }
    match context.for_peer {
        Some(word) => encode::field(&mut text, PEER.as_str().as_bytes(), word.as_bytes()),
        None => client::write_identity(&mut text, context),
    }
    encode::field(&mut text, b"via", context.via.as_bytes());
    encode::field(&mut text, b"cdn-loop", context.loop_token.as_bytes());
    encode::field(&mut text, b"x-request-id", context.request_id.as_bytes());
    Some(text)
}

/// The Accept-Encoding of a fill.
fn fill_codings(fields: &impl Fields, context: &ForwardContext<'_>) -> Option<HeaderValue> {
    match (context.purpose, context.identity_only) {
        (Purpose::Pass, _) => None,
        (Purpose::Fill, true) => Some(HeaderValue::from_static("identity")),
        (Purpose::Fill, false) => codings::accept_encoding(fields),
    }
}

/// Whether Connection names anything but its own words.
fn nominates(fields: &impl Fields) -> bool {
    let options = fields.named("connection").flat_map(|value| value.split(|&byte| byte == b','));
    options
        .map(<[u8]>::trim_ascii)
        .any(|option| !option.is_empty() && !OWN_WORDS.iter().any(|word| option.eq_ignore_ascii_case(word)))
}

/// What Connection may say about the connection itself.
const OWN_WORDS: [&[u8]; 3] = [b"keep-alive", b"close", b"upgrade"];

/// Removes what Connection names and may name (RFC 9110 7.6.1). What is looked up is the result, not the list, so a
/// long Connection costs one look-up per word. Claims that are still there are a trusted proxy's, and stay.
fn drop_nominated(fields: &impl Fields, headers: &mut HeaderMap) {
    for option in fields.named("connection").flat_map(|value| value.split(|&byte| byte == b',')) {
        let option = option.trim_ascii();
        if option.is_empty() || OWN_WORDS.iter().any(|word| option.eq_ignore_ascii_case(word)) {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(option)
            && hop_by_hop::may_be_nominated(name.as_str())
            && kind_of(name.as_str().as_bytes()) != Kind::Claim
        {
            headers.remove(name);
        }
    }
}

/// HTTP/2 clients may send Cookie in pieces; other protocols know one line only (RFC 9113 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    let joined = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).expect("made of field values");
    headers.insert(header::COOKIE, joined);
}

#[cfg(test)]
mod tests;
