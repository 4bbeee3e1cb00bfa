//! A number beside the segments that no birth in them exceeds: the ledger goes on from there after a crash, before
//! anybody has looked into the segment that was open then.
//!
//! ```text
//! bound u64 | checksum u64
//! ```
//!
//! It is raised, and brought to the disk, before a record is written that was born later; by a wide step, so that this is
//! rare. Epochs are passed over by that, and nothing else: they are only compared. Without the file, or with a
//! damaged one, the open segment is searched at once.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::footer::BIRTHS_END;
use crate::Epoch;

const NAME: &str = "births";
/// What it is while it is written.
const NEXT_NAME: &str = "births.next";
/// How far beyond a birth the bound is set, in purges: with 5,000 in a second, it is raised every 200 seconds.
pub const STEP: u64 = 1 << 20;

/// What the file says.
pub fn read(directory: &Path) -> Option<Epoch> {
    let bytes: [u8; 16] = std::fs::read(directory.join(NAME)).ok()?.try_into().ok()?;
    let (bound, sum) = bytes.split_at(8);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    (xxh3_64(bound) == number(sum)).then(|| number(bound)).filter(|bound| *bound < BIRTHS_END).map(Epoch)
}

/// Sets a bound beyond a birth; it is on the disk afterwards.
pub fn raise(directory: &Path, birth: Epoch) -> io::Result<Epoch> {
    let bound = birth.0.saturating_add(STEP).min(BIRTHS_END - 1);
    let mut bytes = bound.to_le_bytes().to_vec();
    bytes.extend_from_slice(&xxh3_64(&bound.to_le_bytes()).to_le_bytes());
    let next = directory.join(NEXT_NAME);
    let mut file = File::create(&next)?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    std::fs::rename(&next, directory.join(NAME))?;
    File::open(directory)?.sync_all()?;
    Ok(Epoch(bound))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::segment::tests::Scratch;

    #[test]
    fn a_bound_is_read_as_it_was_set_or_not_at_all() {
        let scratch = Scratch::new("bound");
        assert_eq!(read(&scratch.0), None);
        assert_eq!(raise(&scratch.0, Epoch(7)).unwrap(), Epoch(7 + STEP));
        assert_eq!(read(&scratch.0), Some(Epoch(7 + STEP)));
        assert_eq!(raise(&scratch.0, Epoch(u64::MAX)).unwrap(), Epoch(BIRTHS_END - 1));
        let path = scratch.0.join(NAME);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read(&scratch.0), None, "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(read(&scratch.0), None, "{at} bytes");
        }
    }
}
