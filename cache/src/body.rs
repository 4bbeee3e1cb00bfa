//! The body of a stored response: chunks of one size, shared and never changed.
//!
//! Every chunk but the last holds exactly [`CHUNK_BYTES`], so a byte is found by division. Chunks own exact-size
//! memory, never a slice of a larger read buffer. Sending a body, whole or in part, clones references and copies nothing.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::head::ALLOCATION_BYTES;

/// Size of the chunks of a body, in bytes.
pub const CHUNK_BYTES: usize = 1 << 20;

/// A body: complete, or known by its length alone while its bytes are stored apart. Cloning shares the chunks.
#[derive(Debug, Clone, Default)]
pub struct Body {
    chunks: Chunks,
}

#[derive(Debug, Clone)]
enum Chunks {
    One(Bytes),
    Many(Arc<[Bytes]>),
    /// The bytes are in parts, which are objects of their own.
    Apart(u64),
}

impl Default for Chunks {
    fn default() -> Self {
        Chunks::One(Bytes::new())
    }
}

impl Body {
    /// Takes chunks as they are; all but the last must be [`CHUNK_BYTES`] long, the last neither empty nor longer.
    pub(crate) fn from_chunks(chunks: Vec<Bytes>) -> Body {
        let Some((last, full)) = chunks.split_last() else { return Body::default() };
        assert!(full.iter().all(|chunk| chunk.len() == CHUNK_BYTES), "chunks before the last are full");
        assert!((1..=CHUNK_BYTES).contains(&last.len()), "the last chunk is neither empty nor too long");
        match <[Bytes; 1]>::try_from(chunks) {
            Ok([only]) => Body { chunks: Chunks::One(only) },
            Err(chunks) => Body { chunks: Chunks::Many(chunks.into()) },
        }
    }

    /// A body of so many bytes that are stored apart ([`crate::partial`]).
    pub fn apart(length: u64) -> Body {
        Body { chunks: Chunks::Apart(length) }
    }

    /// Whether the bytes are stored apart: the length is known, and there are no chunks.
    pub fn is_apart(&self) -> bool {
        matches!(self.chunks, Chunks::Apart(_))
    }

    /// Copies `data` into chunks.
    pub fn copy_of(data: &[u8]) -> Body {
        Body::from_chunks(data.chunks(CHUNK_BYTES).map(Bytes::copy_from_slice).collect())
    }

    /// One piece of memory of its own, as it is; up to [`CHUNK_BYTES`].
    pub fn of(piece: Bytes) -> Body {
        if piece.is_empty() { Body::default() } else { Body::from_chunks(vec![piece]) }
    }

    /// Copies pieces, one behind the other, into chunks.
    pub fn gathered(pieces: &[Bytes]) -> Body {
        let mut left: usize = pieces.iter().map(Bytes::len).sum();
        let (mut chunks, mut chunk) = (Vec::new(), Vec::with_capacity(left.min(CHUNK_BYTES)));
        for piece in pieces {
            let mut piece = &piece[..];
            while !piece.is_empty() {
                let (taken, rest) = piece.split_at(piece.len().min(CHUNK_BYTES - chunk.len()));
                chunk.extend_from_slice(taken);
                piece = rest;
                left -= taken.len();
                if chunk.len() == CHUNK_BYTES || left == 0 {
                    let next = Vec::with_capacity(left.min(CHUNK_BYTES));
                    chunks.push(Bytes::from(std::mem::replace(&mut chunk, next)));
                }
            }
        }
        Body::from_chunks(chunks)
    }

    pub fn len(&self) -> u64 {
        if let Chunks::Apart(length) = self.chunks {
            return length;
        }
        match self.chunks() {
            [] => 0,
            [full @ .., last] => (full.len() * CHUNK_BYTES + last.len()) as u64,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The chunks, in order; an empty body may have one empty chunk, and one that stands apart has none.
    pub fn chunks(&self) -> &[Bytes] {
        match &self.chunks {
            Chunks::One(chunk) => std::slice::from_ref(chunk),
            Chunks::Many(chunks) => chunks,
            Chunks::Apart(_) => &[],
        }
    }

    /// Up to one chunk from `offset` on; empty only at or behind the end.
    pub fn at(&self, offset: u64) -> Bytes {
        let index = usize::try_from(offset / CHUNK_BYTES as u64).unwrap_or(usize::MAX);
        let inside = (offset % CHUNK_BYTES as u64) as usize;
        match self.chunks().get(index) {
            Some(chunk) if inside < chunk.len() => chunk.slice(inside..),
            _ => Bytes::new(),
        }
    }

    /// The bytes of `range` (clamped to the body), in pieces that share the stored memory.
    pub fn slice(&self, range: Range<u64>) -> impl Iterator<Item = Bytes> + '_ {
        let (mut at, end) = (range.start, range.end.min(self.len()));
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let mut piece = self.at(at);
            piece.truncate(usize::try_from(end - at).unwrap_or(usize::MAX));
            at += piece.len() as u64;
            Some(piece)
        })
    }

    /// Bytes held on the heap.
    pub fn weight(&self) -> usize {
        let table = match &self.chunks {
            Chunks::One(_) | Chunks::Apart(_) => 0,
            Chunks::Many(chunks) => size_of_val(&**chunks) + ALLOCATION_BYTES,
        };
        // A chunk that is shared grows a small counter beside it.
        let beside = (ALLOCATION_BYTES + size_of::<[usize; 3]>() + ALLOCATION_BYTES) * self.chunks().len();
        table + beside + self.chunks().iter().map(Bytes::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at / 3 % 251) as u8).collect()
    }

    fn joined(body: &Body, range: Range<u64>) -> Vec<u8> {
        body.slice(range).flat_map(|piece| piece.to_vec()).collect()
    }

    #[test]
    fn a_slice_is_the_same_bytes_as_the_range_of_the_whole() {
        for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 5] {
            let data = pattern(length);
            let body = Body::copy_of(&data);
            assert_eq!(body.len(), length as u64);
            let (chunk, length) = (CHUNK_BYTES as u64, length as u64);
            for (first, last) in [(0, length), (1, 2), (chunk - 1, chunk + 1), (chunk, 3 * chunk), (length, length + 9)]
            {
                let expected: Vec<u8> = data.iter().copied().take(last as usize).skip(first as usize).collect();
                assert_eq!(joined(&body, first..last), expected);
            }
        }
    }

    #[test]
    fn a_body_up_to_one_chunk_is_one_piece() {
        assert_eq!(Body::copy_of(&pattern(CHUNK_BYTES)).chunks().len(), 1);
        assert_eq!(Body::copy_of(&pattern(CHUNK_BYTES + 1)).chunks().len(), 2);
    }

    #[test]
    fn gathered_pieces_are_the_same_bytes_in_full_chunks() {
        let data = pattern(2 * CHUNK_BYTES + 5);
        for step in [1000, CHUNK_BYTES / 8, CHUNK_BYTES * 3] {
            let pieces: Vec<Bytes> = data.chunks(step).map(Bytes::copy_from_slice).collect();
            let body = Body::gathered(&pieces);
            assert_eq!(body.chunks().len(), 3);
            assert_eq!(joined(&body, 0..body.len()), data);
        }
        assert!(Body::gathered(&[]).is_empty() && Body::of(Bytes::new()).is_empty());
    }

    #[test]
    fn slices_share_the_memory_of_the_body() {
        let body = Body::copy_of(&pattern(100));
        let piece = body.slice(10..20).next().unwrap();
        assert!(body.chunks()[0].as_ptr_range().contains(&piece.as_ptr()));
    }
}
