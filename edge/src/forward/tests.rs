//! Requests by hand, and what of them goes to the origin.
#![allow(clippy::unwrap_used)]

use bytes::BytesMut;

use super::*;
use crate::h1::{HeadParser, Parsed, Version};
use crate::limits::tests::SAMPLE;

/// How a test departs from a plain request by a stranger over HTTP.
#[derive(Clone, Copy)]
struct Setting {
    purpose: Purpose,
    peer: &'static str,
    peer_trusted: bool,
    https: bool,
    authority: &'static str,
}

const PLAIN: Setting =
    Setting { purpose: Purpose::Pass, peer: "192.0.2.1", peer_trusted: false, https: false, authority: "h.example" };

fn flat(lines: &[(&str, &str)]) -> FlatFields {
    let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let text = format!("GET / HTTP/1.1\r\nHost: h.example\r\n{}\r\n", lines.concat());
    match HeadParser::new().advance(&mut BytesMut::from(text.as_str()), &SAMPLE) {
        Ok(Parsed::Complete(head)) => head.fields,
        other => panic!("{other:?}"),
    }
}

fn forward(setting: Setting, fields: &impl OwnedLines) -> HeaderMap {
    let context = ForwardContext {
        purpose: setting.purpose,
        peer: setting.peer.parse().unwrap(),
        peer_trusted: setting.peer_trusted,
        https: setting.https,
        authority: setting.authority.as_bytes(),
        via: &via_value(Via::Http(Version::Http11), "pop1").unwrap(),
        loop_token: &HeaderValue::from_static("pop1"),
        request_id: &HeaderValue::from_static("minted"),
        identity_only: false,
        for_peer: None,
        max_forwards: None,
    };
    let headers = forward_headers(fields, &context);
    // Where text will do, it says the same, in every test of this file.
    if let Some(text) = forward_text(fields, &context) {
        assert_eq!(headland_origin::RequestFields::Text(text).to_map(), headers);
    }
    headers
}

/// The lines of a map but those that the node adds to every request.
fn passed(headers: &HeaderMap) -> Vec<(String, String)> {
    const ADDED: [&str; 7] =
        ["cdn-loop", "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"];
    let mut lines: Vec<_> = headers
        .iter()
        .filter(|(name, _)| !ADDED.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
        .collect();
    lines.sort();
    lines
}

fn names(headers: &HeaderMap) -> Vec<String> {
    passed(headers).into_iter().map(|(name, _)| name).collect()
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn a_plain_request_gains_what_the_node_vouches_for() {
    let headers = forward(PLAIN, &flat(&[("Accept", "*/*"), ("Traceparent", "00-a-b-01")]));
    assert_eq!(names(&headers), ["accept", "traceparent"]);
    assert_eq!(headers["via"], "1.1 pop1");
    assert_eq!(headers["cdn-loop"], "pop1");
    assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-host"], "h.example");
    assert_eq!(headers["forwarded"], "for=192.0.2.1;host=h.example;proto=http");
    assert_eq!(headers["x-request-id"], "minted");
}

#[test]
fn addresses_and_ports_in_forwarded_are_quoted() {
    let setting = Setting { peer: "2001:db8::1", https: true, authority: "h:8443", ..PLAIN };
    let headers = forward(setting, &flat(&[]));
    assert_eq!(headers["forwarded"], "for=\"[2001:db8::1]\";host=\"h:8443\";proto=https");
    assert_eq!(headers["x-forwarded-for"], "2001:db8::1");
    let mapped = forward(Setting { peer: "::ffff:192.0.2.7", ..PLAIN }, &flat(&[]));
    assert_eq!(mapped["x-forwarded-for"], "192.0.2.7");
}

#[test]
fn a_map_and_a_flat_list_forward_alike() {
    let lines = [("Accept", "a"), ("Accept", "b"), ("X-A", "c"), ("Connection", "x-a"), ("Via", "1.0 other")];
    let fields = flat(&lines);
    assert_eq!(forward(PLAIN, &fields), forward(PLAIN, &fields.to_header_map()));
}

type Lines = &'static [(&'static str, &'static str)];

/// K1 and K2: row, lines of the client, names that remain of them.
const HOP_BY_HOP: [(&str, Lines, &[&str]); 9] = [
    ("K1 nominated", &[("Connection", "close, X-A , x-b"), ("X-A", "1"), ("X-B", "2"), ("X-C", "3")], &["x-c"]),
    ("K1 two lines", &[("Connection", "x-a"), ("Connection", "x-b"), ("X-A", "1"), ("X-B", "2")], &[]),
    ("K1 cookie", &[("Connection", "Cookie"), ("Cookie", "a=b")], &["cookie"]),
    ("K1 authorization", &[("Connection", "authorization"), ("Authorization", "Basic x")], &["authorization"]),
    ("K1 cache-control", &[("Connection", "cache-control"), ("Cache-Control", "no-cache")], &["cache-control"]),
    ("K1 content-type", &[("Connection", "content-type, content-length"), ("Content-Type", "a/b")], &["content-type"]),
    ("K2 te", &[("TE", "trailers, x"), ("Trailer", "Content-Length")], &[]),
    ("K2 others", &[("Proxy-Connection", "a"), ("Keep-Alive", "b"), ("Proxy-Authorization", "c")], &[]),
    ("F25 upgrade", &[("Upgrade", "h2c"), ("HTTP2-Settings", "AAMA"), ("Connection", "Upgrade, HTTP2-Settings")], &[]),
];

#[test]
fn hop_by_hop_fields_end_here() {
    for (row, lines, remaining) in HOP_BY_HOP {
        assert_eq!(names(&forward(PLAIN, &flat(lines))), *remaining, "{row}");
    }
}

#[test]
fn k1_what_the_node_adds_cannot_be_nominated_away() {
    let nominated =
        "close, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Forwarded, Via, CDN-Loop, X-Request-Id";
    let headers = forward(PLAIN, &flat(&[("Connection", nominated), ("X-Forwarded-For", "10.0.0.1")]));
    for name in nominated.split(", ").skip(1) {
        assert!(headers.contains_key(name), "{name}");
    }
    assert_eq!(values(&headers, "x-forwarded-for"), ["192.0.2.1"]);
}

/// P1 and E3: what a stranger may not tell the origin.
const SPOOFED: [&str; 21] = [
    "X.Forwarded.Port",
    "X-Forwarded-Scheme",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-Prefix",
    "X-Forwarded",
    "X-Real-IP",
    "X-Host",
    "X-Original-URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X_Forwarded_Port",
    "X_HTTP_Method_Override",
    "X-Original_URL",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Front-End-Https",
    "Proxy",
];

#[test]
fn p1_claims_of_strangers_do_not_reach_the_origin() {
    for name in SPOOFED {
        assert_eq!(names(&forward(PLAIN, &flat(&[(name, "evil")]))), [""; 0], "{name}");
    }
    let claims = [("X-Forwarded-For", "evil"), ("X-Forwarded-Host", "evil"), ("X-Forwarded-Proto", "evil")];
    for headers in [forward(PLAIN, &flat(&claims)), forward(PLAIN, &flat(&[("Forwarded", "for=evil")]))] {
        assert!(headers.values().all(|value| !value.to_str().unwrap().contains("evil")), "{headers:?}");
    }
}

#[test]
fn p1_a_trusted_proxy_is_added_to() {
    let claims = [
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-For", "10.0.0.2"),
        ("Forwarded", "for=198.51.100.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "public.example"),
        ("X-Original-URL", "/admin"),
        ("Connection", "X-Forwarded-For, Forwarded"),
    ];
    let headers = forward(Setting { peer_trusted: true, ..PLAIN }, &flat(&claims));
    assert_eq!(values(&headers, "x-forwarded-for"), ["198.51.100.7, 10.0.0.2, 192.0.2.1"]);
    assert_eq!(headers["forwarded"], "for=198.51.100.7, for=192.0.2.1;host=h.example;proto=http");
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["x-forwarded-host"], "public.example");
    assert!(!headers.contains_key("x-original-url"));
}

#[test]
fn a_fill_asks_for_the_whole_in_shared_codings() {
    let lines = [
        ("Range", "bytes=0-0"),
        ("If-Range", "\"a\""),
        ("If-None-Match", "\"a\""),
        ("If-Modified-Since", "x"),
        ("Accept-Encoding", "gzip;q=0.5, nonsense"),
        ("Cookie", "a=b"),
    ];
    let fill = forward(Setting { purpose: Purpose::Fill, ..PLAIN }, &flat(&lines));
    let expected = [("accept-encoding", "gzip"), ("cookie", "a=b")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(passed(&fill), expected);
    assert_eq!(passed(&forward(PLAIN, &flat(&lines))).len(), lines.len());
}

#[test]
fn cookie_crumbs_are_joined() {
    let headers = forward(PLAIN, &flat(&[("Cookie", "a=b"), ("Cookie", "c=d"), ("Cookie", "e=f")]));
    assert_eq!(values(&headers, "cookie"), ["a=b; c=d; e=f"]);
}

#[test]
fn k3_loops_are_counted_by_either_field() {
    let count = |lines: &[(&str, &str)]| loop_count(&flat(lines), "pop1");
    assert_eq!(count(&[("CDN-Loop", "other, pop1;v=1"), ("CDN-Loop", "pop1")]), 2);
    assert_eq!(count(&[("Via", "1.1 other, 2 pop1 (headland)")]), 1);
    assert_eq!(count(&[("CDN-Loop", "pop12, xpop1"), ("Via", "1.1 pop12")]), 0);
    let hidden = forward(PLAIN, &flat(&[("CDN-Loop", "other"), ("Connection", "CDN-Loop, Via")]));
    assert_eq!(loop_count(&hidden, "other"), 1);
    let second_hop = forward(PLAIN, &forward(PLAIN, &flat(&[])));
    assert_eq!(loop_count(&second_hop, "pop1"), 2);
}

#[test]
fn only_safe_request_ids_are_taken() {
    let long = "a".repeat(129);
    let accepted = |lines: &[(&str, &str)]| accepted_request_id(&flat(lines));
    assert_eq!(accepted(&[("X-Request-Id", "7b1c-A_9.z:")]).unwrap(), "7b1c-A_9.z:");
    for bad in ["", "a b", "a\"b", "a{b", "a\u{e9}", long.as_str()] {
        assert_eq!(accepted(&[("X-Request-Id", bad)]), None, "{bad}");
    }
    assert_eq!(accepted(&[("X-Request-Id", "a"), ("X-Request-Id", "b")]), None);
    assert_eq!(accepted(&[]), None);
}
