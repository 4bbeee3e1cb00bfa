#![allow(clippy::unwrap_used)]

use super::*;

const HEAD_BYTES_MAX: usize = 64 * 1024;

fn read(text: &[u8], method: &Method) -> Result<Head, Fault> {
    let length = Scan::new(HEAD_BYTES_MAX).find(text)?.expect("a whole head");
    assert_eq!(length, text.len());
    parse(text, method)
}

fn get(text: &str) -> Head {
    read(text.as_bytes(), &Method::GET).unwrap()
}

#[test]
fn the_end_is_found_however_the_head_is_cut() {
    let text = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest";
    for cut in 0..text.len() - 4 {
        let mut scan = Scan::new(HEAD_BYTES_MAX);
        assert_eq!(scan.find(&text[..cut]), Ok(None), "{cut}");
        assert_eq!(scan.find(text), Ok(Some(text.len() - 4)));
    }
}

#[test]
fn a_body_is_framed_by_the_rules_of_rfc_9112() {
    use BodyFraming::{Chunked, Close, Length};
    for (fields, framing, length, persistent) in [
        ("Content-Length: 5\r\n", Length(5), Some(5), true),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Length(5), Some(5), true),
        ("Transfer-Encoding: chunked\r\n", Chunked, None, true),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Chunked, None, false),
        ("", Close, None, false),
        ("Content-Length: 5\r\nConnection: close\r\n", Length(5), Some(5), false),
        ("Content-Length: 5\r\nConnection: x, CLOSE\r\n", Length(5), Some(5), false),
        ("Content-Length: 5\r\nConnection: keep-alive\r\n", Length(5), Some(5), true),
    ] {
        let head = get(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        assert_eq!((head.framing, head.length, head.persistent), (framing, length, persistent), "{fields:?}");
        assert!(head.headers.is_empty(), "{:?}", head.headers);
    }
}

#[test]
fn a_head_without_a_body_ends_with_itself() {
    let head = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", &Method::HEAD).unwrap();
    assert_eq!((head.framing, head.length, head.persistent), (BodyFraming::Length(0), Some(5), true));
    let head = get("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
    assert_eq!((head.framing, head.length), (BodyFraming::Length(0), Some(5)));
    let head = get("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
    assert_eq!((head.framing, head.length), (BodyFraming::Length(0), None));
    let head = get("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!((head.framing, head.persistent), (BodyFraming::Length(0), true));
}

#[test]
fn http_1_0_closes_unless_it_says_otherwise() {
    assert!(!get("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").persistent);
    assert!(get("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\n").persistent);
}

#[test]
fn heads_that_two_parsers_could_read_differently_are_malformed() {
    for bad in [
        "HTTP/1.1 200 OK\nA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n\n",
        "HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\x07\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA(B): c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "<html>an answer of HTTP/0.9</html>\r\n\r\n",
        "\x16\x03\x01\x02\x00\r\n\r\n",
    ] {
        let verdict = read(bad.as_bytes(), &Method::GET);
        assert!(matches!(verdict, Err(Fault::Malformed(_))), "{bad:?} gave {verdict:?}");
    }
}

#[test]
fn a_head_has_bounds_before_it_is_whole() {
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(HEAD_BYTES_MAX));
    assert_eq!(Scan::new(HEAD_BYTES_MAX).find(endless.as_bytes()), Err(Fault::TooLarge(Excess::Head)));
    let many = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(HEAD_FIELDS_MAX + 2));
    assert_eq!(Scan::new(HEAD_BYTES_MAX).find(many.as_bytes()), Err(Fault::TooLarge(Excess::Head)));
    let full = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(HEAD_FIELDS_MAX));
    assert_eq!(get(&full).headers.len(), HEAD_FIELDS_MAX);
}

#[test]
fn fields_of_the_connection_stay_on_it_and_critical_ones_cannot_be_nominated_away() {
    let head =
        get("HTTP/1.1 200 OK\r\nConnection: close, X-Hop, Cache-Control, Set-Cookie, Vary\r\nX-Hop: 1\r\nX-End: 2\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nTE: trailers\r\n\
         Cache-Control: private\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nVary: *\r\nContent-Length: 0\r\n\r\n");
    let mut names: Vec<_> = head.headers.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-control", "set-cookie", "set-cookie", "vary", "x-end"]);
}

#[test]
fn a_connection_field_that_nominates_without_end_is_refused() {
    let text = format!("HTTP/1.1 200 OK\r\nConnection: {}\r\n\r\n", "x, ".repeat(HEAD_FIELDS_MAX + 1));
    assert_eq!(read(text.as_bytes(), &Method::GET).unwrap_err(), Fault::TooLarge(Excess::Head));
}

#[test]
fn a_status_line_may_lack_its_reason() {
    for line in ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1 200 All is well\t\u{e9}"] {
        assert_eq!(get(&format!("{line}\r\nContent-Length: 0\r\n\r\n")).status, StatusCode::OK);
    }
    let bad = read(b"HTTP/1.1 200 O\x01K\r\n\r\n", &Method::GET);
    assert_eq!(bad.unwrap_err(), Fault::Malformed("status line"));
}

proptest::proptest! {
    /// Another reader agrees on every head that this one takes, field by field.
    #[test]
    fn httparse_reads_the_same(
        lines in proptest::collection::vec(("[!-~ \t]{0,20}", "[ -~\t\r\u{80}-\u{ff}]{0,24}"), 0..8),
        start in "HTTP/1[.][01] [0-9]{2,4} ?[ -~]{0,8}",
    ) {
        let mut text = start.into_bytes();
        for (name, value) in &lines {
            text.extend_from_slice(format!("\r\n{name}:{value}").as_bytes());
        }
        text.extend_from_slice(b"\r\n\r\n");
        let (Ok(Some(length)), Ok(head)) = (Scan::new(HEAD_BYTES_MAX).find(&text), parse(&text, &Method::HEAD)) else {
            return Ok(());
        };
        proptest::prop_assert_eq!(length, text.len());
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut other = httparse::Response::new(&mut headers);
        proptest::prop_assert_eq!(other.parse(&text), Ok(httparse::Status::Complete(text.len())));
        proptest::prop_assert_eq!(other.code, Some(head.status.as_u16()));
        let theirs: Vec<_> = other.headers.iter().map(|h| (h.name.to_ascii_lowercase().into_bytes(), h.value.to_vec()))
            .filter(|(name, _)| !is_hop_by_hop(name) && name != b"content-length").collect();
        let ours: Vec<_> = head.headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        proptest::prop_assert_eq!(ours, theirs);
    }
}
