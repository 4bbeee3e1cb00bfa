//! How full the store is, in a few loads: asked for every response that comes back from disk.

use std::sync::atomic::Ordering::Relaxed;

use super::MemoryStore;
use crate::eviction::SLOT_BYTES;

impl MemoryStore {
    /// Objects that are stored.
    pub fn len(&self) -> u64 {
        self.shards.iter().map(|shard| shard.len.load(Relaxed) as u64).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether so many more bytes push nothing out.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        self.used.load(Relaxed) + bytes + SLOT_BYTES <= self.capacity
    }
}
