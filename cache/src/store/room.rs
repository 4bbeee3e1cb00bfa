//! Room for an object that is yet to be stored: bytes of the account, taken before the object goes in; and how full the
//! store is, in a few loads.

use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use super::{EVICTIONS_PER_STEP, MemoryStore};
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

/// Bytes taken from the account for an object that is yet to be stored; given back when dropped.
pub(super) struct Room<'a> {
    pub(super) store: &'a MemoryStore,
    pub(super) bytes: u64,
}

impl Room<'_> {
    /// Takes up to `missing` more bytes, evicting a bounded number of objects; false when there is nothing to take.
    pub(super) fn grow(&mut self, missing: u64) -> bool {
        if self.bytes + missing > self.store.capacity {
            return false;
        }
        let goal = self.bytes + missing;
        let before = self.bytes;
        self.bytes += self.store.take_free(missing);
        for _ in 0..EVICTIONS_PER_STEP {
            if self.bytes >= goal {
                break;
            }
            // What leaves stays taken: it is ours now.
            let Some(freed) = self.store.evict_one() else { break };
            self.bytes += freed;
        }
        self.bytes > before
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.store.give_back(self.bytes);
    }
}

/// Puts the task behind those that are ready.
pub(super) async fn let_others_run() {
    let mut waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
