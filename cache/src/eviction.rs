//! Which object leaves when room is needed: S3-FIFO, by bytes.
//!
//! New objects enter a small queue. Those asked for again there move to the main queue, the rest leave and their
//! fingerprint stays a while in a ghost queue; who returns while remembered enters the main queue at once. A scan of
//! objects that are asked for once therefore passes through the small queue and disturbs nothing. The main queue gives
//! an object one more round per request counted since its last round, at most three.
//!
//! The small queue holds [`SMALL_SHARE_PERCENT`] of the bytes, but at least [`SMALL_OBJECTS_MIN`] objects as long as
//! these are no more than half: a handful of large objects would otherwise leave before anybody asks twice. One
//! eviction looks at no more than [`EVICT_STEPS_MAX`] objects, so that it cannot hold its lock for long; after that
//! the next in line goes whatever its count. A hit only raises a count; queues are index-linked lists in one slab.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// Share of the bytes that the small queue may hold before it has to give way, in percent.
const SMALL_SHARE_PERCENT: u64 = 10;
/// Objects the small queue may hold whatever their share, up to half of all bytes.
const SMALL_OBJECTS_MIN: usize = 32;
/// Requests after the first that bring an object from the small queue into the main queue.
const PROMOTE_COUNT: u8 = 2;
/// Highest request count that is kept per object.
const COUNT_MAX: u8 = 3;
/// Most objects that one eviction moves before it evicts the next in line.
const EVICT_STEPS_MAX: usize = 128;

/// Bytes that one slot costs with a value of two words: the slot itself, its share of the index over slots, and one remembered fingerprint
/// (8 bytes in order, 16 in a table), tables taken at their emptiest.
pub(crate) const SLOT_BYTES: u64 = 112;

/// A place in the slab; valid from insertion until removal or eviction.
pub(crate) type SlotId = u32;

const NONE: SlotId = SlotId::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    Small,
    Main,
}

struct Slot<T> {
    value: Option<T>,
    weight: u64,
    fingerprint: u64,
    /// Towards the older neighbour.
    older: SlotId,
    /// Towards the newer neighbour; in a free slot, the next free one.
    newer: SlotId,
    count: u8,
    queue: Queue,
}

struct List {
    oldest: SlotId,
    newest: SlotId,
    len: usize,
    bytes: u64,
}

impl List {
    const EMPTY: List = List { oldest: NONE, newest: NONE, len: 0, bytes: 0 };
}

/// Where an insertion went.
pub(crate) struct Inserted {
    pub(crate) slot: SlotId,
    /// The slab grew by one slot ([`SLOT_BYTES`]); otherwise a free slot was used again.
    pub(crate) grew: bool,
}

/// What an eviction gave up.
pub(crate) struct Evicted<T> {
    pub(crate) slot: SlotId,
    pub(crate) value: T,
    pub(crate) weight: u64,
    /// It was asked for more than once.
    pub(crate) again: bool,
    #[cfg(test)]
    pub(crate) fingerprint: u64,
}

/// The queues of one shard of a store.
pub(crate) struct S3Fifo<T> {
    slots: Vec<Slot<T>>,
    free: SlotId,
    small: List,
    main: List,
    ghost: Ghost,
}

impl<T> S3Fifo<T> {
    pub(crate) fn new() -> Self {
        S3Fifo { slots: Vec::new(), free: NONE, small: List::EMPTY, main: List::EMPTY, ghost: Ghost::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.small.len + self.main.len
    }

    /// The values of up to `count` slots from one on; none when there are no more slots.
    pub(crate) fn page(&self, from: usize, count: usize) -> Option<impl Iterator<Item = &T>> {
        let end = self.slots.len().min(from + count);
        (from < end).then(|| self.slots[from..end].iter().filter_map(|slot| slot.value.as_ref()))
    }

    /// Slots in use or free.
    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of all values held.
    pub(crate) fn bytes(&self) -> u64 {
        self.small.bytes + self.main.bytes
    }

    pub(crate) fn get(&self, id: SlotId) -> &T {
        self.slot(id).value.as_ref().expect("a slot id is valid until its value leaves")
    }

    pub(crate) fn weight(&self, id: SlotId) -> u64 {
        self.slot(id).weight
    }

    /// The values that were asked for more than once, each with how much it was, as far as that is known.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = (u8, &T)> {
        let heat = |slot: &Slot<T>| slot.count + if slot.queue == Queue::Main { PROMOTE_COUNT } else { 0 };
        self.slots.iter().filter_map(move |slot| Some((heat(slot), slot.value.as_ref()?))).filter(|(heat, _)| *heat > 0)
    }

    /// Counts a request for the value.
    pub(crate) fn touch(&mut self, id: SlotId) {
        let slot = self.slot_mut(id);
        slot.count = COUNT_MAX.min(slot.count + 1);
    }

    pub(crate) fn insert(&mut self, fingerprint: u64, weight: u64, value: T) -> Inserted {
        let queue = if self.ghost.take(fingerprint) { Queue::Main } else { Queue::Small };
        let slot =
            Slot { value: Some(value), weight, fingerprint, older: NONE, newer: NONE, count: 0, queue: Queue::Small };
        let (id, grew) = self.place(slot);
        self.push(id, queue);
        Inserted { slot: id, grew }
    }

    /// Puts a value in the place of another, with its queue, position and count; returns that and its weight.
    pub(crate) fn replace(&mut self, id: SlotId, value: T, weight: u64) -> (T, u64) {
        let slot = self.slot_mut(id);
        let queue = slot.queue;
        let old_weight = std::mem::replace(&mut slot.weight, weight);
        let old = slot.value.replace(value).expect("a slot id is valid until its value leaves");
        let list = self.list_mut(queue);
        list.bytes = (list.bytes + weight).checked_sub(old_weight).expect("a queue gives back what it took");
        (old, old_weight)
    }

    /// Takes a value out without remembering it.
    pub(crate) fn remove(&mut self, id: SlotId) -> T {
        self.unlink(id);
        self.vacate(id)
    }

    /// Gives up one value; `None` when there is none.
    pub(crate) fn evict(&mut self) -> Option<Evicted<T>> {
        for _ in 0..EVICT_STEPS_MAX {
            let id = self.candidate()?;
            let Slot { queue, count, .. } = *self.slot(id);
            match queue {
                Queue::Small if count >= PROMOTE_COUNT => self.requeue(id, 0),
                Queue::Main if count > 0 => self.requeue(id, count - 1),
                _ => return Some(self.give_up(id)),
            }
        }
        self.candidate().map(|id| self.give_up(id))
    }

    /// The next in line.
    fn candidate(&self) -> Option<SlotId> {
        let (share, half) = (self.bytes() * SMALL_SHARE_PERCENT / 100, self.bytes() / 2);
        let small = self.small.bytes > half || (self.small.bytes > share && self.small.len > SMALL_OBJECTS_MIN);
        let oldest = if small || self.main.len == 0 { self.small.oldest } else { self.main.oldest };
        (oldest != NONE).then_some(oldest)
    }

    fn requeue(&mut self, id: SlotId, count: u8) {
        self.unlink(id);
        self.slot_mut(id).count = count;
        self.push(id, Queue::Main);
    }

    fn give_up(&mut self, id: SlotId) -> Evicted<T> {
        let Slot { weight, fingerprint, queue, count, .. } = *self.slot(id);
        self.unlink(id);
        let value = self.vacate(id);
        if queue == Queue::Small {
            self.ghost.remember(fingerprint, self.len() + 1);
        }
        Evicted {
            slot: id,
            value,
            weight,
            again: queue == Queue::Main || count > 0,
            #[cfg(test)]
            fingerprint,
        }
    }

    fn place(&mut self, slot: Slot<T>) -> (SlotId, bool) {
        if self.free == NONE {
            let id = SlotId::try_from(self.slots.len()).expect("a shard holds fewer than 2^32 objects");
            assert!(id != NONE, "a shard holds fewer than 2^32 objects");
            self.slots.push(slot);
            return (id, true);
        }
        let id = self.free;
        self.free = self.slot(id).newer;
        *self.slot_mut(id) = slot;
        (id, false)
    }

    fn vacate(&mut self, id: SlotId) -> T {
        let free = self.free;
        self.free = id;
        let slot = self.slot_mut(id);
        slot.newer = free;
        slot.value.take().expect("a slot id is valid until its value leaves")
    }

    fn push(&mut self, id: SlotId, queue: Queue) {
        let weight = self.slot(id).weight;
        let list = self.list_mut(queue);
        let older = std::mem::replace(&mut list.newest, id);
        if older == NONE {
            list.oldest = id;
        }
        list.len += 1;
        list.bytes += weight;
        if older != NONE {
            self.slot_mut(older).newer = id;
        }
        let slot = self.slot_mut(id);
        (slot.older, slot.newer, slot.queue) = (older, NONE, queue);
    }

    fn unlink(&mut self, id: SlotId) {
        let Slot { older, newer, queue, weight, .. } = *self.slot(id);
        match older {
            NONE => self.list_mut(queue).oldest = newer,
            older => self.slot_mut(older).newer = newer,
        }
        match newer {
            NONE => self.list_mut(queue).newest = older,
            newer => self.slot_mut(newer).older = older,
        }
        let list = self.list_mut(queue);
        list.len -= 1;
        list.bytes = list.bytes.checked_sub(weight).expect("a queue gives back what it took");
    }

    fn list_mut(&mut self, queue: Queue) -> &mut List {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
        }
    }

    fn slot(&self, id: SlotId) -> &Slot<T> {
        &self.slots[id as usize]
    }

    fn slot_mut(&mut self, id: SlotId) -> &mut Slot<T> {
        &mut self.slots[id as usize]
    }

    /// Both queues, oldest first, as (queue, fingerprint, count): the oracle of the tests.
    #[cfg(test)]
    pub(crate) fn dump(&self) -> Vec<(Queue, u64, u8)> {
        let mut entries = Vec::new();
        for mut id in [self.small.oldest, self.main.oldest] {
            while id != NONE {
                let slot = self.slot(id);
                entries.push((slot.queue, slot.fingerprint, slot.count));
                id = slot.newer;
            }
        }
        entries
    }
}

/// Fingerprints of the last values that left the small queue, no more than the queues hold values.
#[derive(Default)]
struct Ghost {
    order: VecDeque<u64>,
    /// (fingerprint, number of its last eviction).
    members: HashTable<(u64, u32)>,
    /// Number of the next eviction; the front of `order` has this minus the length.
    next: u32,
}

impl Ghost {
    fn remember(&mut self, fingerprint: u64, limit: usize) {
        match self.members.find_mut(fingerprint, |member| member.0 == fingerprint) {
            Some(member) => member.1 = self.next,
            None => {
                self.members.insert_unique(fingerprint, (fingerprint, self.next), |member| member.0);
            }
        }
        self.order.push_back(fingerprint);
        self.next = self.next.wrapping_add(1);
        while self.order.len() > limit {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let number = self.next.wrapping_sub(self.order.len() as u32);
        let Some(fingerprint) = self.order.pop_front() else { return };
        // It may have been taken since, or have come again with a later number.
        if let Ok(member) = self.members.find_entry(fingerprint, |member| *member == (fingerprint, number)) {
            member.remove();
        }
    }

    /// Whether the fingerprint is remembered; it no longer is afterwards.
    fn take(&mut self, fingerprint: u64) -> bool {
        match self.members.find_entry(fingerprint, |member| member.0 == fingerprint) {
            Ok(member) => {
                member.remove();
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
