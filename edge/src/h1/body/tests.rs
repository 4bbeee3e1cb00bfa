//! Request bodies by hand, each also cut at every byte.
#![allow(clippy::unwrap_used)]

use super::*;

const BYTES_MAX: u64 = 1000;

/// What a body and the bytes behind it came to: data, trailers, rest of the buffer; or the reason it was refused.
type Outcome = Result<(Vec<u8>, HeaderMap, Vec<u8>), Reason>;

/// Feeds the input in two reads.
fn read(framing: BodyFraming, input: &[u8], cut: usize) -> Outcome {
    let mut decoder = BodyDecoder::new(framing, BYTES_MAX);
    let mut reads = [&input[..cut], &input[cut..]].into_iter();
    let (mut buffer, mut data, mut trailers) = (BytesMut::new(), Vec::new(), HeaderMap::new());
    loop {
        match decoder.next(&mut buffer).map_err(|refusal| refusal.reason)? {
            Piece::Data(piece) => data.extend_from_slice(&piece),
            Piece::Trailers(fields) => trailers = fields,
            Piece::End => break,
            Piece::NeedMore => buffer.extend_from_slice(reads.next().expect("the body ends within the input")),
        }
    }
    assert!(decoder.is_done());
    let rest = [buffer.to_vec(), reads.flatten().copied().collect()].concat();
    Ok((data, trailers, rest))
}

fn read_at_every_cut(framing: BodyFraming, input: &[u8]) -> Outcome {
    let whole = read(framing, input, input.len());
    for cut in 0..input.len() {
        assert_eq!(read(framing, input, cut), whole, "cut at {cut}");
    }
    whole
}

#[test]
fn a_body_of_known_length_ends_where_it_says() {
    let (data, _, rest) = read_at_every_cut(BodyFraming::Length(5), b"helloGET /").unwrap();
    assert_eq!((data.as_slice(), rest.as_slice()), (b"hello".as_slice(), b"GET /".as_slice()));
}

#[test]
fn an_empty_body_takes_nothing() {
    for framing in [BodyFraming::Empty, BodyFraming::Length(0)] {
        let (data, _, rest) = read_at_every_cut(framing, b"GET /").unwrap();
        assert_eq!((data.as_slice(), rest.as_slice()), (b"".as_slice(), b"GET /".as_slice()));
    }
}

#[test]
fn chunks_are_joined_and_extensions_dropped() {
    let input = b"5\r\nhello\r\n6;a=b;c=\"d\"\r\n world\r\n0\r\n\r\nGET /";
    let (data, trailers, rest) = read_at_every_cut(BodyFraming::Chunked, input).unwrap();
    assert_eq!((data.as_slice(), rest.as_slice()), (b"hello world".as_slice(), b"GET /".as_slice()));
    assert!(trailers.is_empty());
}

#[test]
fn trailers_pass_if_they_cannot_act_on_the_message() {
    let input =
        b"1\r\na\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\nHost: evil\r\nAuthorization: a\r\nX-Forwarded-For: b\r\n\
        Transfer-Encoding: chunked\r\nFoo: bar\r\n\r\n";
    let (_, trailers, rest) = read_at_every_cut(BodyFraming::Chunked, input).unwrap();
    assert_eq!(trailers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
    assert!(rest.is_empty());
}

/// F11 to F13: row, chunked body.
const BAD_CHUNKS: [(&str, &[u8]); 24] = [
    ("F11 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("F11 plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("F11 minus zero", b"-0\r\n\r\n"),
    ("F11 underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    ("F11 leading space", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("F11 trailing space", b"5 \r\nhello\r\n0\r\n\r\n"),
    ("F11 empty", b"\r\nhello\r\n0\r\n\r\n"),
    ("F11 17 digits", b"00000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("F11 2^64+5", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("F12 extension ended by LF", b"5;a\nhello\r\n0\r\n\r\n"),
    ("F12 size ended by LF", b"5\nhello\r\n0\r\n\r\n"),
    ("F12 bare CR", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("F12 CR CR", b"5;a\r\r\nhello\r\n0\r\n\r\n"),
    ("F12 NUL", b"5;a\0\r\nhello\r\n0\r\n\r\n"),
    ("F12 no name", b"5;\r\nhello\r\n0\r\n\r\n"),
    ("F13 data ended by LF", b"5\r\nhello\n0\r\n\r\n"),
    ("F13 data ended by two others", b"5\r\nhelloXX0\r\n\r\n"),
    ("F13 longer than declared", b"5\r\nhelloo\r\n0\r\n\r\n"),
    ("F13 without CRLF", b"5\r\nhello0\r\n\r\n"),
    ("F13 extra CRLF before the last chunk", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    ("F15 trailer ended by LF", b"0\r\nX-A: b\n\r\n"),
    ("F15 folded trailer", b"0\r\nX-A: b\r\n c\r\n\r\n"),
    ("F15 space before colon", b"0\r\nX-A : b\r\n\r\n"),
    ("F15 NUL in trailer", b"0\r\nX-A: b\0\r\n\r\n"),
];

#[test]
fn malformed_chunks_are_refused_however_they_are_cut() {
    for (row, input) in BAD_CHUNKS {
        assert_eq!(read_at_every_cut(BodyFraming::Chunked, input), Err(Reason::BadChunk), "{row}");
    }
}

#[test]
fn f12_extensions_are_bounded() {
    let input = [b"5;a=".as_slice(), &b"x".repeat(64 * 1024), b"\r\nhello\r\n0\r\n\r\n"].concat();
    assert_eq!(read(BodyFraming::Chunked, &input, 0), Err(Reason::ChunkOverhead));
}

#[test]
fn z2_chunks_of_one_byte_run_out_of_budget() {
    let input = b"1\r\na\r\n".repeat(1_000_000);
    let mut decoder = BodyDecoder::new(BodyFraming::Chunked, u64::MAX);
    let mut buffer = BytesMut::from(input.as_slice());
    let refusal = loop {
        match decoder.next(&mut buffer) {
            Ok(Piece::Data(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal.reason, Reason::ChunkOverhead);
}

#[test]
fn a_chunked_body_above_the_bound_is_refused_with_413() {
    let input = [b"400\r\n".as_slice(), &[b'x'; 1024], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(read(BodyFraming::Chunked, &input, 0), Err(Reason::BodyTooLarge));
    assert_eq!(Refusal::from(Reason::BodyTooLarge).status, 413);
}
