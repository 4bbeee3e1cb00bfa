//! What each rule of RFC 9112 lets in and what it keeps out, however the bytes are split.
#![allow(clippy::unwrap_used)]

use super::rows::{FIELD_ROWS, HEAD_ROWS};
use super::*;
use crate::limits::tests::SAMPLE;

const GOOD: &[u8] = b"GET /good HTTP/1.1\r\nHost: good\r\nContent-Length: 0\r\n\r\n";

/// Feeds pieces until a head is whole; `None` if it never is.
fn feed<'a>(parser: &mut HeadParser, buffer: &mut BytesMut, pieces: impl IntoIterator<Item = &'a [u8]>) -> Verdict {
    for piece in pieces {
        buffer.extend_from_slice(piece);
        match parser.advance(buffer, &SAMPLE) {
            Ok(Parsed::Partial) => {}
            Ok(Parsed::Complete(head)) => return Some(Ok(head)),
            Err(refusal) => return Some(Err(refusal.reason)),
        }
    }
    None
}

type Verdict = Option<Result<RequestHead, Reason>>;

fn verdict<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Verdict {
    feed(&mut HeadParser::new(), &mut BytesMut::new(), pieces)
}

fn head(bytes: &[u8]) -> RequestHead {
    verdict([bytes]).expect("a whole head").expect("a good head")
}

fn refusal(bytes: &[u8]) -> Option<Reason> {
    verdict([bytes]).expect("a verdict").err()
}

/// Every row as a whole head.
fn rows() -> Vec<(&'static str, Vec<u8>, Option<Reason>)> {
    let fields = FIELD_ROWS
        .iter()
        .map(|&(row, lines, reason)| (row, [b"POST / HTTP/1.1\r\nHost: h\r\n", lines, b"\r\n"].concat(), reason));
    let heads = HEAD_ROWS.iter().map(|&(row, head, reason)| (row, [head, b"\r\n"].concat(), reason));
    fields.chain(heads).collect()
}

#[test]
fn every_row_gets_its_verdict() {
    for (row, bytes, reason) in rows() {
        assert_eq!(refusal(&bytes), reason, "{row}");
    }
}

#[test]
fn every_row_gets_the_same_verdict_split_at_any_byte() {
    for (row, bytes, reason) in rows() {
        for cut in 0..bytes.len() {
            let (first, second) = bytes.split_at(cut);
            let verdict = verdict([first, second]).unwrap_or_else(|| panic!("{row}: no verdict, cut at {cut}"));
            assert_eq!(verdict.err(), reason, "{row}, cut at {cut}");
        }
        assert_eq!(verdict(bytes.chunks(1)).unwrap().err(), reason, "{row}, byte by byte");
    }
}

#[test]
fn every_row_gets_the_same_verdict_behind_a_good_request() {
    for (row, bytes, reason) in rows() {
        let mut parser = HeadParser::new();
        let mut buffer = BytesMut::new();
        let pipelined = [GOOD, &bytes, GOOD].concat();
        let first = feed(&mut parser, &mut buffer, [pipelined.as_slice()]).unwrap().unwrap();
        assert_eq!(first.target(), Target::Origin(b"/good"), "{row}");
        assert_eq!(feed(&mut parser, &mut buffer, [b"".as_slice()]).unwrap().err(), reason, "{row}");
    }
}

#[test]
fn refusals_come_before_the_head_ends() {
    for early in [b"GET /\r\n".as_slice(), b"G(", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nX Y: z\r\n", b"\x16\x03\x01"]
    {
        assert!(verdict([early]).is_some_and(|verdict| verdict.is_err()), "{}", String::from_utf8_lossy(early));
    }
}

#[test]
fn statuses_are_those_of_the_clauses() {
    let status = |bytes: &[u8]| Refusal::from(refusal(bytes).unwrap()).status;
    assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n"), 417);
    assert_eq!(status(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), 501);
    assert_eq!(status(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999\r\n\r\n"), 413);
    assert_eq!(status(b"GET / HTTP/3.0\r\nHost: h\r\n\r\n"), 505);
    assert_eq!(status(b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"), 501);
}

#[test]
fn a_request_is_taken_apart_and_the_rest_stays_in_the_buffer() {
    let mut buffer = BytesMut::new();
    let bytes = b"POST /a?b HTTP/1.1\r\nHost: h:80\r\nX-Y:\t z \r\nContent-Length: 3\r\n\r\nabcGET";
    let head = feed(&mut HeadParser::new(), &mut buffer, [bytes.as_slice()]).unwrap().unwrap();
    assert_eq!(head.method, Method::POST);
    assert_eq!(head.target(), Target::Origin(b"/a?b"));
    assert_eq!(head.authority(), Some(b"h:80".as_slice()));
    assert_eq!(head.fields.get("x-y"), Some(b"z".as_slice()));
    assert_eq!(head.framing, BodyFraming::Length(3));
    assert_eq!(&buffer[..], b"abcGET");
    let map = head.fields.to_header_map();
    assert_eq!((map.len(), &map["x-y"]), (3, &http::HeaderValue::from_static("z")));
}

#[test]
fn f21_the_target_wins_over_host() {
    let head = head(b"GET http://a.example:81/x HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert_eq!(head.authority(), Some(b"a.example:81".as_slice()));
    assert_eq!(head.target().path_and_query(), b"/x".as_slice());
}

#[test]
fn lengths_are_decimal_and_zero_is_no_body() {
    let framing = |value: &str| head(format!("PUT / HTTP/1.1\r\nHost: h\r\n{value}\r\n\r\n").as_bytes()).framing;
    assert_eq!(framing("Content-Length: 010"), BodyFraming::Length(10));
    assert_eq!(framing("Content-Length: 0"), BodyFraming::Empty);
    assert_eq!(framing("transfer-encoding: Chunked"), BodyFraming::Chunked);
    assert_eq!(framing("A: b"), BodyFraming::Empty);
}

#[test]
fn connections_are_kept_by_the_rule_of_their_version() {
    let kept = |version: &str, lines: &str| {
        head(format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n").as_bytes()).keep_alive
    };
    assert!(kept("1.1", ""));
    assert!(kept("1.9", ""));
    assert!(!kept("1.1", "Connection: x, Close\r\n"));
    assert!(!kept("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
    assert!(!kept("1.0", ""));
    assert!(kept("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!kept("1.0", "Connection: keep-alive, close\r\n"));
}

#[test]
fn f8_an_expectation_counts_only_where_a_body_follows() {
    let expects = |version: &str, lines: &str| {
        head(format!("PUT / HTTP/{version}\r\nHost: h\r\nExpect: 100-continue\r\n{lines}\r\n").as_bytes())
            .expect_continue
    };
    assert!(expects("1.1", "Content-Length: 5\r\n"));
    assert!(expects("1.1", "Transfer-Encoding: chunked\r\n"));
    assert!(!expects("1.1", ""));
    assert!(!expects("1.0", "Content-Length: 5\r\n"));
}

#[test]
fn f25_an_upgrade_needs_connection_and_is_never_h2c() {
    let upgrade = |version: &str, lines: &str| {
        let head = head(format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n").as_bytes());
        head.upgrade().map(|value| String::from_utf8_lossy(value).into_owned())
    };
    assert_eq!(upgrade("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n").as_deref(), Some("websocket"));
    assert_eq!(upgrade("1.1", "Upgrade: foo\r\nConnection: keep-alive, upgrade\r\n").as_deref(), Some("foo"));
    assert_eq!(upgrade("1.1", "Upgrade: websocket\r\n"), None);
    assert_eq!(upgrade("1.1", "Connection: upgrade\r\n"), None);
    assert_eq!(upgrade("1.1", "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"), None);
    assert_eq!(upgrade("1.1", "Connection: upgrade\r\nUpgrade: websocket, H2C\r\n"), None);
    assert_eq!(upgrade("1.1", "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n"), None);
    assert_eq!(upgrade("1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n"), None);
}

#[test]
fn f25_bytes_behind_an_upgrade_stay_http() {
    let mut buffer = BytesMut::new();
    let bytes = [b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n", GOOD].concat();
    let mut parser = HeadParser::new();
    assert!(feed(&mut parser, &mut buffer, [bytes.as_slice()]).unwrap().unwrap().upgrade().is_some());
    assert_eq!(buffer, GOOD);
}

#[test]
fn f26_what_is_too_large_is_refused_before_it_ends() {
    let line = usize::try_from(SAMPLE.request_line_bytes).unwrap();
    let field = usize::try_from(SAMPLE.field_bytes).unwrap();
    let start = "GET / HTTP/1.1\r\nHost: h\r\n";
    assert_eq!(refusal(format!("GET /{}", "x".repeat(line)).as_bytes()), Some(Reason::TargetTooLong));
    assert_eq!(refusal(format!("{start}A: {}", "x".repeat(field)).as_bytes()), Some(Reason::HeaderTooLarge));
    assert_eq!(refusal("M".repeat(64 * 1024).as_bytes()), Some(Reason::MethodTooLong));
    assert_eq!(refusal(format!("{start}{}", "A: b\r\n".repeat(1500)).as_bytes()), Some(Reason::TooManyHeaders));
    let large = format!("A: {}\r\n", "x".repeat(1000)).repeat(20);
    assert_eq!(refusal(format!("{start}{large}").as_bytes()), Some(Reason::HeaderTooLarge));
}

#[test]
fn f26_bounds_are_met_to_the_byte_at_any_split() {
    let line = usize::try_from(SAMPLE.request_line_bytes).unwrap();
    let target = line - "GET / HTTP/1.1".len();
    for (over, reason) in [(0, None), (1, Some(Reason::TargetTooLong))] {
        let bytes = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(target + over));
        assert_eq!(verdict([bytes.as_bytes()]).unwrap().err(), reason);
        assert_eq!(verdict(bytes.as_bytes().chunks(1)).unwrap().err(), reason);
    }
    let field = usize::try_from(SAMPLE.field_bytes).unwrap();
    for (over, reason) in [(0, None), (1, Some(Reason::HeaderTooLarge))] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: h\r\nA:{}\r\n\r\n", "x".repeat(field - 2 + over));
        assert_eq!(verdict([bytes.as_bytes()]).unwrap().err(), reason);
        assert_eq!(verdict(bytes.as_bytes().chunks(1)).unwrap().err(), reason);
    }
}

#[test]
fn the_largest_head_keeps_its_offsets() {
    let limits = Limits { header_bytes: HEAD_BYTES_CEILING, field_bytes: HEAD_BYTES_CEILING, ..SAMPLE };
    let start = "GET / HTTP/1.1\r\nHost: h\r\nA: ";
    let value = "x".repeat(HEAD_BYTES_CEILING as usize - start.len() - "\r\n\r\n".len() - 1) + "y";
    let mut buffer = BytesMut::from(format!("{start}{value}\r\n\r\n").as_str());
    assert_eq!(buffer.len(), HEAD_BYTES_CEILING as usize);
    let Ok(Parsed::Complete(head)) = HeadParser::new().advance(&mut buffer, &limits) else { panic!("not whole") };
    assert_eq!(head.fields.get("a"), Some(value.as_bytes()));
}

#[test]
fn f27_pipelined_requests_come_out_in_order() {
    let requests: Vec<_> = (0..10_000).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    let mut buffer = BytesMut::from(requests.concat().as_str());
    let mut parser = HeadParser::new();
    for n in 0..10_000 {
        let Ok(Parsed::Complete(head)) = parser.advance(&mut buffer, &SAMPLE) else { panic!("request {n}") };
        assert_eq!(head.target(), Target::Origin(format!("/{n}").as_bytes()));
    }
    assert!(buffer.is_empty());
    assert!(parser.is_idle());
}

#[test]
fn every_byte_is_judged_wherever_it_stands_in_a_value() {
    for length in 1..=24 {
        for (at, byte) in (0..length).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
            let mut value = vec![b'a'; length];
            value[at] = byte;
            assert_eq!(is_field_value(&value), is_value_byte(byte), "{byte:#x} at {at} of {length}");
        }
    }
}

#[test]
fn a_parser_is_idle_until_the_first_byte() {
    let mut parser = HeadParser::new();
    let mut buffer = BytesMut::new();
    assert!(parser.is_idle());
    assert!(feed(&mut parser, &mut buffer, [b"\r\n".as_slice()]).is_none());
    assert!(parser.is_idle());
    assert!(feed(&mut parser, &mut buffer, [b"G".as_slice()]).is_none());
    assert!(!parser.is_idle());
    assert!(feed(&mut parser, &mut buffer, [b"ET / HTTP/1.1\r\n".as_slice()]).is_none());
    assert!(!parser.is_idle());
}
