//! One record of a segment: its head (a header of fixed size, checksums of the body, the response's head), then its body,
//! padded to [`ALIGN_BYTES`].
//!
//! ```text
//! magic u32 | meta length u32 | body length u64 | key hash u128 | variant u32 | number u32 | checksum u64
//! one u64 for every 128 KiB of body | meta | body | padding
//! ```
//!
//! The checksum is over all of the head before the body, so that a record is known to be whole without reading its body;
//! each piece of the body has its own, so that it can be sent as it is read. Checksums begin from the segment's seed,
//! which nobody outside knows: no body can pass for a record. All numbers are little-endian. A tombstone has no
//! body: what stands before it under keys with the low 64 bits of its hash is gone. `number` is kept for parts of large objects.
//!
//! Version 1 had one checksum for the whole body in the place of variant and number, and no seed. It is read, not written.

use smallvec::SmallVec;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// The version of everything in a segment that is written now, in its first bytes.
pub const VERSION: u8 = 2;
/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 48;
/// Records begin at multiples of this.
pub const ALIGN_BYTES: usize = 8;
/// What of a body has a checksum of its own, and is read and sent as one.
pub const PIECE_BYTES: usize = 128 << 10;
/// The longest meta that is read, in bytes: a head of 64 KiB, as much in trailers, a key and its facts.
pub const META_BYTES_MAX: usize = 1 << 20;
/// The longest body of a record, in bytes: that of the largest segment.
pub const BODY_BYTES_MAX: u64 = 256 << 20;

const SUM_BYTES: usize = 8;
/// The header without its checksum.
const SUMMED_BYTES: usize = HEADER_BYTES - SUM_BYTES;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Response,
    Tombstone,
}

/// How the records of a segment are written, as its opening says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub version: u8,
    pub seed: u64,
}

impl Layout {
    /// That of version 1.
    pub const FIRST: Layout = Layout { version: 1, seed: 0 };

    fn magic(self, kind: Kind) -> u32 {
        let letter = match kind {
            Kind::Response => b'R',
            Kind::Tombstone => b'T',
        };
        u32::from_le_bytes([b'H', b'L', letter, b'0' + self.version])
    }

    /// The checksum of some bytes.
    pub fn sum(self, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.seed)
    }

    /// Bytes that one checksum of a body is for.
    fn piece_bytes(self, body_bytes: u64) -> u64 {
        if self.version == 1 { body_bytes.max(1) } else { PIECE_BYTES as u64 }
    }

    /// Bytes of checksums behind the header.
    fn sums_bytes(self, body_bytes: u64) -> usize {
        if self.version == 1 { 0 } else { body_bytes.div_ceil(PIECE_BYTES as u64) as usize * SUM_BYTES }
    }
}

/// The header of a record; whether it is true shows when the rest of the head is there ([`Header::open`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub meta_bytes: usize,
    pub body_bytes: u64,
    pub key_hash: u128,
    layout: Layout,
    /// Variant and number; in version 1 the checksum of the body.
    word: u64,
    checksum: u64,
}

/// A record's head that was found to be whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Head<'a> {
    pub header: Header,
    pub meta: &'a [u8],
    pub sums: Sums,
}

/// The checksums of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    layout: Layout,
    pub body_bytes: u64,
    pub piece_bytes: u64,
    each: SmallVec<[u64; 1]>,
}

impl Header {
    /// Reads a header.
    pub fn read(layout: Layout, bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let kind = [Kind::Response, Kind::Tombstone].into_iter().find(|kind| layout.magic(*kind) == u32_at(0))?;
        let header = Header {
            kind,
            meta_bytes: u32_at(4) as usize,
            body_bytes: u64_at(8),
            key_hash: u128::from_le_bytes(bytes[16..32].try_into().expect("sixteen bytes")),
            layout,
            word: u64_at(32),
            checksum: u64_at(40),
        };
        (header.meta_bytes <= META_BYTES_MAX && header.body_bytes <= BODY_BYTES_MAX).then_some(header)
    }

    /// Bytes before the body.
    pub fn head_bytes(&self) -> usize {
        HEADER_BYTES + self.layout.sums_bytes(self.body_bytes) + self.meta_bytes
    }

    /// Bytes of the whole record, padding included.
    pub fn record_bytes(&self) -> u64 {
        (self.head_bytes() as u64 + self.body_bytes).next_multiple_of(ALIGN_BYTES as u64)
    }

    /// The head that begins these bytes, if it is the one that was written.
    pub fn open<'a>(&self, bytes: &'a [u8]) -> Option<Head<'a>> {
        let head = bytes.get(..self.head_bytes())?;
        let (sums, meta) = head[HEADER_BYTES..].split_at(self.layout.sums_bytes(self.body_bytes));
        let mut hasher = Xxh3::with_seed(self.layout.seed);
        hasher.update(&head[..SUMMED_BYTES]);
        hasher.update(&head[HEADER_BYTES..]);
        if hasher.digest() != self.checksum {
            return None;
        }
        let each = if self.layout.version == 1 { SmallVec::from_buf([self.word]) } else { listed(sums) };
        let sums = Sums {
            layout: self.layout,
            body_bytes: self.body_bytes,
            piece_bytes: self.layout.piece_bytes(self.body_bytes),
            each,
        };
        Some(Head { header: *self, meta, sums })
    }
}

fn listed(sums: &[u8]) -> SmallVec<[u64; 1]> {
    sums.chunks_exact(SUM_BYTES).map(|sum| u64::from_le_bytes(sum.try_into().expect("eight bytes"))).collect()
}

impl Sums {
    /// How many pieces the body has.
    pub fn pieces(&self) -> u64 {
        self.body_bytes.div_ceil(self.piece_bytes)
    }

    /// Where in the body a piece stands: its beginning and its length.
    pub fn piece(&self, number: u64) -> (u64, usize) {
        let at = number * self.piece_bytes;
        (at, self.piece_bytes.min(self.body_bytes.saturating_sub(at)) as usize)
    }

    /// Whether a piece is the one that was written.
    pub fn holds(&self, number: u64, piece: &[u8]) -> bool {
        let sum = self.each.get(number as usize);
        piece.len() == self.piece(number).1 && sum.is_some_and(|sum| self.layout.sum(piece) == *sum)
    }

    /// Whether the whole body is the one that was written.
    pub fn hold_all(&self, body: &[u8]) -> bool {
        let pieces = body.chunks(self.piece_bytes as usize);
        body.len() as u64 == self.body_bytes && (0..).zip(pieces).all(|(number, piece)| self.holds(number, piece))
    }
}

/// What a record is written from.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    pub kind: Kind,
    pub key_hash: u128,
    pub variant: u32,
    pub meta: &'a [u8],
}

impl Draft<'_> {
    /// Appends the record, padding included; the body is given in its chunks, which are whole numbers of pieces but for
    /// the last.
    pub fn write<'b>(&self, layout: Layout, body: impl Iterator<Item = &'b [u8]> + Clone, out: &mut Vec<u8>) {
        let start = out.len();
        let body_bytes: usize = body.clone().map(<[u8]>::len).sum();
        out.extend_from_slice(&layout.magic(self.kind).to_le_bytes());
        out.extend_from_slice(&(self.meta.len() as u32).to_le_bytes());
        out.extend_from_slice(&(body_bytes as u64).to_le_bytes());
        out.extend_from_slice(&self.key_hash.to_le_bytes());
        out.extend_from_slice(&u64::from(self.variant).to_le_bytes());
        out.extend_from_slice(&[0; SUM_BYTES]);
        for piece in body.clone().flat_map(|chunk| chunk.chunks(PIECE_BYTES)) {
            out.extend_from_slice(&layout.sum(piece).to_le_bytes());
        }
        out.extend_from_slice(self.meta);
        let mut hasher = Xxh3::with_seed(layout.seed);
        hasher.update(&out[start..start + SUMMED_BYTES]);
        hasher.update(&out[start + HEADER_BYTES..]);
        out[start + SUMMED_BYTES..start + HEADER_BYTES].copy_from_slice(&hasher.digest().to_le_bytes());
        body.for_each(|chunk| out.extend_from_slice(chunk));
        out.resize(start + (out.len() - start).next_multiple_of(ALIGN_BYTES), 0);
    }
}

#[cfg(test)]
pub(crate) mod tests;
