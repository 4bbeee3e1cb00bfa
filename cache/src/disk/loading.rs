//! What becomes of keys while the index of a volume is not whole yet: what it does not know is a miss, and what is made
//! invalid meanwhile is marked, so that an older response is not taken in after that.
//!
//! The marks are one bit for every place of a table of fixed size. Two keys may share one: then a response that was not
//! meant is forgotten as well, which is a miss. Who marks a key does so before it looks into the index; who takes a
//! record in looks at the mark after that: so one of them sees the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use parking_lot::{RwLock, RwLockReadGuard};

/// Marks, in words of 64. With a million keys marked, one other in 67 is forgotten.
const MARK_WORDS: usize = 1 << 20;

/// Whether a volume is being looked over, and the keys that were made invalid since.
pub struct Loading {
    is_under_way: AtomicBool,
    /// Empty when all is there.
    words: RwLock<Box<[AtomicU64]>>,
}

impl Default for Loading {
    fn default() -> Self {
        let words = std::iter::repeat_with(AtomicU64::default).take(MARK_WORDS).collect();
        Loading { is_under_way: AtomicBool::new(true), words: RwLock::new(words) }
    }
}

impl Loading {
    pub fn is_under_way(&self) -> bool {
        self.is_under_way.load(SeqCst)
    }

    /// What is stored under a hash is invalid, wherever it is found.
    pub fn mark(&self, hash: u64) {
        let (word, bit) = place(hash);
        // Without words, the index knows everything.
        if let Some(word) = self.words.read().get(word) {
            word.fetch_or(bit, SeqCst);
        }
    }

    /// The marks, to be looked at for many records.
    pub fn marks(&self) -> Marks<'_> {
        Marks(self.words.read())
    }

    /// The index is whole.
    pub fn end(&self) {
        self.is_under_way.store(false, SeqCst);
        *self.words.write() = Box::default();
    }
}

/// The marks that were made so far, and those that come.
pub struct Marks<'l>(RwLockReadGuard<'l, Box<[AtomicU64]>>);

impl Marks<'_> {
    pub fn has(&self, hash: u64) -> bool {
        let (word, bit) = place(hash);
        self.0.get(word).is_some_and(|word| word.load(SeqCst) & bit != 0)
    }
}

fn place(hash: u64) -> (usize, u64) {
    // The bits in the middle: those at both ends choose the index's shard and place.
    ((hash >> 12) as usize % MARK_WORDS, 1 << (hash >> 6 & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_last_until_the_index_is_whole() {
        let loading = Loading::default();
        assert!(loading.is_under_way() && !loading.marks().has(77 << 20));
        loading.mark(77 << 20);
        assert!(loading.marks().has(77 << 20) && !loading.marks().has(78 << 20));
        loading.end();
        loading.mark(79 << 20);
        assert!(!loading.is_under_way() && !loading.marks().has(77 << 20));
    }
}
