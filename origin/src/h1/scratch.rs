//! Buffers that a thread lends to the connections it works on.
//!
//! A connection holds a read buffer only while bytes of an unfinished message are in it; so ten thousand idle
//! connections hold none, and one exchange after another reads into the same warm memory. What is handed out are
//! slices of a block; a block is used again when all its slices are gone.

use std::cell::Cell;

use bytes::BytesMut;

/// Bytes of a block that many small messages share.
pub(super) const BLOCK_BYTES: usize = 64 * 1024;
/// Room that a read is given at least.
pub(super) const READ_BYTES_MIN: usize = 8 * 1024;
/// Room that a read of a long body is given.
pub(super) const READ_BYTES_BIG: usize = 256 * 1024;
/// A head buffer larger than this is not kept.
const HEAD_BYTES_KEPT: usize = 16 * 1024;

thread_local! {
    static BLOCK: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static HEAD: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
}

/// Makes room for a read of `wanted` bytes at the end of `input`, or of a good part of them.
pub(super) fn make_room(input: &mut BytesMut, wanted: usize) {
    let enough = READ_BYTES_MIN.max(wanted / 8);
    if input.is_empty() && input.capacity() < enough && wanted <= BLOCK_BYTES {
        *input = BLOCK.take().unwrap_or_default();
    }
    if input.capacity() - input.len() < enough {
        // Uses the block itself again if all its slices are gone.
        input.reserve(wanted);
    }
}

/// Gives the room back when nothing is in it. The large one of a long body stays where it is.
pub(super) fn give_room(input: &mut BytesMut) {
    if input.is_empty() && (READ_BYTES_MIN..=BLOCK_BYTES).contains(&input.capacity()) {
        BLOCK.set(Some(std::mem::take(input)));
    }
}

/// An empty buffer for the head of a request.
pub(super) fn take_head() -> Vec<u8> {
    HEAD.take().unwrap_or_else(|| Vec::with_capacity(2048))
}

pub(super) fn give_head(mut head: Vec<u8>) {
    if head.capacity() <= HEAD_BYTES_KEPT {
        head.clear();
        HEAD.set(Some(head));
    }
}
