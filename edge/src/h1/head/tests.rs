//! Heads by hand: what each rule of RFC 9112 lets in, and what it keeps out.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::limits::tests::SAMPLE;

fn parse(bytes: &[u8]) -> Result<Parsed, Refusal> {
    HeadParser::new().advance(&mut BytesMut::from(bytes), &SAMPLE)
}

fn head(bytes: &[u8]) -> RequestHead {
    match parse(bytes) {
        Ok(Parsed::Complete(head)) => head,
        other => panic!("{}: {other:?}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn a_request_is_taken_apart_and_the_rest_stays_in_the_buffer() {
    let mut buffer = BytesMut::from("POST /a?b HTTP/1.1\r\nHost: h:80\r\nX-Y:\t z \r\nContent-Length: 3\r\n\r\nabcGET");
    let Ok(Parsed::Complete(head)) = HeadParser::new().advance(&mut buffer, &SAMPLE) else { panic!("not complete") };
    assert_eq!(head.method, Method::POST);
    assert_eq!(head.target(), Target::Origin(b"/a?b"));
    assert_eq!(head.authority(), Some(b"h:80".as_slice()));
    assert_eq!(head.fields.get("x-y"), Some(b"z".as_slice()));
    assert_eq!(head.framing, BodyFraming::Length(3));
    assert!(head.keep_alive);
    assert_eq!(&buffer[..], b"abcGET");
    assert_eq!(head.fields.to_header_map()["x-y"], "z");
}

#[test]
fn the_target_wins_over_host() {
    let head = head(b"GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert_eq!(head.authority(), Some(b"a.example".as_slice()));
}
