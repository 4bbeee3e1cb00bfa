//! Whether bytes from elsewhere are those of a stored body: they are cut into its pieces, and each is held against the
//! checksum that was kept of it.
//!
//! So what the disk has lost of a body can be replaced without a validator: not because somebody says that the rest is
//! the same, but because it is. The checksums have 64 bits and begin from a number that only the segment knows, which
//! is enough against chance and change; who could forge them would have to be the origin itself.

use bytes::{Buf, Bytes};

use super::record::Sums;

/// What came so far of a body that is given from its first byte on.
pub struct Proof {
    sums: Sums,
    /// Bytes that come before the first piece that is of interest.
    before: u64,
    /// The piece that comes next, and what there is of it.
    number: u64,
    gathered: Vec<u8>,
}

/// What came is not what was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlike;

impl Proof {
    /// Of the piece with the byte at `at`, and of all behind it.
    pub(super) fn new(sums: Sums, at: u64) -> Self {
        let number = at / sums.piece_bytes;
        Proof { before: sums.piece(number).0, sums, number, gathered: Vec::new() }
    }

    /// Takes data up to the end of a piece: that piece, and where in the body it begins. None when more has to come.
    pub fn take(&mut self, data: &mut Bytes) -> Result<Option<(u64, Bytes)>, Unlike> {
        let skipped = data.len().min(usize::try_from(self.before).unwrap_or(usize::MAX));
        data.advance(skipped);
        self.before -= skipped as u64;
        let (at, length) = self.sums.piece(self.number);
        let missing = length - self.gathered.len();
        if data.len() < missing || missing == 0 {
            self.gathered.extend_from_slice(&data.split_to(data.len().min(missing)));
            return Ok(None);
        }
        let rest = data.split_to(missing);
        let piece = if self.gathered.is_empty() {
            rest
        } else {
            self.gathered.extend_from_slice(&rest);
            std::mem::take(&mut self.gathered).into()
        };
        let number = self.number;
        self.number += 1;
        if self.sums.holds(number, &piece) { Ok(Some((at, piece))) } else { Err(Unlike) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::record::tests::sums_of;

    /// The pieces that are proven of a body that comes in steps, and whether all was like what was stored.
    fn proven(stored: &[u8], at: u64, came: &[u8], step: usize) -> (Vec<(u64, Vec<u8>)>, bool) {
        let mut proof = Proof::new(sums_of(stored), at);
        let mut pieces = Vec::new();
        for part in came.chunks(step) {
            let mut data = Bytes::copy_from_slice(part);
            loop {
                match proof.take(&mut data) {
                    Ok(Some((at, piece))) => pieces.push((at, piece.to_vec())),
                    Ok(None) => break,
                    Err(Unlike) => return (pieces, false),
                }
            }
        }
        (pieces, true)
    }

    #[test]
    fn a_body_is_proven_in_its_pieces_however_it_comes() {
        let body: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        let piece = super::super::record::PIECE_BYTES;
        for at in [0, 1, piece - 1, piece, 2 * piece + 7, body.len() - 1] {
            for step in [7_001, piece, piece + 1, body.len()] {
                let (pieces, is_like) = proven(&body, at as u64, &body, step);
                assert!(is_like);
                let first = at / piece * piece;
                assert_eq!(pieces[0].0, first as u64);
                assert!(pieces.windows(2).all(|two| two[0].0 + two[0].1.len() as u64 == two[1].0));
                let all: Vec<u8> = pieces.into_iter().flat_map(|(_, bytes)| bytes).collect();
                assert!(all == body[first..], "from {at} in steps of {step}");
            }
        }
    }

    #[test]
    fn what_is_not_the_same_is_not_proven() {
        let body = vec![3; 300_000];
        let piece = super::super::record::PIECE_BYTES;
        let mut other = body.clone();
        other[piece + 5] = 4;
        assert_eq!(proven(&body, 0, &other, 10_000), (vec![(0, body[..piece].to_vec())], false));
        assert_eq!(proven(&body, piece as u64, &other, 10_000), (vec![], false));
        assert!(proven(&body, 2 * piece as u64, &other, 10_000).1, "what came before is not of interest");
        let (pieces, is_like) = proven(&body, 2 * piece as u64, &body[..299_999], 10_000);
        assert!(pieces.is_empty() && is_like, "the end is missing");
        let (pieces, is_like) = proven(&body, 2 * piece as u64, &[&body[..], b"more"].concat(), 300_001);
        assert!(pieces.len() == 1 && is_like, "what follows the end is not taken");
    }
}
