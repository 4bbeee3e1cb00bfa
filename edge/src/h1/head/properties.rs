//! Whatever arrives: no panic, one verdict however it is split, and what is let in reads the same to any parser.
//!
//! Two independent readers judge accepted heads: httparse, and the few lines of [`reread`], which know nothing of the
//! parser under test. If they saw other lines or another framing than we did, a request could be smuggled.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::limits::tests::SAMPLE;

/// Pieces that good and bad heads are made of.
const PIECES: &[&str] = &[
    "GET ",
    "POST ",
    "OPTIONS ",
    "CONNECT ",
    "get ",
    "/",
    "/a?b=c",
    "*",
    "http://h/",
    "//",
    "#",
    "\\",
    " ",
    " HTTP/1.1",
    " HTTP/1.0",
    " HTTP/1.2",
    " HTTP/2.0",
    "\r\n",
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\t",
    ":",
    ": ",
    " :",
    ",",
    ";",
    "Host: h\r\n",
    "Host: h",
    "Content-Length: 5\r\n",
    "Content-Length",
    "content-length:",
    "5",
    "0",
    "Transfer-Encoding",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding:",
    "chunked",
    "Transfer_Encoding: chunked\r\n",
    "gzip, ",
    "Connection: close\r\n",
    "Connection: upgrade",
    "Upgrade: x\r\n",
    "Expect: 100-continue\r\n",
    "A: b\r\n",
    "A",
    "b",
    "\r\n ",
    "\x0b",
    "\x7f",
    "\u{85}",
    "\u{a0}",
    "x-y_z",
    "@",
    "[::1]",
    "(",
    "\r\n\r\n",
];

fn soup() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![8 => prop::sample::select(PIECES).prop_map(|p| p.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..4)],
        0..24,
    )
    .prop_map(|pieces| pieces.concat())
}

/// A good request line and Host, then lines that are mostly good.
fn nearly_good() -> impl Strategy<Value = Vec<u8>> {
    const FRAMING: &[&str] = &[
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content_Length: 5\r\n",
        "Connection: Content-Length\r\n",
    ];
    let line = prop_oneof![
        2 => prop::sample::select(FRAMING).prop_map(str::to_owned),
        6 => ("[A-Za-z][A-Za-z0-9_-]{0,12}", "[ \t]?", "[ -~\t]{0,30}").prop_map(|(n, s, v)| format!("{n}:{s}{v}\r\n")),
        1 => prop::sample::select(PIECES).prop_map(|piece| format!("{piece}\r\n")),
        2 => prop::sample::select(PIECES).prop_map(str::to_owned),
    ];
    ("(GET|POST|PUT|X)", "/[!-~]{0,12}", "1\\.[0-2]", vec(line, 0..8)).prop_map(|(method, target, version, lines)| {
        format!("{method} {target} HTTP/{version}\r\nHost: h\r\n{}\r\n", lines.concat()).into_bytes()
    })
}

/// A nearly good head with one byte changed, added or taken away.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\r\n\0 \t:,_\x0b\x85".as_slice())];
    (nearly_good(), any::<prop::sample::Index>(), byte, 0..3_u8).prop_map(|(mut head, at, byte, how)| {
        let at = at.index(head.len());
        match how {
            0 => head[at] = byte,
            1 => head.insert(at, byte),
            _ => drop(head.remove(at)),
        }
        head
    })
}

fn any_input() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![soup(), nearly_good(), mutated(), vec(any::<u8>(), 0..64)]
}

/// What came of an input: the bytes of the head, or why it was refused; `None` if more is needed.
fn outcome<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Result<(usize, RequestHead), Reason>> {
    let (mut parser, mut buffer) = (HeadParser::new(), BytesMut::new());
    let mut fed = 0;
    for piece in pieces {
        fed += piece.len();
        buffer.extend_from_slice(piece);
        match parser.advance(&mut buffer, &SAMPLE) {
            Ok(Parsed::Partial) => {}
            Ok(Parsed::Complete(head)) => return Some(Ok((fed - buffer.len(), head))),
            Err(refusal) => return Some(Err(refusal.reason)),
        }
    }
    None
}

fn comparable(outcome: Option<Result<(usize, RequestHead), Reason>>) -> Option<Result<usize, Reason>> {
    outcome.map(|result| result.map(|(end, _)| end))
}

/// A head read in the plainest way there is: lines by CRLF, name and value by the first colon.
fn reread(head: &[u8]) -> (String, Vec<(String, Vec<u8>)>) {
    let text: String = head.iter().map(|&byte| char::from(byte)).collect();
    let text = text.trim_start_matches("\r\n").strip_suffix("\r\n\r\n").unwrap();
    assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']), "control bytes were let in");
    let mut lines = text.split("\r\n");
    let request_line = lines.next().unwrap().to_owned();
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_owned(), value.trim_matches([' ', '\t']).chars().map(|c| c as u8).collect())
    });
    (request_line, fields.collect())
}

/// The framing that a plain reader sees, or `None` if it would see two.
fn reframe(fields: &[(String, Vec<u8>)]) -> Option<BodyFraming> {
    let named = |wanted: &'static str| {
        fields.iter().filter(move |(name, _)| name.replace('_', "-").eq_ignore_ascii_case(wanted))
    };
    let lengths: Vec<_> = named("content-length").collect();
    let encodings: Vec<_> = named("transfer-encoding").collect();
    match (lengths.as_slice(), encodings.as_slice()) {
        ([], []) => Some(BodyFraming::Empty),
        ([(_, value)], []) => match std::str::from_utf8(value).unwrap().parse().unwrap() {
            0 => Some(BodyFraming::Empty),
            length => Some(BodyFraming::Length(length)),
        },
        ([], [(_, value)]) if value.eq_ignore_ascii_case(b"chunked") => Some(BodyFraming::Chunked),
        _ => None,
    }
}

fn lines_of(head: &RequestHead) -> Vec<(String, Vec<u8>)> {
    head.fields.iter().map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.to_vec())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_verdict_does_not_depend_on_the_split(input in any_input(), cut in any::<prop::sample::Index>()) {
        let whole = comparable(outcome([input.as_slice()]));
        let (first, second) = input.split_at(cut.index(input.len() + 1));
        prop_assert_eq!(&comparable(outcome([first, second])), &whole);
        prop_assert_eq!(&comparable(outcome(input.chunks(1))), &whole);
    }

    /// A parser that remembers the fields of the head before judges the next one as a new parser does, whether the next
    /// repeats them, changes them, or comes under lower limits.
    #[test]
    fn what_came_before_changes_no_verdict(
        first in nearly_good(),
        line in prop_oneof![
            "(GET|PUT|[A-Z]{1,40}) (/[!-~]{0,12}|[*]|http://[a-z]{1,4}/) HTTP/[12][.][0-9]",
            "[ -~]{0,30}",
        ],
        other in any_input(),
        repeats in any::<bool>(),
        tight in any::<bool>(),
        behind in vec(any::<u8>(), 0..8),
    ) {
        let mut second = match first.iter().position(|&byte| byte == b'\n') {
            Some(end) if repeats => [line.as_bytes(), b"\r\n", &first[end + 1..]].concat(),
            _ => other,
        };
        second.extend_from_slice(&behind);
        let limits = if tight {
            Limits { header_count: 2, field_bytes: 24, header_bytes: 96, body_bytes_max: 4, ..SAMPLE }
        } else {
            SAMPLE
        };
        let judge = |parser: &mut HeadParser| {
            let mut buffer = BytesMut::from(second.as_slice());
            let verdict = parser.advance(&mut buffer, &limits).map_err(|refusal| refusal.reason);
            (format!("{verdict:?}"), buffer.to_vec())
        };
        let mut experienced = HeadParser::new();
        let Ok(Parsed::Complete(_)) = experienced.advance(&mut BytesMut::from(first.as_slice()), &SAMPLE) else {
            return Ok(());
        };
        prop_assert_eq!(judge(&mut experienced), judge(&mut HeadParser::new()));
    }

    #[test]
    fn what_is_let_in_reads_the_same_to_a_plain_reader(input in any_input()) {
        let Some(Ok((end, head))) = outcome([input.as_slice()]) else { return Ok(()) };
        let (request_line, fields) = reread(&input[..end]);
        prop_assert_eq!(request_line.split(' ').count(), 3);
        prop_assert_eq!(request_line.split(' ').next(), Some(head.method.as_str()));
        prop_assert_eq!(&fields, &lines_of(&head));
        prop_assert_eq!(reframe(&fields), Some(head.framing));
    }

    #[test]
    fn what_is_let_in_reads_the_same_to_httparse(input in any_input()) {
        let Some(Ok((end, head))) = outcome([input.as_slice()]) else { return Ok(()) };
        let mut bytes = input[..end].to_vec();
        if head.version == Version::Http11 {
            let start = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap();
            let line_end = start + memchr(b'\r', &bytes[start..]).unwrap();
            bytes[line_end - 1] = b'1'; // httparse knows no later minor version
        }
        let mut lines = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut lines);
        prop_assert_eq!(request.parse(&bytes), Ok(httparse::Status::Complete(end)));
        prop_assert_eq!(request.method, Some(head.method.as_str()));
        let seen: Vec<_> = request.headers.iter().map(|line| (line.name.to_owned(), line.value.to_vec())).collect();
        prop_assert_eq!(seen, lines_of(&head));
    }

    #[test]
    fn a_head_written_again_is_read_the_same(input in any_input()) {
        let Some(Ok((_, head))) = outcome([input.as_slice()]) else { return Ok(()) };
        let target = match head.target() {
            Target::Absolute { .. } => return Ok(()),
            other => String::from_utf8(other.path_and_query().into_owned()).unwrap(),
        };
        let version = if head.version == Version::Http10 { "1.0" } else { "1.1" };
        let mut written = format!("{} {target} HTTP/{version}\r\n", head.method).into_bytes();
        for (name, value) in head.fields.iter() {
            crate::h1::encode::field(&mut written, name, value);
        }
        crate::h1::encode::end(&mut written);
        let (end, again) = outcome([written.as_slice()]).unwrap().unwrap();
        prop_assert_eq!(end, written.len());
        prop_assert_eq!(lines_of(&again), lines_of(&head));
        prop_assert_eq!(again.framing, head.framing);
        prop_assert_eq!(again.authority(), head.authority());
    }
}
