#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::h3::{Event, FieldSection, Frames};
use crate::limits::tests::SAMPLE;

/// A section with literal names, as any client may write it.
fn section(lines: &[(&str, &str)]) -> Bytes {
    let mut section = FieldSection::trailers();
    for (name, value) in lines {
        section.field(name, value.as_bytes());
    }
    match Frames::new(u32::MAX).next(&mut section.finish().freeze()) {
        Ok(Event::Head(section)) => section,
        other => panic!("{other:?}"),
    }
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/x?y")];

fn read(lines: &[(&str, &str)]) -> Result<RequestHead, Malformed> {
    read_head(section(lines), &SAMPLE)
}

fn get_with(more: &[(&str, &str)]) -> Result<RequestHead, Malformed> {
    read(&[&GET, more].concat())
}

#[test]
fn a_head_is_read() {
    let head = get_with(&[("accept", "a"), ("accept", "b"), ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")])
        .unwrap();
    assert_eq!((head.method, &head.authority[..], &head.target[..]), (Method::GET, &b"a.example"[..], &b"/x?y"[..]));
    assert_eq!(head.fields.get_all("accept").iter().count(), 2);
    assert_eq!(head.fields["cookie"], "a=1; b=2");
    assert_eq!(head.length, None);
    let lines =
        [(":method", "POST"), (":scheme", "https"), (":path", "/"), ("host", "b.example"), ("content-length", " 5 ")];
    let head = read(&lines).unwrap();
    assert_eq!((&head.authority[..], head.length), (&b"b.example"[..], Some(5)));
}

#[test]
fn fields_of_a_connection_are_malformed() {
    for line in [
        ("connection", "x"),
        ("keep-alive", "x"),
        ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
    ] {
        assert_eq!(get_with(&[line]).unwrap_err(), Malformed::Message(Reason::ConnectionField), "{line:?}");
    }
}

#[test]
fn pseudo_header_fields_come_once_first_and_whole() {
    let late = [&GET[..3], &[("accept", "x"), (":path", "/")]].concat();
    let twice = get_with(&[(":path", "/z")]).unwrap_err();
    let missing = read(&GET[..3]).unwrap_err();
    let unknown = get_with(&[(":odd", "x")]).unwrap_err();
    let of_answers = get_with(&[(":status", "200")]).unwrap_err();
    let protocol = get_with(&[(":protocol", "websocket")]).unwrap_err();
    for error in [read(&late).unwrap_err(), twice, missing, unknown, of_answers, protocol] {
        assert_eq!(error, Malformed::Message(Reason::PseudoHeader));
    }
    let trailers = read_trailers(section(&[(":path", "/")]), &SAMPLE).unwrap_err();
    assert_eq!(trailers, Malformed::Message(Reason::PseudoHeader));
}

#[test]
fn lengths_are_one_number() {
    for (value, reason) in [
        ("", Reason::BadLength),
        ("+1", Reason::BadLength),
        ("1, 1", Reason::BadLength),
        ("99999999999999999999", Reason::BadLength),
    ] {
        assert_eq!(get_with(&[("content-length", value)]).unwrap_err(), Malformed::Message(reason), "{value}");
    }
    let twice = get_with(&[("content-length", "1"), ("content-length", "1")]);
    assert_eq!(twice.unwrap_err(), Malformed::Message(Reason::DuplicateLength));
}

#[test]
fn names_values_and_targets_have_only_what_they_may() {
    let reason = |lines: &[(&str, &str)]| match get_with(lines) {
        Err(Malformed::Message(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&[("Accept", "x")]), Reason::BadHeaderName);
    assert_eq!(reason(&[("", "x")]), Reason::BadHeaderName);
    assert_eq!(reason(&[("a", "x\r\nb: c")]), Reason::Control);
    assert_eq!(reason(&[("a", "x\0")]), Reason::Control);
    assert_eq!(reason(&[("host", "other.example")]), Reason::HostDuplicate);
    assert_eq!(reason(&[("content_length", "1")]), Reason::FramingAlias);
    for path in ["", "x", "*", "/ x", "/\r\n", "http://a/"] {
        let lines = [GET[0], GET[1], GET[2], (":path", path)];
        assert!(read(&lines).is_err(), "{path:?}");
    }
    for authority in ["", "u@a", "a b", "a:0"] {
        let lines = [GET[0], GET[1], (":authority", authority), GET[3]];
        assert_eq!(read(&lines).unwrap_err(), Malformed::Message(Reason::HostBad), "{authority:?}");
    }
    assert!(read(&[GET[0], (":scheme", "http"), GET[2], GET[3]]).is_err());
    assert!(read(&[(":method", "OPTIONS"), GET[1], GET[2], (":path", "*")]).is_ok());
}

#[test]
fn heads_are_bounded_in_lines_and_bytes() {
    let many = vec![("a", "x"); SAMPLE.header_count as usize];
    assert_eq!(get_with(&many).unwrap_err(), Malformed::Message(Reason::TooManyHeaders));
    let long = "x".repeat(SAMPLE.h2_header_list_bytes as usize);
    assert_eq!(get_with(&[("a", &long)]).unwrap_err(), Malformed::Message(Reason::HeaderTooLarge));
}

proptest! {
    #[test]
    fn no_section_upsets_it(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let wire = [&[0, 0], &bytes[..]].concat();
        drop(read_head(wire.clone().into(), &SAMPLE));
        drop(read_trailers(wire.into(), &SAMPLE));
    }
}
