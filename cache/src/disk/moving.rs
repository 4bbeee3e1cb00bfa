//! What is on its way to the writer, by the hash of its key: so that what was said last holds, though it is not done yet.
//!
//! A write that waits makes its key known: a newer response has to follow it, a removal has to bury it. A removal that waits
//! hides its key: nothing that was written before it may be found meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;

/// Jobs under way.
#[derive(Debug, Default)]
pub struct Moving {
    /// How many there are: who finds none takes no lock.
    jobs: AtomicUsize,
    keys: Mutex<HashMap<u64, Waiting>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Waiting {
    writes: u32,
    burials: u32,
}

impl Moving {
    pub fn begin_write(&self, hash: u64) {
        self.change(hash, |waiting| waiting.writes += 1);
    }

    pub fn end_write(&self, hash: u64) {
        self.change(hash, |waiting| waiting.writes -= 1);
    }

    pub fn begin_burial(&self, hash: u64) {
        self.change(hash, |waiting| waiting.burials += 1);
    }

    pub fn end_burial(&self, hash: u64) {
        self.change(hash, |waiting| waiting.burials -= 1);
    }

    /// Whether a response for the key waits to be written.
    pub fn is_written(&self, hash: u64) -> bool {
        self.of(hash).writes > 0
    }

    /// Whether what stands on disk under the key is to be left alone.
    pub fn is_hidden(&self, hash: u64) -> bool {
        self.of(hash).burials > 0
    }

    fn of(&self, hash: u64) -> Waiting {
        if self.jobs.load(SeqCst) == 0 {
            return Waiting::default();
        }
        self.keys.lock().get(&hash).copied().unwrap_or_default()
    }

    fn change(&self, hash: u64, change: impl FnOnce(&mut Waiting)) {
        let mut keys = self.keys.lock();
        let waiting = keys.entry(hash).or_default();
        change(waiting);
        if waiting.writes + waiting.burials == 0 {
            keys.remove(&hash);
        }
        self.jobs.store(keys.len(), SeqCst);
    }
}
