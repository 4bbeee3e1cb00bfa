//! Strings in the Huffman code of RFC 7541 appendix B, which QPACK shares.
//!
//! The code is canonical: the lengths alone determine it. Decoding goes by four bits at a time over a table that is made
//! at compile time; no code is shorter than five bits, so a step yields one byte at most.

use bytes::{BufMut, BytesMut};

/// Bits of the code of each byte.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
/// The code that only ends a string, as padding: thirty ones.
const EOS_BITS: u8 = 30;
/// The code is a full binary tree of 257 leaves.
const NODES: usize = 256;
/// Not a node.
const NONE: u16 = u16::MAX;
/// A leaf is its byte above this.
const LEAF: u16 = 0x200;
const EOS: u16 = LEAF + 256;

/// One step of four bits.
#[derive(Clone, Copy)]
struct Step {
    /// The node it leads to; [`NONE`] where no code goes.
    node: u16,
    /// A byte ended on the way.
    byte: u16,
}

/// The children of every inner node; the root is 0.
const fn tree() -> [[u16; 2]; NODES] {
    let mut tree = [[NONE; 2]; NODES];
    let mut nodes = 1;
    let mut code: u32 = 0;
    let mut bits = 1;
    while bits <= EOS_BITS {
        let mut symbol = 0;
        while symbol <= 256 {
            let length = if symbol == 256 { EOS_BITS } else { LENGTHS[symbol] };
            if length == bits {
                let mut node = 0;
                let mut at = bits - 1;
                while at > 0 {
                    let side = (code >> at & 1) as usize;
                    if tree[node][side] == NONE {
                        tree[node][side] = nodes;
                        nodes += 1;
                    }
                    node = tree[node][side] as usize;
                    at -= 1;
                }
                tree[node][(code & 1) as usize] = LEAF + symbol as u16;
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        bits += 1;
    }
    tree
}

const fn steps() -> [[Step; 16]; NODES] {
    let tree = tree();
    let mut steps = [[Step { node: NONE, byte: NONE }; 16]; NODES];
    let mut from = 0;
    while from < NODES {
        let mut nibble = 0;
        while nibble < 16 {
            let mut step = Step { node: from as u16, byte: NONE };
            let mut at = 4;
            while at > 0 && step.node != NONE {
                at -= 1;
                let next = tree[step.node as usize][nibble >> at & 1];
                if next == EOS || next == NONE {
                    step.node = NONE;
                } else if next >= LEAF {
                    step.byte = next - LEAF;
                    step.node = 0;
                } else {
                    step.node = next;
                }
            }
            steps[from][nibble] = step;
            nibble += 1;
        }
        from += 1;
    }
    steps
}

static STEPS: [[Step; 16]; NODES] = steps();

/// Whether a string may end at a node: fewer than eight bits of padding, all ones (RFC 7541 section 5.2).
const fn may_end() -> [bool; NODES] {
    let tree = tree();
    let mut may = [false; NODES];
    let mut node = 0;
    let mut bits = 0;
    while bits < 8 {
        may[node] = true;
        node = tree[node][1] as usize;
        bits += 1;
    }
    may
}

static MAY_END: [bool; NODES] = may_end();

/// Appends what the code stands for; false when it is none.
pub(super) fn decode(coded: &[u8], out: &mut BytesMut) -> bool {
    out.reserve(coded.len() * 8 / 5);
    let mut node = 0_u16;
    for byte in coded {
        for nibble in [byte >> 4, byte & 0xf] {
            let step = STEPS[usize::from(node)][usize::from(nibble)];
            if step.byte != NONE {
                out.put_u8(step.byte as u8);
            }
            if step.node == NONE {
                return false;
            }
            node = step.node;
        }
    }
    MAY_END[usize::from(node)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = BytesMut::new();
        decode(coded, &mut out).then(|| out.to_vec())
    }

    /// The code of each byte, again from the lengths alone.
    fn codes() -> Vec<(u32, u8)> {
        let mut codes = vec![(0, 0); 256];
        let mut order: Vec<usize> = (0..256).collect();
        order.sort_by_key(|&byte| (LENGTHS[byte], byte));
        let (mut code, mut bits) = (0_u32, LENGTHS[order[0]]);
        for byte in order {
            code <<= LENGTHS[byte] - bits;
            bits = LENGTHS[byte];
            codes[byte] = (code, bits);
            code += 1;
        }
        codes
    }

    fn encoded(text: &[u8]) -> Vec<u8> {
        let codes = codes();
        let mut bits: Vec<bool> = Vec::new();
        for byte in text {
            let (code, length) = codes[usize::from(*byte)];
            bits.extend((0..length).rev().map(|at| code >> at & 1 == 1));
        }
        bits.resize(bits.len().div_ceil(8) * 8, true);
        bits.chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit))).collect()
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        // RFC 7541 appendix C.4.1 and C.6.1.
        let name = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&name).as_deref(), Some(&b"www.example.com"[..]));
        assert_eq!(decoded(&[0xae, 0xc3, 0x77, 0x1a, 0x4b]).as_deref(), Some(&b"private"[..]));
    }

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encoded(&all)), Some(all));
    }

    #[test]
    fn wrong_padding_and_the_end_code_are_refused() {
        assert_eq!(decoded(&[]), Some(vec![]));
        // '0' is five zeros; then three bits of padding.
        assert_eq!(decoded(&[0b0000_0111]).as_deref(), Some(&b"0"[..]));
        assert_eq!(decoded(&[0b0000_0110]), None);
        assert_eq!(decoded(&[0xff]), None);
        assert_eq!(decoded(&[0xff; 4]), None);
    }
}
