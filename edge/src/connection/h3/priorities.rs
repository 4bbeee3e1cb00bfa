//! What the client wants of its requests now (`PRIORITY_UPDATE`, RFC 9218 section 7): said on the control stream, kept
//! here, taken by whoever sends the answer. It may come before its request does, and after its answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::h3::Priority;

/// Requests of one connection whose priority is kept; the oldest ones are forgotten first.
const KEPT_MAX: usize = 256;

#[derive(Default)]
pub(super) struct Priorities {
    kept: Mutex<BTreeMap<u64, Priority>>,
    /// How many updates there were: who has seen this many need not look.
    pub(super) version: AtomicU32,
}

impl Priorities {
    /// Keeps one; whether an older one had to be forgotten for it.
    pub(super) fn update(&self, stream: u64, priority: Priority) -> bool {
        let mut kept = self.kept.lock();
        kept.insert(stream, priority);
        let full = kept.len() > KEPT_MAX;
        if full {
            kept.pop_first();
        }
        drop(kept);
        self.version.fetch_add(1, Relaxed);
        full
    }

    pub(super) fn of(&self, stream: u64) -> Option<Priority> {
        self.kept.lock().get(&stream).copied()
    }

    /// The stream is done.
    pub(super) fn forget(&self, stream: u64) {
        if self.version.load(Relaxed) > 0 {
            self.kept.lock().remove(&stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_a_stream_counts_and_the_oldest_streams_are_forgotten_first() {
        let priorities = Priorities::default();
        let urgent = |urgency| Priority { urgency, incremental: false };
        assert!(!priorities.update(4, urgent(1)));
        assert!(!priorities.update(4, urgent(2)));
        assert_eq!((priorities.of(4), priorities.of(8)), (Some(urgent(2)), None));
        let dropped = (0..KEPT_MAX as u64).filter(|n| priorities.update(8 + 4 * n, urgent(0))).count();
        assert_eq!((dropped, priorities.of(4), priorities.of(8)), (1, None, Some(urgent(0))));
        priorities.forget(8);
        assert_eq!(priorities.of(8), None);
    }
}
