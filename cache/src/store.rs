//! The memory tier: objects found by key, bounded in bytes.
//!
//! One account of bytes holds for the whole store, so an object may be as large as the store allows, however many shards
//! there are. Shards only divide the locks: each has its own index and S3-FIFO queues. Room is made in the shard that
//! holds more objects of two taken in turn, which keeps the queues of all shards equally long, and the whole close to
//! one queue. A shard is locked for one lookup, one insertion or one eviction; what leaves is freed after the lock.
//!
//! Bytes are taken from the account before an object goes in, and what an eviction frees goes straight to whoever
//! needs it; a confirmed object that takes its predecessor's place needs only the difference. So the account never passes the capacity, not even for a moment, and no insertion can be starved by
//! others. Counted are head, key, body, facts and allocator overhead of every object, and the slots of the queues,
//! which stay counted when they are free because their memory stays.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use hashbrown::HashTable;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::eviction::{Evicted, S3Fifo, SLOT_BYTES, SlotId};
use crate::key::KeyRef;
use crate::object::Object;
use room::{Room, let_others_run};

mod room;

/// Responses kept per key, for different values of the fields in Vary. The one that arrived first gives way.
pub const VARIANTS_MAX: usize = 32;
/// A store has no more shards than this.
pub const SHARDS_MAX: usize = 1024;
/// A store has so many shards that each has at least this share of the capacity, in bytes.
pub const SHARD_BYTES_MIN: u64 = 8 << 20;

/// Slots that are copied under one lock when all objects are visited.
const SLOTS_PER_LOCK: usize = 256;
/// Objects that one step of an insertion may evict.
const EVICTIONS_PER_STEP: usize = 32;

/// Objects stored under one key.
pub type Candidates = SmallVec<[Arc<Object>; 2]>;

/// What became of an object that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insertion {
    Stored,
    /// Stored in the place of an older response to the same requests.
    Replaced,
    /// Larger than the store, or no room could be made.
    Refused,
}

/// What a store holds and did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    pub objects: u64,
    pub bytes: u64,
    pub capacity_bytes: u64,
    pub inserted: u64,
    pub replaced: u64,
    pub refused: u64,
    pub evicted: u64,
    pub removed: u64,
    /// Variants that gave way because their key had [`VARIANTS_MAX`] of them.
    pub variants_dropped: u64,
}

/// The objects that a node keeps in memory.
pub struct MemoryStore {
    shards: Box<[Shard]>,
    capacity: u64,
    used: AtomicU64,
    /// Number of the next eviction: chooses the shards to look at.
    turn: AtomicUsize,
    /// Number of the next body version.
    generation: AtomicU64,
    inserted: AtomicU64,
    replaced: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
    removed: AtomicU64,
    variants_dropped: AtomicU64,
    /// Told what leaves to make room, and whether it was asked for more than once.
    departures: OnceLock<Departures>,
}

/// What is done with an object that has to leave.
pub type Departures = Box<dyn Fn(&Arc<Object>, bool) + Send + Sync>;

/// On its own cache lines, so that workers in different shards do not disturb each other.
#[repr(align(128))]
struct Shard {
    /// Number of objects, readable without the lock.
    len: AtomicUsize,
    table: Mutex<Table>,
}

struct Entry {
    /// The key's short hash, so that the index compares and grows without touching objects.
    hash: u64,
    object: Arc<Object>,
}

struct Table {
    index: HashTable<SlotId>,
    queues: S3Fifo<Entry>,
}

impl MemoryStore {
    /// A store of `capacity` bytes with as many shards as make sense for it.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let shards = usize::try_from(capacity / SHARD_BYTES_MIN).unwrap_or(SHARDS_MAX).clamp(1, SHARDS_MAX);
        // The largest power of two that is not greater.
        MemoryStore::with_shards(capacity, 1 << shards.ilog2())
    }

    /// A store with this many shards, which must be a power of two.
    #[must_use]
    pub fn with_shards(capacity: u64, shards: usize) -> Self {
        assert!(shards.is_power_of_two() && shards <= SHARDS_MAX, "shards are chosen by bits of the hash");
        let shard = || Shard { len: AtomicUsize::new(0), table: Mutex::new(Table::new()) };
        let zero = || AtomicU64::new(0);
        MemoryStore {
            shards: std::iter::repeat_with(shard).take(shards).collect(),
            capacity,
            used: zero(),
            turn: AtomicUsize::new(0),
            generation: zero(),
            inserted: zero(),
            replaced: zero(),
            refused: zero(),
            evicted: zero(),
            removed: zero(),
            variants_dropped: zero(),
            departures: OnceLock::new(),
        }
    }

    /// What is stored under a key, latest response first; counts a request for each.
    pub fn candidates(&self, key: KeyRef<'_>) -> Candidates {
        let mut found = self.shard(key.short_hash()).table.lock().candidates(key);
        if found.len() > 1 {
            found.sort_by_key(|object| Reverse(object.recency()));
        }
        found
    }

    /// Stores an object, in the place of one with the same key and the same Vary facts.
    #[allow(clippy::needless_pass_by_value)] // the store keeps what it is given
    pub fn insert(&self, object: Arc<Object>) -> Insertion {
        let mut room = Room { store: self, bytes: 0 };
        loop {
            if let Some(insertion) = self.advance(&object, &mut room) {
                return insertion;
            }
        }
    }

    /// Stores an object unless one with the same key and the same Vary facts is there: that one is newer. Other tasks of
    /// the thread run in between when much has to leave.
    pub async fn insert_absent_in_steps(&self, object: &Arc<Object>) -> bool {
        let mut room = Room { store: self, bytes: 0 };
        loop {
            match self.advance_if(object, &mut room, |table| !table.has_variant(object)) {
                Some(stored) => return stored,
                None => let_others_run().await,
            }
        }
    }

    /// Stores an object in the place of `predecessor`, if that is still there.
    pub fn succeed(&self, predecessor: &Arc<Object>, object: &Arc<Object>) -> bool {
        let mut room = Room { store: self, bytes: 0 };
        loop {
            if let Some(stored) = self.advance_if(object, &mut room, |table| table.holds(predecessor)) {
                return stored;
            }
        }
    }

    /// The same, but other tasks of the thread run in between when much has to leave: a body of 64 MiB may push out a
    /// hundred thousand small objects. Dropping the future stores nothing.
    pub async fn insert_in_steps(&self, object: Arc<Object>) -> Insertion {
        let mut room = Room { store: self, bytes: 0 };
        loop {
            if let Some(insertion) = self.advance(&object, &mut room) {
                return insertion;
            }
            let_others_run().await;
        }
    }

    /// Removes everything under a key; returns how many objects that were.
    pub fn remove(&self, key: KeyRef<'_>) -> usize {
        self.remove_where(key, |_| true)
    }

    /// Removes this very object, but not one that has taken its place.
    pub fn remove_object(&self, object: &Arc<Object>) -> bool {
        self.remove_where(object.key.as_ref(), |held| Arc::ptr_eq(held, object)) == 1
    }

    /// Shows every object that is stored from the beginning to the end of the visit; others perhaps. Takes long, but no
    /// lock for long, and is no request for them.
    pub fn visit(&self, mut visit: impl FnMut(&Arc<Object>)) {
        let mut page = Vec::with_capacity(SLOTS_PER_LOCK);
        for shard in &self.shards {
            for from in (0..).step_by(SLOTS_PER_LOCK) {
                let table = shard.table.lock();
                let Some(slots) = table.queues.page(from, SLOTS_PER_LOCK) else { break };
                page.extend(slots.map(|entry| entry.object.clone()));
                drop(table);
                page.drain(..).for_each(|object| visit(&object));
            }
        }
    }

    /// A number for a new body version.
    pub fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::Relaxed)
    }

    pub fn stats(&self) -> StoreStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreStats {
            objects: self.len(),
            bytes: count(&self.used),
            capacity_bytes: self.capacity,
            inserted: count(&self.inserted),
            replaced: count(&self.replaced),
            refused: count(&self.refused),
            evicted: count(&self.evicted),
            removed: count(&self.removed),
            variants_dropped: count(&self.variants_dropped),
        }
    }

    fn remove_where(&self, key: KeyRef<'_>, which: impl Fn(&Arc<Object>) -> bool) -> usize {
        let mut bytes = 0;
        let removed = self.shard(key.short_hash()).change(|table| table.remove(key, which, &mut bytes));
        self.give_back(bytes);
        self.removed.fetch_add(removed.len() as u64, Ordering::Relaxed);
        removed.len()
    }

    fn shard(&self, hash: u64) -> &Shard {
        // The index inside a shard uses the low and the top bits.
        &self.shards[(hash >> 32) as usize & (self.shards.len() - 1)]
    }

    /// One step of an insertion: stores the object if there is room, else makes some.
    fn advance(&self, object: &Arc<Object>, room: &mut Room<'_>) -> Option<Insertion> {
        let insertion = self.step(object, room, |_| true)?;
        self.count(insertion);
        Some(insertion)
    }

    /// The same, where the table allows it; the answer is whether the object is stored.
    fn advance_if(&self, object: &Arc<Object>, room: &mut Room<'_>, may: impl Fn(&Table) -> bool) -> Option<bool> {
        let insertion = self.step(object, room, may)?;
        if insertion != Insertion::Refused {
            self.count(insertion);
        }
        Some(insertion != Insertion::Refused)
    }

    fn step(&self, object: &Arc<Object>, room: &mut Room<'_>, may: impl Fn(&Table) -> bool) -> Option<Insertion> {
        let weight = object.weight();
        let shard = self.shard(object.key.as_ref().short_hash());
        match shard.change(|table| may(table).then(|| table.place(object, weight, room.bytes))) {
            Some(Ok(placed)) => {
                room.bytes = placed.left_over;
                self.variants_dropped.fetch_add(u64::from(placed.dropped_variant()), Ordering::Relaxed);
                Some(if placed.replaced { Insertion::Replaced } else { Insertion::Stored })
            }
            Some(Err(missing)) if room.grow(missing) => None,
            None | Some(Err(_)) => Some(Insertion::Refused),
        }
    }

    fn count(&self, insertion: Insertion) {
        let counter = match insertion {
            Insertion::Stored => &self.inserted,
            Insertion::Replaced => &self.replaced,
            Insertion::Refused => &self.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes as much of `wanted` as is free.
    fn take_free(&self, wanted: u64) -> u64 {
        let take = |used: u64| Some(used + wanted.min(self.capacity - used));
        let before = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).expect("it always takes");
        assert!(before <= self.capacity, "the account stays within the capacity");
        wanted.min(self.capacity - before)
    }

    fn give_back(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "the account gives back what was taken");
    }

    /// Evicts one object; returns its bytes, which stay taken.
    fn evict_one(&self) -> Option<u64> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mask = self.shards.len() - 1;
        // Two shards, never the same two in a row: an odd step visits all of them.
        let (one, other) = (&self.shards[turn & mask], &self.shards[turn.wrapping_mul(0x9E37_79B1) >> 7 & mask]);
        let len = |shard: &Shard| shard.len.load(Ordering::Relaxed);
        let longer = if len(one) >= len(other) { one } else { other };
        let evicted =
            longer.change(Table::evict).or_else(|| self.shards.iter().find_map(|s| s.change(Table::evict)))?;
        self.evicted.fetch_add(1, Ordering::Relaxed);
        if let Some(departures) = self.departures.get() {
            departures(&evicted.value.object, evicted.again);
        }
        Some(evicted.weight)
    }

    /// From now on, what leaves to make room goes there. Set once, before anything is stored.
    pub fn on_departure(&self, departures: Departures) {
        assert!(self.departures.set(departures).is_ok(), "departures have one place to go to");
    }

    /// Body versions are numbered from here on.
    pub fn continue_generations(&self, first: u64) {
        self.generation.fetch_max(first, Ordering::Relaxed);
    }

    /// What was asked for more than once, the hottest first: what a node that ends should write down.
    pub fn wanted(&self) -> Vec<Arc<Object>> {
        let mut wanted: Vec<_> = self.shards.iter().flat_map(|shard| shard.table.lock().wanted()).collect();
        wanted.sort_by_key(|(heat, _)| std::cmp::Reverse(*heat));
        wanted.into_iter().map(|(_, object)| object).collect()
    }

    /// The account, counted anew.
    #[cfg(test)]
    fn audit(&self) -> u64 {
        let tables = self.shards.iter().map(|shard| shard.table.lock());
        tables.map(|table| table.queues.bytes() + table.queues.slots() as u64 * SLOT_BYTES).sum()
    }
}

impl Shard {
    /// Changes the table, keeps `len` true, and lets the caller drop what left after the lock.
    fn change<R>(&self, change: impl FnOnce(&mut Table) -> R) -> R {
        let mut table = self.table.lock();
        let result = change(&mut table);
        self.len.store(table.queues.len(), Ordering::Relaxed);
        result
    }
}

/// An object that found its place.
struct Placed {
    replaced: bool,
    /// Bytes that were brought or freed and not used.
    left_over: u64,
    /// Dropped by the receiver, outside the lock.
    left: Option<Arc<Object>>,
}

impl Placed {
    /// Whether another variant had to give way.
    fn dropped_variant(&self) -> bool {
        !self.replaced && self.left.is_some()
    }
}

impl Table {
    fn new() -> Self {
        Table { index: HashTable::new(), queues: S3Fifo::new() }
    }

    fn candidates(&mut self, key: KeyRef<'_>) -> Candidates {
        let (hash, mut found) = (key.short_hash(), Candidates::new());
        for &slot in self.index.iter_hash(hash) {
            let entry = self.queues.get(slot);
            if entry.hash == hash && entry.object.key.as_ref() == key {
                found.push(entry.object.clone());
                self.queues.touch(slot);
            }
        }
        found
    }

    /// Stores an object if `room` bytes, and those of the object it replaces, are enough; else says what is missing.
    fn place(&mut self, object: &Arc<Object>, weight: u64, room: u64) -> Result<Placed, u64> {
        let variants = self.slots_of(object.key.as_ref());
        let same = variants.iter().copied().find(|&slot| self.queues.get(slot).object.vary == object.vary);
        let old_weight = same.map(|slot| self.queues.weight(slot));
        let needed = old_weight.map_or(weight + SLOT_BYTES, |old| weight.saturating_sub(old));
        if room < needed {
            return Err(needed - room);
        }
        let entry = Entry { hash: object.key.as_ref().short_hash(), object: object.clone() };
        let Some(slot) = same else { return Ok(self.add(entry, weight, room, &variants)) };
        let (old, old_weight) = self.queues.replace(slot, entry, weight);
        Ok(Placed { replaced: true, left_over: room + old_weight - weight, left: Some(old.object) })
    }

    /// Adds an object to the other variants of its key, of which the oldest may have to give way.
    fn add(&mut self, entry: Entry, weight: u64, room: u64, variants: &[SlotId]) -> Placed {
        let arrival = |slot: &&SlotId| self.queues.get(**slot).object.freshness.response_time();
        let oldest = variants.iter().min_by_key(arrival).filter(|_| variants.len() >= VARIANTS_MAX);
        let (left, freed) = oldest.map(|&slot| self.take(slot)).map_or((None, 0), |(old, bytes)| (Some(old), bytes));
        let (hash, fingerprint) = (entry.hash, entry.hash ^ entry.object.vary.hash());
        let inserted = self.queues.insert(fingerprint, weight, entry);
        let queues = &self.queues;
        self.index.insert_unique(hash, inserted.slot, |&slot| queues.get(slot).hash);
        let used = weight + if inserted.grew { SLOT_BYTES } else { 0 };
        Placed { replaced: false, left_over: room + freed - used, left }
    }

    fn remove(
        &mut self,
        key: KeyRef<'_>,
        which: impl Fn(&Arc<Object>) -> bool,
        bytes: &mut u64,
    ) -> SmallVec<[Arc<Object>; 2]> {
        let mut removed = SmallVec::new();
        for slot in self.slots_of(key) {
            if which(&self.queues.get(slot).object) {
                let (object, weight) = self.take(slot);
                *bytes += weight;
                removed.push(object);
            }
        }
        removed
    }

    fn evict(&mut self) -> Option<Evicted<Entry>> {
        let evicted = self.queues.evict()?;
        self.unindex(evicted.value.hash, evicted.slot);
        Some(evicted)
    }

    fn has_variant(&self, object: &Object) -> bool {
        let variants = self.slots_of(object.key.as_ref());
        variants.iter().any(|slot| self.queues.get(*slot).object.vary == object.vary)
    }

    fn holds(&self, object: &Arc<Object>) -> bool {
        self.slots_of(object.key.as_ref()).iter().any(|slot| Arc::ptr_eq(&self.queues.get(*slot).object, object))
    }

    fn wanted(&self) -> Vec<(u8, Arc<Object>)> {
        self.queues.wanted().map(|(heat, entry)| (heat, entry.object.clone())).collect()
    }

    fn slots_of(&self, key: KeyRef<'_>) -> SmallVec<[SlotId; 4]> {
        let hash = key.short_hash();
        let is_for = |slot: &SlotId| {
            let entry = self.queues.get(*slot);
            entry.hash == hash && entry.object.key.as_ref() == key
        };
        self.index.iter_hash(hash).copied().filter(is_for).collect()
    }

    fn take(&mut self, slot: SlotId) -> (Arc<Object>, u64) {
        let weight = self.queues.weight(slot);
        let entry = self.queues.remove(slot);
        self.unindex(entry.hash, slot);
        (entry.object, weight)
    }

    fn unindex(&mut self, hash: u64, slot: SlotId) {
        let entry = self.index.find_entry(hash, |&held| held == slot);
        entry.unwrap_or_else(|_| unreachable!("every slot in use is in the index")).remove();
    }
}

#[cfg(test)]
mod tests;
