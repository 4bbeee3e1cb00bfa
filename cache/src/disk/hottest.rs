//! What memory held when a node ended in an orderly way: hashes of keys in a file beside the segments.
//!
//! The file is taken away when it is read, so that no later start finds what an earlier one left. Nothing depends on it: a
//! damaged one is none.

use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

const NAME: &str = "hottest";

/// Writes the hashes, those first that are to come back first.
pub fn write(directory: &Path, hashes: &[u64]) -> io::Result<()> {
    let mut out: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
    let sum = xxh3_64(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    std::fs::write(directory.join(NAME), out)
}

/// Reads them, and removes the file.
pub fn take(directory: &Path) -> Vec<u64> {
    let path = directory.join(NAME);
    let Ok(bytes) = std::fs::read(&path) else { return Vec::new() };
    drop(std::fs::remove_file(&path));
    let Some((hashes, sum)) = bytes.split_last_chunk::<8>() else { return Vec::new() };
    if xxh3_64(hashes) != u64::from_le_bytes(*sum) {
        return Vec::new();
    }
    hashes.chunks_exact(8).map(|hash| u64::from_le_bytes(hash.try_into().expect("eight bytes"))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::segment::tests::Scratch;

    #[test]
    fn what_is_kept_is_taken_once_and_only_if_it_is_whole() {
        let scratch = Scratch::new("hottest");
        write(&scratch.0, &[3, 1, 2]).unwrap();
        assert_eq!(take(&scratch.0), [3, 1, 2]);
        assert!(take(&scratch.0).is_empty());
        write(&scratch.0, &[3]).unwrap();
        let mut bytes = std::fs::read(scratch.0.join(NAME)).unwrap();
        bytes[0] ^= 1;
        std::fs::write(scratch.0.join(NAME), bytes).unwrap();
        assert!(take(&scratch.0).is_empty());
    }
}
