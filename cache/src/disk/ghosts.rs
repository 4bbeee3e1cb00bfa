//! What was met lately, by the hash of its key: a table of fixed size in which later ones take the places of earlier ones.
//!
//! Two keys may share a place, so that the earlier one is forgotten too soon; and one in 2^32 passes for another. Both
//! cost a wrong guess, nothing more.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Places of a table, each of eight bytes.
const PLACES: usize = 1 << 18;

/// The table.
pub struct Ghosts {
    /// The upper half of a hash, and the number of the meeting.
    places: Box<[AtomicU64]>,
    met: AtomicU64,
}

impl Default for Ghosts {
    fn default() -> Self {
        let places = std::iter::repeat_with(AtomicU64::default).take(PLACES).collect();
        Ghosts { places, met: AtomicU64::new(1) }
    }
}

impl Ghosts {
    /// Meets a key; whether it was among the `last` that were met before.
    pub fn meet(&self, hash: u64, last: u64) -> bool {
        let number = self.met.fetch_add(1, Relaxed);
        let known = self.place(hash).swap(hash >> 32 << 32 | number & 0xffff_ffff, Relaxed);
        is_of(known, hash) && number.wrapping_sub(known) & 0xffff_ffff <= last
    }

    /// Whether the key was met, lately enough to be remembered; it is forgotten.
    pub fn take(&self, hash: u64) -> bool {
        let place = self.place(hash);
        let known = place.load(Relaxed);
        is_of(known, hash) && place.compare_exchange(known, 0, Relaxed, Relaxed).is_ok()
    }

    fn place(&self, hash: u64) -> &AtomicU64 {
        &self.places[hash as usize % PLACES]
    }
}

fn is_of(known: u64, hash: u64) -> bool {
    known != 0 && known >> 32 == hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_lately_is_known() {
        let ghosts = Ghosts::default();
        assert!(!ghosts.meet(1 << 40 | 1, 10));
        assert!(ghosts.meet(1 << 40 | 1, 10));
        (2..12).for_each(|hash| assert!(!ghosts.meet(hash << 40 | hash, 10)));
        assert!(!ghosts.meet(1 << 40 | 1, 10), "too many came between");
        assert!(ghosts.take(1 << 40 | 1) && !ghosts.take(1 << 40 | 1));
    }

    #[test]
    fn another_key_in_the_same_place_is_told_apart() {
        let ghosts = Ghosts::default();
        ghosts.meet(1 << 40 | 1, 10);
        assert!(!ghosts.take(2 << 40 | 1));
        assert!(!ghosts.meet(2 << 40 | 1, 10));
        assert!(!ghosts.take(1 << 40 | 1), "the later one took the place");
    }
}
