//! Integers of QUIC (RFC 9000 section 16): the first two bits say how many bytes there are.

use bytes::{Buf, BufMut, Bytes};

/// The largest integer.
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// Bytes that an integer takes.
pub(super) fn put(out: &mut impl BufMut, value: u64) {
    debug_assert!(value <= VARINT_MAX);
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(0x4000 | value as u16),
        0x4000..0x4000_0000 => out.put_u32(0x8000_0000 | value as u32),
        _ => out.put_u64(0xc000_0000_0000_0000 | value),
    }
}

/// One integer, however its bytes are split.
#[derive(Debug, Default, Clone, Copy)]
pub struct VarintReader {
    value: u64,
    /// Bytes still to come; 0 before the first.
    left: u8,
}

impl VarintReader {
    /// Takes bytes from the front; the integer, once it is whole.
    pub fn read(&mut self, input: &mut Bytes) -> Option<u64> {
        while input.has_remaining() {
            let byte = input.get_u8();
            if self.left == 0 {
                self.left = 1 << (byte >> 6);
                self.value = u64::from(byte & 0x3f);
            } else {
                self.value = self.value << 8 | u64::from(byte);
            }
            self.left -= 1;
            if self.left == 0 {
                return Some(std::mem::take(&mut self.value));
            }
        }
        None
    }

    /// Whether it stands between two integers.
    pub fn is_idle(&self) -> bool {
        self.left == 0
    }
}

/// An integer at the front of a whole payload.
pub(super) fn take(input: &mut Bytes) -> Option<u64> {
    VarintReader::default().read(input)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn integers_come_back_whatever_their_length_and_split() {
        // The examples of RFC 9000 appendix A.1 among them.
        for value in [0, 37, 63, 64, 15_293, 16_383, 16_384, 494_878_333, 151_288_809_941_952_652, VARINT_MAX] {
            let mut wire = Vec::new();
            put(&mut wire, value);
            let mut reader = VarintReader::default();
            let (last, before) = wire.split_last().unwrap();
            for byte in before {
                assert_eq!(reader.read(&mut Bytes::copy_from_slice(&[*byte])), None);
                assert!(!reader.is_idle());
            }
            assert_eq!(reader.read(&mut Bytes::copy_from_slice(&[*last])), Some(value));
            assert!(reader.is_idle());
        }
    }

    #[test]
    fn longer_forms_are_taken() {
        assert_eq!(take(&mut Bytes::from_static(&[0x40, 0x25])), Some(37));
    }
}
