//! Where each record is: tables in memory of at most [`RECORD_BYTES_MAX`] bytes a record.
//!
//! An entry has 64 bits of the key's hash and 32 of its Vary facts'; the record itself has the whole key, and says whether
//! it is the one. So two keys that share a hash cost a read, never a wrong answer. Shards divide the locks, and keep the
//! steps short by which a table grows.
//!
//! A shard is one array with open addressing and linear probing, between 3/4 and 4/5 full: it grows by a sixteenth. Its
//! home place follows from the top bits of the hash, its shard from the low ones.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::record::ALIGN_BYTES;

const SHARDS: usize = 1024;
/// Bytes of one entry.
pub const ENTRY_BYTES: usize = size_of::<Entry>();
/// What a record takes at most, in bytes, once there are more than a few.
pub const RECORD_BYTES_MAX: usize = 32;
/// The smallest table of a shard that has any, in entries.
const TABLE_MIN: usize = 8;

/// One record's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub segment: u32,
    /// From the beginning of the segment, in bytes.
    pub offset: u64,
    /// In bytes, padding included.
    pub length: u64,
}

impl Place {
    /// Whether it was written earlier.
    pub fn is_before(self, other: Place) -> bool {
        (self.segment, self.offset) < (other.segment, other.offset)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    hash: u64,
    variant: u32,
    segment: u32,
    /// In units of [`ALIGN_BYTES`].
    offset: u32,
    /// In the same units; the top bit says that it was asked for since it was written. 0 is a free place.
    length: u32,
}

const ASKED: u32 = 1 << 31;
const FREE: Entry = Entry { hash: 0, variant: 0, segment: 0, offset: 0, length: 0 };

impl Entry {
    fn at(hash: u64, variant: u32, place: Place) -> Self {
        let units = |bytes: u64| u32::try_from(bytes / ALIGN_BYTES as u64).expect("a segment is below 16 GiB");
        Entry { hash, variant, segment: place.segment, offset: units(place.offset), length: units(place.length) }
    }

    fn place(&self) -> Place {
        let bytes = |units: u32| u64::from(units) * ALIGN_BYTES as u64;
        Place { segment: self.segment, offset: bytes(self.offset), length: bytes(self.length & !ASKED) }
    }

    fn is_free(&self) -> bool {
        self.length == 0
    }
}

/// One entry, as it is kept in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept(Entry);

impl Kept {
    pub fn hash(&self) -> u64 {
        self.0.hash
    }

    pub fn place(&self) -> Place {
        self.0.place()
    }

    pub fn bytes(&self) -> [u8; ENTRY_BYTES] {
        let Entry { hash, variant, segment, offset, length } = self.0;
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&hash.to_le_bytes());
        for (at, number) in (8..).step_by(4).zip([variant, segment, offset, length]) {
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// None where no record can be.
    pub fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let hash = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        let entry = Entry { hash, variant: number(8), segment: number(12), offset: number(16), length: number(20) };
        (entry.length & !ASKED != 0).then_some(Kept(entry))
    }
}

/// The entries of one shard.
#[derive(Debug, Default)]
struct Table {
    slots: Box<[Entry]>,
    used: usize,
}

impl Table {
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// The places of the entries with a hash. There is always a free place, so that a search ends.
    fn places(&self, hash: u64) -> impl Iterator<Item = usize> + '_ {
        let mut at = (!self.slots.is_empty()).then(|| self.home(hash));
        std::iter::from_fn(move || {
            while let Some(here) = at {
                let entry = &self.slots[here];
                at = (!entry.is_free()).then(|| self.next(here));
                if !entry.is_free() && entry.hash == hash {
                    return Some(here);
                }
            }
            None
        })
    }

    fn entries(&self, hash: u64) -> impl Iterator<Item = &Entry> + '_ {
        self.places(hash).map(|at| &self.slots[at])
    }

    fn add(&mut self, entry: Entry) {
        if (self.used + 1) * 5 > self.slots.len() * 4 {
            self.grow();
        }
        let mut at = self.home(entry.hash);
        while !self.slots[at].is_free() {
            at = self.next(at);
        }
        self.slots[at] = entry;
        self.used += 1;
    }

    fn grow(&mut self) {
        self.resize((self.slots.len() + self.slots.len() / 16).max(self.used * 17 / 16 * 5 / 4 + 1).max(TABLE_MIN));
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![FREE; slots].into());
        self.used = 0;
        old.iter().filter(|entry| !entry.is_free()).for_each(|entry| self.add(*entry));
    }

    /// Empties a place, and moves up what would be cut off by it.
    fn remove(&mut self, mut hole: usize) {
        self.used -= 1;
        let length = self.slots.len();
        let mut at = hole;
        loop {
            at = self.next(at);
            let entry = self.slots[at];
            if entry.is_free() {
                break;
            }
            let way = |to: usize| (to + length - self.home(entry.hash)) % length;
            if way(hole) <= way(at) {
                self.slots[hole] = entry;
                hole = at;
            }
        }
        self.slots[hole] = FREE;
    }
}

/// The tables.
pub struct Index {
    shards: Box<[Mutex<Table>]>,
    records: AtomicUsize,
    /// Places of all tables, free or not.
    slots: AtomicUsize,
}

impl Default for Index {
    fn default() -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Index { shards, records: AtomicUsize::new(0), slots: AtomicUsize::new(0) }
    }
}

impl Index {
    /// A record was written: it takes the place of the one for the same key and variant.
    pub fn insert(&self, hash: u64, variant: u32, place: Place) {
        let entry = Entry::at(hash, variant, place);
        self.change(hash, |table| {
            let same = table.places(hash).find(|at| table.slots[*at].variant == variant);
            match same {
                Some(at) => table.slots[at] = entry,
                None => table.add(entry),
            }
        });
    }

    /// The same, unless what is known for the key and variant is newer.
    pub fn insert_unless_older(&self, hash: u64, variant: u32, place: Place) {
        self.restore(Kept(Entry::at(hash, variant, place)));
    }

    /// The same of what was kept in a file.
    pub fn restore(&self, kept: Kept) {
        let Kept(entry) = kept;
        self.change(entry.hash, |table| {
            let same = table.places(entry.hash).find(|at| table.slots[*at].variant == entry.variant);
            match same {
                Some(at) if table.slots[at].place().is_before(entry.place()) => table.slots[at] = entry,
                Some(_) => {}
                None => table.add(entry),
            }
        });
    }

    /// So many records will come: the tables need not grow step by step.
    pub fn expect(&self, records: usize) {
        let slots = records / SHARDS * 5 / 4;
        for shard in 0..if slots < TABLE_MIN { 0 } else { SHARDS as u64 } {
            self.change(shard, |table| {
                if table.slots.len() < slots {
                    table.resize(slots);
                }
            });
        }
    }

    /// Shows every entry, shard by shard.
    pub fn each(&self, see: &mut dyn FnMut(Kept) -> io::Result<()>) -> io::Result<()> {
        for shard in &self.shards {
            let table = shard.lock();
            table.slots.iter().filter(|entry| !entry.is_free()).try_for_each(|entry| see(Kept(*entry)))?;
        }
        Ok(())
    }

    /// The records of a key, newest first; counts a request for each.
    pub fn find(&self, hash: u64) -> SmallVec<[Place; 2]> {
        let mut table = self.shard(hash).lock();
        let found: SmallVec<[usize; 2]> = table.places(hash).collect();
        let mut places = SmallVec::new();
        for at in found {
            table.slots[at].length |= ASKED;
            places.push(table.slots[at].place());
        }
        drop(table);
        places.sort_by_key(|place: &Place| std::cmp::Reverse((place.segment, place.offset)));
        places
    }

    pub fn contains(&self, hash: u64) -> bool {
        self.shard(hash).lock().entries(hash).next().is_some()
    }

    /// Forgets the records of a key; whether there were any.
    pub fn remove(&self, hash: u64) -> bool {
        self.remove_where(hash, |_| true)
    }

    /// Forgets the record at a place, unless another has taken over.
    pub fn remove_at(&self, hash: u64, place: Place) -> bool {
        self.remove_where(hash, |entry| entry.place() == place)
    }

    /// Whether this place is that of one of the key's records.
    pub fn is_at(&self, hash: u64, place: Place) -> bool {
        self.shard(hash).lock().entries(hash).any(|entry| entry.place() == place)
    }

    /// A record was written anew elsewhere; nothing changes when it is not the one for its key any more. It has to be
    /// asked for again to be carried over again.
    pub fn move_to(&self, hash: u64, from: Place, to: Place) {
        let mut table = self.shard(hash).lock();
        let there = table.places(hash).find(|at| table.slots[*at].place() == from);
        if let Some(at) = there {
            table.slots[at] = Entry::at(hash, table.slots[at].variant, to);
        }
    }

    /// Whether the record at this place is still the one for its key, and was asked for.
    pub fn is_wanted(&self, hash: u64, place: Place) -> bool {
        let table = self.shard(hash).lock();
        table.entries(hash).any(|entry| entry.place() == place && entry.length & ASKED != 0)
    }

    pub fn len(&self) -> usize {
        self.records.load(Relaxed)
    }

    /// Memory of the tables, free places included.
    pub fn bytes(&self) -> usize {
        self.slots.load(Relaxed) * ENTRY_BYTES + SHARDS * size_of::<Mutex<Table>>()
    }

    fn remove_where(&self, hash: u64, which: impl Fn(&Entry) -> bool) -> bool {
        self.change(hash, |table| {
            let next = |table: &Table| table.places(hash).find(|at| which(&table.slots[*at]));
            let mut any = false;
            while let Some(at) = next(table) {
                table.remove(at);
                any = true;
            }
            any
        })
    }

    /// Changes a shard and keeps the counts true.
    fn change<R>(&self, hash: u64, change: impl FnOnce(&mut Table) -> R) -> R {
        let mut table = self.shard(hash).lock();
        let (used, slots) = (table.used, table.slots.len());
        let result = change(&mut table);
        self.records.fetch_add(table.used.wrapping_sub(used), Relaxed);
        self.slots.fetch_add(table.slots.len().wrapping_sub(slots), Relaxed);
        result
    }

    fn shard(&self, hash: u64) -> &Mutex<Table> {
        &self.shards[hash as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests;
