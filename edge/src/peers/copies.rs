//! Copies of what peers own, so many bytes of them at most: the oldest go when a new one needs room.
//!
//! A copy lives in the store like anything else, and may be evicted or purged there first. What is still asked for comes
//! back soon after it had to go.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// Copies known at a time, whatever their size.
const COPIES_MAX: usize = 65_536;

/// The copies of a node.
pub struct Copies<T> {
    known: Mutex<Known<T>>,
    /// Those that had to go for others.
    dropped: AtomicU64,
}

struct Known<T> {
    oldest_first: VecDeque<(Weak<T>, u64)>,
    bytes: u64,
}

impl<T> Default for Copies<T> {
    fn default() -> Self {
        let known = Known { oldest_first: VecDeque::new(), bytes: 0 };
        Copies { known: Mutex::new(known), dropped: AtomicU64::new(0) }
    }
}

impl<T> Copies<T> {
    /// A copy of this weight was stored; those that have to go for it.
    pub fn stored(&self, copy: &Arc<T>, weight: u64, bytes_max: u64) -> Vec<Arc<T>> {
        let mut known = self.known.lock();
        known.oldest_first.push_back((Arc::downgrade(copy), weight));
        known.bytes += weight;
        let mut gone = Vec::new();
        while (known.bytes > bytes_max || known.oldest_first.len() > COPIES_MAX)
            && let Some((oldest, weight)) = known.oldest_first.pop_front()
        {
            known.bytes -= weight;
            // One that the store has let go of already takes no room.
            gone.extend(oldest.upgrade());
        }
        self.dropped.fetch_add(gone.len() as u64, Relaxed);
        gone
    }

    /// Copies known, their bytes, and how many had to go for others.
    pub fn usage(&self) -> (usize, u64, u64) {
        let known = self.known.lock();
        (known.oldest_first.len(), known.bytes, self.dropped.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_the_bytes_are_used_up() {
        let copies = Copies::default();
        let kept: Vec<Arc<u8>> = (0..4).map(Arc::new).collect();
        for copy in &kept[..2] {
            assert!(copies.stored(copy, 40, 100).is_empty());
        }
        assert_eq!(copies.stored(&kept[2], 40, 100), [kept[0].clone()]);
        assert_eq!(copies.usage(), (2, 80, 1));
        assert_eq!(copies.stored(&kept[3], 101, 100), [kept[1].clone(), kept[2].clone(), kept[3].clone()]);
        assert_eq!(copies.usage(), (0, 0, 4));
    }

    #[test]
    fn what_the_store_has_let_go_of_is_not_let_go_of_again() {
        let copies = Copies::default();
        drop(copies.stored(&Arc::new(1), 60, 100));
        assert!(copies.stored(&Arc::new(2), 60, 100).is_empty());
        assert_eq!(copies.usage(), (1, 60, 0));
    }
}
