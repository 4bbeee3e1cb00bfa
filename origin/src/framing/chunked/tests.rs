#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::framing::{CHUNK_END, ChunkSize, TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX, encode_last_chunk};

/// Data, trailers (`None` while unfinished) and unused bytes.
type Read = (Vec<u8>, Option<Option<HeaderMap>>, Vec<u8>);

/// Feeds the pieces.
fn run(pieces: &[&[u8]]) -> Result<Read, FramingError> {
    let mut decoder = ChunkedDecoder::new();
    let mut input = BytesMut::new();
    let mut data = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input)? {
                Step::More => break,
                Step::Data(bytes) => data.extend_from_slice(&bytes),
                Step::End(trailers) => {
                    pieces[i + 1..].iter().for_each(|later| input.extend_from_slice(later));
                    return Ok((data, Some(trailers), input.to_vec()));
                }
            }
        }
    }
    Ok((data, None, input.to_vec()))
}

#[test]
fn a_body_reads_the_same_however_it_is_cut() {
    let body = b"5;a=b ; c=\"x\\\"y;z\"\r\nhello\r\n1;x\r\n!\r\nA\r\n0123456789\r\n0;e\r\nX-Sum: 1\r\nY:2\r\n\r\nNEXT";
    let whole = run(&[body]).unwrap();
    assert_eq!(whole.0, b"hello!0123456789");
    assert_eq!(whole.2, b"NEXT");
    let trailers = whole.1.clone().unwrap().unwrap();
    assert_eq!((trailers.len(), trailers["x-sum"].as_bytes()), (2, &b"1"[..]));
    for cut in 0..=body.len() {
        assert_eq!(run(&[&body[..cut], &body[cut..]]).unwrap(), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(run(&bytes).unwrap(), whole);
}

#[test]
fn a_body_cut_short_is_never_complete() {
    let body = b"5\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for end in 0..body.len() {
        assert_eq!(run(&[&body[..end]]).unwrap().1, None, "ended at {end}");
    }
}

#[test]
fn every_other_spelling_of_a_chunk_is_refused_at_every_cut() {
    for bad in [
        &b"0x5\r\nhello\r\n0\r\n\r\n"[..],
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-0\r\n\r\n",
        b"0_5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5\t\r\nhello\r\n",
        b"\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello",
        b"5\r\r\nhello\r\n",
        b"00000000000000005\r\nhello\r\n",
        b"10000000000000005\r\nhello\r\n",
        b"G\r\n",
        b"5;\r\nhello\r\n",
        b"5;;a\r\nhello\r\n",
        b"5;a=\r\nhello\r\n",
        b"5;a\nhello\r\n",
        b"5;a\rb\r\nhello\r\n",
        b"5;a\r\r\nhello\r\n",
        b"5;a \r\nhello\r\n",
        b"5;\0\r\nhello\r\n",
        b"5;a=\"\n\"\r\nhello\r\n",
        b"5;a=\"\r\"\r\nhello\r\n",
        b"5;a=\"x\"y\r\nhello\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\r\n\r\n0\r\n\r\n",
        b"0\r\nA: b\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\n A: b\r\n\r\n",
        b"0\r\nA: b\r\n c\r\n\r\n",
        b"0\r\nA: b\0\r\n\r\n",
        b"0\r\nA: b\rc\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n\n",
    ] {
        for cut in 0..=bad.len() {
            let result = run(&[&bad[..cut], &bad[cut..]]);
            assert!(result.is_err(), "{:?} cut at {cut}", bad.escape_ascii().to_string());
        }
    }
}

#[test]
fn sizes_of_2_to_the_64_minus_1_are_data_and_nothing_overflows() {
    let (data, end, _) = run(&[b"ffffffffffffffff\r\nabc"]).unwrap();
    assert_eq!((data.as_slice(), end), (&b"abc"[..], None));
}

#[test]
fn fields_that_frame_or_authenticate_are_dropped_from_trailers() {
    let (_, end, _) = run(&[
        b"0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: a\r\nAuthorization: b\r\nSet-Cookie: c\r\n\
          Connection: d\r\nKeep-Alive: e\r\nGrpc-Status: 0\r\n\r\n",
    ])
    .unwrap();
    let trailers = end.unwrap().unwrap();
    assert_eq!(trailers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status"]);
    assert_eq!(run(&[b"0\r\nHost: a\r\n\r\n"]).unwrap().1, Some(None));
}

#[test]
fn a_trailer_section_has_bounds() {
    let long = format!("0\r\nA: {}\r\n\r\n", "x".repeat(TRAILER_BYTES_MAX));
    assert_eq!(run(&[long.as_bytes()]), Err(FramingError::TooLarge(Excess::Trailers)));
    let endless = format!("0\r\nA: {}", "x".repeat(TRAILER_BYTES_MAX));
    assert_eq!(run(&[endless.as_bytes()]), Err(FramingError::TooLarge(Excess::Trailers)));
    let many = format!("0\r\n{}\r\n", "A: b\r\n".repeat(TRAILER_FIELDS_MAX + 1));
    assert_eq!(run(&[many.as_bytes()]), Err(FramingError::TooLarge(Excess::Trailers)));
}

#[test]
fn framing_may_not_cost_more_than_the_data_is_worth() {
    let ones = b"1\r\nx\r\n".repeat(1_000_000);
    assert_eq!(run(&[&ones]).unwrap_err(), FramingError::TooLarge(Excess::Framing));
    let tens = b"a\r\n0123456789\r\n".repeat(100_000);
    assert_eq!(run(&[&tens]).unwrap().0.len(), 1_000_000);
    let chatty = format!("1;{}\r\nx\r\n", "e".repeat(1024)).repeat(10_000);
    assert_eq!(run(&[chatty.as_bytes()]), Err(FramingError::TooLarge(Excess::Framing)));
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        rest in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend_from_slice(ChunkSize::new(chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(CHUNK_END);
        }
        encode_last_chunk(&HeaderMap::new(), &mut wire);
        wire.extend_from_slice(&rest);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        places.push(0);
        places.push(wire.len());
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
        let (data, end, unused) = run(&pieces).unwrap();
        prop_assert_eq!(data, chunks.concat());
        prop_assert_eq!(end, Some(None));
        prop_assert_eq!(unused, rest);
    }

    #[test]
    fn no_bytes_make_it_panic_and_cuts_never_change_the_verdict(
        noise in prop::collection::vec(prop::sample::select(b"0123aF;=\"\\ \t\r\n:x\0\xff".to_vec()), 0..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let cut = cut.index(noise.len() + 1);
        let whole = run(&[&noise]);
        let parts = run(&[&noise[..cut], &noise[cut..]]);
        prop_assert_eq!(whole.is_ok(), parts.is_ok());
        if let (Ok(whole), Ok(parts)) = (whole, parts) {
            prop_assert_eq!(whole, parts);
        }
    }
}
