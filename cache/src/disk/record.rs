//! One record of a segment: a header of fixed size, the head of a response, and its body, padded to [`ALIGN_BYTES`].
//!
//! ```text
//! magic u32 | meta length u32 | body length u64 | key hash u128 | body checksum u64 | checksum u64 | meta | body | padding
//! ```
//!
//! The checksum is over the header before it and the meta, so that a record is known to be whole without reading its
//! body; the body has its own, which is looked at whenever the body is read. All numbers are little-endian. A tombstone
//! has the key as its meta, and no body: what stands before it under that key is gone.

use xxhash_rust::xxh3::xxh3_64;

/// The version of everything in a segment, in its first bytes.
pub const VERSION: u8 = 1;
/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 48;
/// Records begin at multiples of this.
pub const ALIGN_BYTES: usize = 8;
/// The longest meta that is read, in bytes: a head of 64 KiB, as much in trailers, a key and its facts.
pub const META_BYTES_MAX: usize = 1 << 20;

const RESPONSE: u32 = u32::from_le_bytes(*b"HLR1");
const TOMBSTONE: u32 = u32::from_le_bytes(*b"HLT1");

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Response,
    Tombstone,
}

/// The header of a record that was found to be whole but for its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub meta_bytes: usize,
    pub body_bytes: u64,
    pub key_hash: u128,
    body_checksum: u64,
    checksum: u64,
}

impl Header {
    /// The header for these; `body` is given in its chunks.
    pub fn of<'a>(kind: Kind, key_hash: u128, meta: &[u8], body: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        let mut body_bytes = 0;
        for chunk in body {
            hasher.update(chunk);
            body_bytes += chunk.len() as u64;
        }
        let body_checksum = hasher.digest();
        let mut header = Header { kind, meta_bytes: meta.len(), body_bytes, key_hash, body_checksum, checksum: 0 };
        header.checksum = header.sum(meta);
        header
    }

    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let magic = match self.kind {
            Kind::Response => RESPONSE,
            Kind::Tombstone => TOMBSTONE,
        };
        out[0..4].copy_from_slice(&magic.to_le_bytes());
        out[4..8].copy_from_slice(&(self.meta_bytes as u32).to_le_bytes());
        out[8..16].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[16..32].copy_from_slice(&self.key_hash.to_le_bytes());
        out[32..40].copy_from_slice(&self.body_checksum.to_le_bytes());
        out[40..48].copy_from_slice(&self.checksum.to_le_bytes());
        out
    }

    /// Reads a header; whether it is true shows when its meta is there ([`Header::holds`]).
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let kind = match u32_at(0) {
            RESPONSE => Kind::Response,
            TOMBSTONE => Kind::Tombstone,
            _ => return None,
        };
        let meta_bytes = u32_at(4) as usize;
        let key_hash = u128::from_le_bytes(bytes[16..32].try_into().expect("sixteen bytes"));
        let header = Header {
            kind,
            meta_bytes,
            body_bytes: u64_at(8),
            key_hash,
            body_checksum: u64_at(32),
            checksum: u64_at(40),
        };
        (meta_bytes <= META_BYTES_MAX).then_some(header)
    }

    /// Whether header and meta are those that were written.
    pub fn holds(&self, meta: &[u8]) -> bool {
        meta.len() == self.meta_bytes && self.sum(meta) == self.checksum
    }

    /// Whether the body is the one that was written.
    pub fn holds_body(&self, body: &[u8]) -> bool {
        body.len() as u64 == self.body_bytes && xxh3_64(body) == self.body_checksum
    }

    /// Bytes of the whole record, padding included; none where that is beyond all reason.
    pub fn record_bytes(&self) -> Option<u64> {
        let whole = self.body_bytes.checked_add((HEADER_BYTES + self.meta_bytes) as u64)?;
        whole.checked_next_multiple_of(ALIGN_BYTES as u64)
    }

    fn sum(&self, meta: &[u8]) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        hasher.update(&self.bytes()[..40]);
        hasher.update(meta);
        hasher.digest()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn any_bit_that_flips_is_found() {
        let (meta, body) = (b"some meta".as_slice(), b"some body".as_slice());
        let header = Header::of(Kind::Response, 5 << 100, meta, [&body[..4], &body[4..]].into_iter());
        let bytes = header.bytes();
        let read = Header::read(&bytes).unwrap();
        assert_eq!(read, header);
        assert!(read.holds(meta) && read.holds_body(body));
        assert_eq!(header.record_bytes(), Some(72));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::read(&flipped).is_none_or(|header| !header.holds(meta)), "bit {bit} of the header");
        }
        for bit in 0..meta.len() * 8 {
            let mut flipped = meta.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!header.holds(&flipped) && !header.holds_body(&flipped), "bit {bit}");
        }
    }
}
