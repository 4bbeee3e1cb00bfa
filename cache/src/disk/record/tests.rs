//! Records of both versions.
#![allow(clippy::unwrap_used)]

use super::*;

const LAYOUT: Layout = Layout { version: VERSION, seed: 77 };

/// A record as version 1 wrote it.
pub(crate) fn first_version(kind: Kind, key_hash: u128, meta: &[u8], body: &[u8]) -> Vec<u8> {
    let magic: &[u8; 4] = if kind == Kind::Response { b"HLR1" } else { b"HLT1" };
    let mut out = magic.to_vec();
    out.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(&key_hash.to_le_bytes());
    out.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(body).to_le_bytes());
    let summed = [&out[..], meta].concat();
    out.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&summed).to_le_bytes());
    out.extend_from_slice(meta);
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(ALIGN_BYTES), 0);
    out
}

fn written(body: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![1, 2, 3];
    let draft = Draft { kind: Kind::Response, key_hash: 5 << 100, variant: 9, meta: b"some meta" };
    draft.write(LAYOUT, body.iter().copied(), &mut out);
    out.split_off(3)
}

fn header(layout: Layout, bytes: &[u8]) -> Option<Header> {
    Header::read(layout, bytes.first_chunk()?)
}

/// Whether head and body are taken for what was written.
fn is_believed(layout: Layout, bytes: &[u8]) -> bool {
    let Some(header) = header(layout, bytes) else { return false };
    let Some(head) = header.open(bytes) else { return false };
    let body = &bytes[header.head_bytes()..][..header.body_bytes as usize];
    head.sums.hold_all(body)
}

#[test]
fn any_bit_that_flips_is_found() {
    let bytes = written(&[b"somebody"]);
    let padding = (bytes.len() - (HEADER_BYTES + 8 + 9 + 8)) * 8;
    assert!(is_believed(LAYOUT, &bytes));
    for bit in 0..bytes.len() * 8 - padding {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!is_believed(LAYOUT, &flipped), "bit {bit}");
    }
}

#[test]
fn what_was_written_is_read_back() {
    let body = vec![b'x'; PIECE_BYTES * 2 + 5];
    let bytes = written(&[&body[..PIECE_BYTES], &body[PIECE_BYTES..]]);
    let header = header(LAYOUT, &bytes).unwrap();
    assert_eq!(header.record_bytes(), bytes.len() as u64);
    assert_eq!((header.word, header.key_hash), (9, 5 << 100));
    let head = header.open(&bytes).unwrap();
    assert_eq!(head.meta, b"some meta");
    assert_eq!((head.sums.pieces(), head.sums.piece(2)), (3, (PIECE_BYTES as u64 * 2, 5)));
    assert!(head.sums.holds(2, b"xxxxx") && !head.sums.holds(2, b"xxxxy") && !head.sums.holds(3, b""));
    assert!(head.sums.hold_all(&body));
}

#[test]
fn another_seed_believes_nothing() {
    let bytes = written(&[b"some body"]);
    assert!(!is_believed(Layout { seed: 78, ..LAYOUT }, &bytes));
}

#[test]
fn the_first_version_is_read() {
    let bytes = first_version(Kind::Response, 7, b"meta", b"body");
    assert!(is_believed(Layout::FIRST, &bytes) && !is_believed(LAYOUT, &bytes));
    let header = header(Layout::FIRST, &bytes).unwrap();
    assert_eq!(header.record_bytes(), bytes.len() as u64);
    assert_eq!(header.open(&bytes).unwrap().sums.piece(0), (0, 4));
    for bit in 0..(HEADER_BYTES + 8) * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!is_believed(Layout::FIRST, &flipped), "bit {bit}");
    }
}

#[test]
fn an_empty_body_has_no_pieces() {
    let bytes = written(&[b""]);
    let head = header(LAYOUT, &bytes).unwrap();
    let sums = head.open(&bytes).unwrap().sums;
    assert_eq!(sums.pieces(), 0);
    assert!(sums.hold_all(b""));
    let first = first_version(Kind::Response, 7, b"meta", b"");
    let head = header(Layout::FIRST, &first).unwrap();
    assert!(head.open(&first).unwrap().sums.hold_all(b""));
}
