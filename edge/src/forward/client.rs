//! Who the client is and how a request came here, in the fields that say so: X-Forwarded-*, Forwarded (RFC 7239),
//! Via, CDN-Loop (RFC 8586), X-Request-Id.
//!
//! Of a trusted proxy the claims are kept and added to; of anyone else they were dropped before this adds ours.

use std::net::IpAddr;

use headland_cache::Fields;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::ForwardContext;
use crate::h1::{Version, encode};

/// Bytes of a request id that is taken from a client.
const REQUEST_ID_BYTES_MAX: usize = 128;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields by which a proxy says for whom it asks, beside all that begin with `x-forwarded`.
pub(super) const CLAIMS: [&str; 14] = [
    "cf-connecting-ip",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-originating-ip",
    "x-real-ip",
    "x-real-port",
    "x-remote-addr",
    "x-remote-ip",
    "x-scheme",
];

/// Fields that make some origins answer for another URL or method than the one that was keyed (P1, E3),
/// or read as a proxy setting (`Proxy`, the CGI variable `HTTP_PROXY`). Nobody is trusted with them.
pub(super) const OVERRIDES: [&str; 15] = [
    "proxy",
    "x-accel-redirect",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-http-path-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-proxy-url",
    "x-rewrite-url",
    "x-sendfile",
    "x-url-scheme",
];

/// Adds the peer and what it asked for. Lists grow at their end; of single values the one nearest the client stays.
pub(super) fn add_identity(headers: &mut HeaderMap, context: &ForwardContext<'_>) {
    let proto = if context.https { "https" } else { "http" };
    let peer = context.peer.to_canonical();
    let (mut address, mut element) = (Vec::new(), Vec::new());
    write_address(&mut address, peer);
    write_forwarded_element(&mut element, peer, context.authority, proto);
    extend_list(headers, X_FORWARDED_FOR, &address);
    extend_list(headers, header::FORWARDED, &element);
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(proto));
    if let Ok(host) = HeaderValue::from_bytes(context.authority)
        && !host.is_empty()
    {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
}

/// The same as text, for a peer whose claims were dropped. Written by hand: formatting an address with the standard
/// formatter costs as much as all other lines together.
pub(super) fn write_identity(text: &mut Vec<u8>, context: &ForwardContext<'_>) {
    let proto = if context.https { "https" } else { "http" };
    let peer = context.peer.to_canonical();
    text.extend_from_slice(b"x-forwarded-for: ");
    write_address(text, peer);
    text.extend_from_slice(b"\r\nforwarded: ");
    write_forwarded_element(text, peer, context.authority, proto);
    text.extend_from_slice(b"\r\n");
    encode::field(text, b"x-forwarded-proto", proto.as_bytes());
    if !context.authority.is_empty() {
        encode::field(text, b"x-forwarded-host", context.authority);
    }
}

fn write_address(text: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    text.push(b'.');
                }
                text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(address) => text.extend_from_slice(address.to_string().as_bytes()),
    }
}

/// One line with all members so far and one more: origins that read only one line must not miss any.
fn extend_list(headers: &mut HeaderMap, name: HeaderName, member: &[u8]) {
    let mut list = Vec::new();
    for line in headers.get_all(&name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(member);
    let list = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).expect("made of field values and plain text");
    headers.insert(name, list);
}

/// `for=...;host=...;proto=...` (RFC 7239 4), with quotes where a value is no token.
fn write_forwarded_element(text: &mut Vec<u8>, peer: IpAddr, host: &[u8], proto: &str) {
    let bracketed = peer.is_ipv6();
    text.extend_from_slice(if bracketed { b"for=\"[" } else { b"for=" });
    write_address(text, peer);
    text.extend_from_slice(if bracketed { b"]\"" } else { b"" });
    let plain = host.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    let quotable = host.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
    if !host.is_empty() && quotable {
        let quote: &[u8] = if plain { b"" } else { b"\"" };
        for part in [b";host=", quote, host, quote] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b";proto=");
    text.extend_from_slice(proto.as_bytes());
}

/// This hop in Via: the version the message came by and a name (RFC 9110 7.6.3). `None` if the name is no field value.
pub fn via_value(version: Via, name: &str) -> Option<HeaderValue> {
    let version = match version {
        Via::Http(Version::Http10) => "1.0",
        Via::Http(Version::Http11) => "1.1",
        Via::Http2 => "2",
    };
    HeaderValue::from_str(&format!("{version} {name}")).ok()
}

/// The protocol version that Via names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// HTTP/1.0 or HTTP/1.1.
    Http(Version),
    /// HTTP/2.
    Http2,
}

/// How often a request has passed here already, by CDN-Loop or Via, whichever saw more (K3). A stranger can only make
/// the number too high, and then only for his own request.
pub fn loop_count(fields: &impl Fields, token: &str) -> usize {
    let by_cdn_loop = members(fields, "cdn-loop").filter(|member| first_word(member) == token.as_bytes()).count();
    let by_via = members(fields, "via").filter(|member| second_word(member) == token.as_bytes()).count();
    by_cdn_loop.max(by_via)
}

fn members<'a>(fields: &'a impl Fields, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.named(name).flat_map(|line| line.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// The CDN id before any parameters (RFC 8586 2).
fn first_word(member: &[u8]) -> &[u8] {
    member.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default()
}

/// The received-by of a Via member.
fn second_word(member: &[u8]) -> &[u8] {
    member.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).nth(1).unwrap_or_default()
}

/// How many proxies the request may still pass, if it says so in digits (RFC 9110 7.6.2).
pub fn max_forwards(fields: &impl Fields) -> Option<u64> {
    let value = fields.first("max-forwards")?;
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

/// The client's request id, if it is one id that is safe in logs and on the wire.
pub fn accepted_request_id(fields: &impl Fields) -> Option<HeaderValue> {
    let mut ids = fields.named("x-request-id");
    let (Some(id), None) = (ids.next(), ids.next()) else { return None };
    let safe =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'=' | b'+' | b'/');
    let accepted = (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(safe);
    if accepted { HeaderValue::from_bytes(id).ok() } else { None }
}
