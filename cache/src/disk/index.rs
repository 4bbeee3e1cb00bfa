//! Where each record is: a table in memory of [`ENTRY_BYTES`] a record, and a byte for the table's own book-keeping.
//!
//! An entry has 64 bits of the key's hash and 32 of its Vary facts'; the record itself has the whole key, and says whether
//! it is the one. So two keys that share a hash cost a read, never a wrong answer. Shards only divide the locks.

use hashbrown::HashTable;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::record::ALIGN_BYTES;

const SHARDS: usize = 64;
/// Bytes of one entry.
pub const ENTRY_BYTES: usize = size_of::<Entry>();

/// One record's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub segment: u32,
    /// From the beginning of the segment, in bytes.
    pub offset: u64,
    /// In bytes, padding included.
    pub length: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    variant: u32,
    segment: u32,
    /// In units of [`ALIGN_BYTES`].
    offset: u32,
    /// In the same units; the top bit says that it was asked for since it was written.
    length: u32,
}

const ASKED: u32 = 1 << 31;

impl Entry {
    fn place(&self) -> Place {
        let bytes = |units: u32| u64::from(units) * ALIGN_BYTES as u64;
        Place { segment: self.segment, offset: bytes(self.offset), length: bytes(self.length & !ASKED) }
    }
}

/// The table.
pub struct Index {
    shards: [Mutex<HashTable<Entry>>; SHARDS],
}

impl Default for Index {
    fn default() -> Self {
        Index { shards: std::array::from_fn(|_| Mutex::new(HashTable::new())) }
    }
}

impl Index {
    /// A record was written: it takes the place of the one for the same key and variant.
    pub fn insert(&self, hash: u64, variant: u32, place: Place) {
        let units = |bytes: u64| u32::try_from(bytes / ALIGN_BYTES as u64).expect("a segment is below 16 GiB");
        let entry =
            Entry { hash, variant, segment: place.segment, offset: units(place.offset), length: units(place.length) };
        let mut shard = self.shard(hash).lock();
        match shard.find_mut(hash, |known| known.hash == hash && known.variant == variant) {
            Some(known) => *known = entry,
            None => drop(shard.insert_unique(hash, entry, |entry| entry.hash)),
        }
    }

    /// The records of a key, newest first; counts a request for each.
    pub fn find(&self, hash: u64) -> SmallVec<[Place; 2]> {
        let mut shard = self.shard(hash).lock();
        let mut places = SmallVec::new();
        for entry in shard.iter_hash_mut(hash).filter(|entry| entry.hash == hash) {
            entry.length |= ASKED;
            places.push(entry.place());
        }
        drop(shard);
        places.sort_by_key(|place: &Place| std::cmp::Reverse((place.segment, place.offset)));
        places
    }

    pub fn contains(&self, hash: u64) -> bool {
        self.shard(hash).lock().iter_hash(hash).any(|entry| entry.hash == hash)
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
        self.shard(hash).lock().iter_hash(hash).any(|entry| entry.hash == hash && entry.place() == place)
    }

    /// Whether the record at this place is still the one for its key, and was asked for.
    pub fn is_wanted(&self, hash: u64, place: Place) -> bool {
        let shard = self.shard(hash).lock();
        shard.iter_hash(hash).any(|entry| entry.hash == hash && entry.place() == place && entry.length & ASKED != 0)
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn remove_where(&self, hash: u64, which: impl Fn(&Entry) -> bool) -> bool {
        let mut shard = self.shard(hash).lock();
        let mut any = false;
        while let Ok(entry) = shard.find_entry(hash, |entry| entry.hash == hash && which(entry)) {
            entry.remove();
            any = true;
        }
        any
    }

    fn shard(&self, hash: u64) -> &Mutex<HashTable<Entry>> {
        // The table inside a shard uses the low and the top bits.
        &self.shards[(hash >> 40) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(segment: u32, offset: u64) -> Place {
        Place { segment, offset, length: 64 }
    }

    #[test]
    fn an_entry_is_small() {
        const { assert!(ENTRY_BYTES <= 24) }
    }

    #[test]
    fn the_newest_comes_first_and_each_variant_has_one_place() {
        let index = Index::default();
        index.insert(1, 7, place(0, 8));
        index.insert(1, 8, place(1, 8));
        index.insert(1, 7, place(2, 8));
        assert_eq!(index.find(1).as_slice(), [place(2, 8), place(1, 8)]);
        assert_eq!(index.find(2).as_slice(), []);
        assert_eq!(index.len(), 2);
    }

    #[test]
    fn a_place_that_was_taken_over_is_not_forgotten() {
        let index = Index::default();
        index.insert(1, 0, place(0, 8));
        index.insert(1, 0, place(1, 8));
        assert!(!index.remove_at(1, place(0, 8)));
        assert!(index.contains(1));
        assert!(index.remove(1));
        assert!(!index.remove(1) && index.len() == 0);
    }

    #[test]
    fn what_was_asked_for_is_wanted() {
        let index = Index::default();
        index.insert(1, 0, place(0, 8));
        assert!(!index.is_wanted(1, place(0, 8)));
        index.find(1);
        assert!(index.is_wanted(1, place(0, 8)));
        assert!(!index.is_wanted(1, place(0, 16)));
    }
}
