//! The index as it was when its node ended in an orderly way, in a file beside the segments: the next start need not read
//! what every segment holds.
//!
//! ```text
//! magic u64 | home u64 | newest birth u64 | entries u64 | segments u64
//! segment: id u64 | seed u64 | bytes of the file u64 | end of its records u64 | oldest birth u64
//! checksum u64
//! block: entries u64 | entry: hash u64 | variant u32 | segment u32 | offset u32 | length u32 | checksum u64
//! ```
//!
//! Offsets and lengths are in units of [`ALIGN_BYTES`]; the top bit of a length says that the record was asked for. The
//! file is taken away before it is used, so that no later start finds it. It counts only when the segments are those of
//! which it speaks, to the byte of their lengths, and when the same keys have their home here; what of it is not what was
//! written is not used, and the segments are read instead.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::codec::Take;
use super::index::{ENTRY_BYTES, Index, Kept};
use crate::Epoch;

const NAME: &str = "index";
/// Name and version.
const MAGIC: u64 = u64::from_le_bytes(*b"HLINDEX1");
/// Bytes before the list of segments.
const OPENING_BYTES: usize = 40;
const SEGMENT_BYTES: usize = 40;
/// Entries of one block.
const BLOCK_ENTRIES: usize = 32_768;
const SUM_BYTES: usize = 8;

/// What the snapshot says of one segment, and what has to be true of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    pub id: u32,
    pub seed: u64,
    pub file_bytes: u64,
    /// Where its records end.
    pub end: u64,
    pub oldest_birth: Epoch,
}

/// A snapshot whose beginning was found to be true.
pub struct Snapshot {
    file: BufReader<File>,
    pub newest_birth: Epoch,
    pub segments: Vec<Described>,
    pub entries: u64,
    sum: u64,
}

/// Writes it; `home` stands for the rule by which keys belong to this volume.
pub fn write(
    directory: &Path,
    home: u64,
    newest_birth: Epoch,
    segments: &[Described],
    index: &Index,
) -> io::Result<()> {
    let mut opening = Vec::with_capacity(OPENING_BYTES + segments.len() * SEGMENT_BYTES + SUM_BYTES);
    for number in [MAGIC, home, newest_birth.0, index.len() as u64, segments.len() as u64] {
        opening.extend_from_slice(&number.to_le_bytes());
    }
    for Described { id, seed, file_bytes, end, oldest_birth } in segments {
        for number in [u64::from(*id), *seed, *file_bytes, *end, oldest_birth.0] {
            opening.extend_from_slice(&number.to_le_bytes());
        }
    }
    let sum = xxh3_64_with_seed(&opening, home);
    let mut file = BufWriter::new(File::create(directory.join(NAME))?);
    file.write_all(&opening)?;
    file.write_all(&sum.to_le_bytes())?;
    let mut block = Block { bytes: Vec::new(), entries: 0, written: 0, sum };
    index.each(&mut |kept| {
        block.add(kept);
        if block.entries == BLOCK_ENTRIES { block.write(&mut file) } else { Ok(()) }
    })?;
    block.write(&mut file)?;
    file.flush()
}

/// Takes the file away; what it says counts when it is about exactly these segments: id, seed and bytes of each.
pub fn take(directory: &Path, home: u64, segments: &BTreeMap<u32, (u64, u64)>) -> Result<Snapshot, Unfit> {
    let path = directory.join(NAME);
    let file = File::open(&path).map_err(|_| Unfit::Missing)?;
    // Who cannot take it away would find it again, when it has become old.
    std::fs::remove_file(&path).map_err(|_| Unfit::Stays)?;
    open(file, home, segments).ok_or(Unfit::Untrue)
}

/// Why there is no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    Missing,
    /// It cannot be removed.
    Stays,
    /// It is damaged, or speaks of something else than what is there.
    Untrue,
}

fn open(file: File, home: u64, segments: &BTreeMap<u32, (u64, u64)>) -> Option<Snapshot> {
    let mut file = BufReader::with_capacity(1 << 18, file);
    let mut opening = vec![0; OPENING_BYTES + segments.len() * SEGMENT_BYTES];
    file.read_exact(&mut opening).ok()?;
    let mut sum = [0; SUM_BYTES];
    file.read_exact(&mut sum).ok()?;
    let sum = u64::from_le_bytes(sum);
    if xxh3_64_with_seed(&opening, home) != sum {
        return None;
    }
    let mut take = Take(&opening);
    let is_ours = take.u64()? == MAGIC && take.u64()? == home;
    let (newest_birth, entries, count) = (Epoch(take.u64()?), take.u64()?, take.u64()?);
    if !is_ours || count != segments.len() as u64 {
        return None;
    }
    let described = (0..count).map(|_| described(&mut take)).collect::<Option<Vec<_>>>()?;
    let is_there = |one: &Described| segments.get(&one.id) == Some(&(one.seed, one.file_bytes));
    described.iter().all(is_there).then_some(Snapshot { file, newest_birth, segments: described, entries, sum })
}

fn described(take: &mut Take<'_>) -> Option<Described> {
    Some(Described {
        id: u32::try_from(take.u64()?).ok()?,
        seed: take.u64()?,
        file_bytes: take.u64()?,
        end: take.u64()?,
        oldest_birth: Epoch(take.u64()?),
    })
}

impl Snapshot {
    /// Shows every entry; false when one of its blocks is not what was written, and the rest is not shown.
    pub fn each(mut self, see: &mut dyn FnMut(Kept)) -> bool {
        let mut left = self.entries;
        let mut number = 0;
        while left > 0 {
            let Some(block) = self.block(number, left) else { return false };
            left -= (block.len() / ENTRY_BYTES) as u64;
            for entry in block.chunks_exact(ENTRY_BYTES) {
                let Some(kept) = entry.first_chunk().and_then(Kept::from_bytes) else { return false };
                see(kept);
            }
            number += 1;
        }
        true
    }

    /// The entries of the next block, checked.
    fn block(&mut self, number: u64, left: u64) -> Option<Vec<u8>> {
        let mut count = [0; 8];
        self.file.read_exact(&mut count).ok()?;
        let entries = usize::try_from(u64::from_le_bytes(count)).ok()?;
        if entries == 0 || entries > BLOCK_ENTRIES || entries as u64 > left {
            return None;
        }
        let mut bytes = vec![0; entries * ENTRY_BYTES + SUM_BYTES];
        self.file.read_exact(&mut bytes).ok()?;
        let sum = bytes.split_off(entries * ENTRY_BYTES);
        (sum_of(&bytes, self.sum, number).to_le_bytes()[..] == sum[..]).then_some(bytes)
    }
}

/// A block belongs to its own snapshot, in its own place.
fn sum_of(entries: &[u8], snapshot: u64, number: u64) -> u64 {
    xxh3_64_with_seed(entries, snapshot.wrapping_add(number))
}

/// A block in the making.
struct Block {
    bytes: Vec<u8>,
    entries: usize,
    written: u64,
    sum: u64,
}

impl Block {
    fn add(&mut self, kept: Kept) {
        self.bytes.extend_from_slice(&kept.bytes());
        self.entries += 1;
    }

    fn write(&mut self, file: &mut impl Write) -> io::Result<()> {
        if self.entries == 0 {
            return Ok(());
        }
        file.write_all(&(self.entries as u64).to_le_bytes())?;
        file.write_all(&self.bytes)?;
        file.write_all(&sum_of(&self.bytes, self.sum, self.written).to_le_bytes())?;
        self.bytes.clear();
        self.entries = 0;
        self.written += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
