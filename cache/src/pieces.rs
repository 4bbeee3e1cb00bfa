//! The bytes of a body while it arrives: found by offset, never changed once they are in.
//!
//! Arriving data is copied into memory of its own size, so that no large read buffer stays alive behind a small piece.
//! Full chunks are merged as soon as they are complete, and small pieces earlier, so that the number of pieces stays
//! small however the origin cuts its data. Readers hold slices; merging leaves those untouched.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::body::{Body, CHUNK_BYTES};

/// A shorter piece is small, in bytes.
const SMALL_PIECE_BYTES: usize = 4096;
/// So many small pieces in a row are merged into one.
const SMALL_PIECES_MAX: usize = 32;

struct Piece {
    start: u64,
    data: Bytes,
}

/// A body in the making.
#[derive(Default)]
pub(crate) struct Pieces {
    queue: VecDeque<Piece>,
    end: u64,
    /// Pieces behind the last full chunk, and their bytes.
    loose: usize,
    loose_bytes: usize,
    /// Small pieces at the end of those.
    small: usize,
}

impl Pieces {
    /// Offset behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn push(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let (piece, rest) = data.split_at(data.len().min(CHUNK_BYTES - self.loose_bytes));
            self.push_piece(Bytes::copy_from_slice(piece));
            data = rest;
        }
    }

    /// From `offset` to the end of the piece it is in; `None` at the end. `offset` must not have been dropped.
    pub(crate) fn at(&self, offset: u64) -> Option<Bytes> {
        if offset >= self.end {
            return None;
        }
        let after = self.queue.partition_point(|piece| piece.start <= offset);
        let piece = &self.queue[after.checked_sub(1).expect("a reader is never behind what was dropped")];
        Some(piece.data.slice((offset - piece.start) as usize..))
    }

    /// Drops pieces that end at or before `offset`; returns the bytes freed.
    pub(crate) fn drop_before(&mut self, offset: u64) -> u64 {
        let mut freed = 0;
        while let Some(piece) = self.queue.front()
            && piece.start + piece.data.len() as u64 <= offset
        {
            freed += piece.data.len() as u64;
            self.queue.pop_front();
        }
        if self.loose > self.queue.len() {
            (self.loose, self.small) = (self.queue.len(), self.small.min(self.queue.len()));
            self.loose_bytes = self.queue.iter().map(|piece| piece.data.len()).sum();
        }
        freed
    }

    /// The whole body, of which nothing may have been dropped. Afterwards the pieces share its memory.
    pub(crate) fn seal(&mut self) -> Body {
        self.merge(self.loose);
        let chunks: Vec<Bytes> = self.queue.iter().map(|piece| piece.data.clone()).collect();
        let body = Body::from_chunks(chunks);
        assert_eq!(body.len(), self.end, "a sealed body has every byte that arrived");
        body
    }

    fn push_piece(&mut self, data: Bytes) {
        let length = data.len();
        self.queue.push_back(Piece { start: self.end, data });
        self.end += length as u64;
        self.loose += 1;
        self.loose_bytes += length;
        self.small = if length < SMALL_PIECE_BYTES { self.small + 1 } else { 0 };
        if self.loose_bytes == CHUNK_BYTES {
            self.merge(self.loose);
            (self.loose, self.loose_bytes, self.small) = (0, 0, 0);
        } else if self.small == SMALL_PIECES_MAX {
            self.merge(SMALL_PIECES_MAX);
            let merged = self.queue.back().map_or(0, |piece| piece.data.len());
            self.small = usize::from(merged < SMALL_PIECE_BYTES);
        }
    }

    /// Makes one piece of the last `count`.
    fn merge(&mut self, count: usize) {
        if count < 2 {
            return;
        }
        let tail = self.queue.split_off(self.queue.len() - count);
        let start = tail[0].start;
        let mut data = Vec::with_capacity((self.end - start) as usize);
        for piece in &tail {
            data.extend_from_slice(&piece.data);
        }
        self.queue.push_back(Piece { start, data: data.into() });
        self.loose = self.loose - count + 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn pattern(from: u64, length: usize) -> Vec<u8> {
        (from..from + length as u64).map(|at| (at % 251) as u8).collect()
    }

    fn filled(lengths: &[usize]) -> Pieces {
        let mut pieces = Pieces::default();
        for &length in lengths {
            pieces.push(&pattern(pieces.end(), length));
        }
        pieces
    }

    #[test]
    fn a_small_body_is_sealed_without_another_copy() {
        let mut pieces = filled(&[1000]);
        let piece = pieces.at(0).unwrap();
        assert_eq!(pieces.seal().chunks()[0].as_ptr(), piece.as_ptr());
    }

    #[test]
    fn a_trickle_of_single_bytes_stays_a_few_pieces() {
        let pieces = filled(&vec![1; 100_000]);
        assert!(pieces.queue.len() < 64, "{} pieces", pieces.queue.len());
    }

    #[test]
    fn a_large_body_is_chunks() {
        let mut pieces = filled(&[64 * 1024; 40]);
        assert_eq!(pieces.seal().chunks().len(), 3);
        assert_eq!(pieces.queue.len(), 3);
    }

    proptest! {
        #[test]
        fn every_offset_yields_its_byte(lengths in proptest::collection::vec(1..9000usize, 1..80), percent in 0..100u64) {
            let mut pieces = filled(&lengths);
            let offset = pieces.end() * percent / 100;
            let data = pieces.at(offset).unwrap();
            prop_assert_eq!(&data[..], &pattern(offset, data.len())[..]);
            let body = pieces.seal();
            let joined: Vec<u8> = body.slice(0..u64::MAX).flat_map(|piece| piece.to_vec()).collect();
            prop_assert_eq!(joined, pattern(0, pieces.end() as usize));
        }

        #[test]
        fn what_is_not_dropped_stays_readable(lengths in proptest::collection::vec(1..9000usize, 1..80), percent in 0..100u64) {
            let mut pieces = Pieces::default();
            for length in lengths {
                pieces.push(&pattern(pieces.end(), length));
                let offset = pieces.end() * percent / 100;
                pieces.drop_before(offset);
                let data = pieces.at(offset).unwrap();
                prop_assert_eq!(&data[..], &pattern(offset, data.len())[..]);
                let held: u64 = pieces.queue.iter().map(|piece| piece.data.len() as u64).sum();
                prop_assert!(pieces.loose <= pieces.queue.len() && pieces.loose_bytes as u64 <= held);
            }
        }
    }
}
