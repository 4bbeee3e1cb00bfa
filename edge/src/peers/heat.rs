//! How often what others own was asked for here lately: two sketches of counters, of this time and of the one before.
//!
//! Each key has a counter in each of four rows, and the least of them is believed (Cormode and Muthukrishnan, "An
//! Improved Data Stream Summary: The Count-Min Sketch"). Keys that share all four make one look hotter than it is, which
//! costs a copy, and copies are bounded.

use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed};

use headland_cache::Time;

const ROWS: usize = 4;
/// Counters of a row, each of two bytes.
const COUNTERS: usize = 1 << 14;
/// How long one sketch counts, in milliseconds; what is told spans one to two of these.
const SPAN_MS: u64 = 30_000;

type Sketch = Box<[AtomicU16]>;

/// The sketches.
pub struct Heat {
    sketches: [Sketch; 2],
    current: AtomicUsize,
    /// When the current one is over, in milliseconds.
    ends: AtomicU64,
}

impl Default for Heat {
    fn default() -> Self {
        let sketch = || std::iter::repeat_with(AtomicU16::default).take(ROWS * COUNTERS).collect();
        Heat { sketches: [sketch(), sketch()], current: AtomicUsize::new(0), ends: AtomicU64::new(0) }
    }
}

impl Heat {
    /// A key is asked for; how often that was so lately, this time counted.
    pub fn asked(&self, hash: u128, now: Time) -> u32 {
        self.turn(now.as_millis());
        let current = self.current.load(Relaxed);
        let (mut now, mut before) = (u16::MAX, u16::MAX);
        for place in places(hash) {
            let counter = &self.sketches[current][place];
            // A count that is lost when two workers count at once is not missed.
            let count = counter.load(Relaxed).saturating_add(1);
            counter.store(count, Relaxed);
            now = now.min(count);
            before = before.min(self.sketches[1 - current][place].load(Relaxed));
        }
        u32::from(now) + u32::from(before)
    }

    /// Begins the next sketch when the time of the current one is over.
    fn turn(&self, now_ms: u64) {
        let ends = self.ends.load(Relaxed);
        if now_ms < ends || self.ends.compare_exchange(ends, now_ms + SPAN_MS, Relaxed, Relaxed).is_err() {
            return;
        }
        let next = 1 - self.current.load(Relaxed);
        self.sketches[next].iter().for_each(|counter| counter.store(0, Relaxed));
        if now_ms >= ends + SPAN_MS {
            // Nobody asked for so long that the one before tells nothing either.
            self.sketches[1 - next].iter().for_each(|counter| counter.store(0, Relaxed));
        }
        self.current.store(next, Relaxed);
    }
}

/// A key's counter in each row.
fn places(hash: u128) -> [usize; ROWS] {
    const BITS: u32 = COUNTERS.ilog2();
    std::array::from_fn(|row| row * COUNTERS + (hash >> (row as u32 * BITS)) as usize % COUNTERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(1_000_000 + ms)
    }

    #[test]
    fn each_key_is_counted_on_its_own_and_for_a_while() {
        let heat = Heat::default();
        let (one, other) = (7, 7 << 60 | 9);
        assert_eq!([heat.asked(one, at(0)), heat.asked(one, at(1)), heat.asked(other, at(2))], [1, 2, 1]);
        assert_eq!(heat.asked(one, at(SPAN_MS)), 3, "the time before counts, too");
        assert_eq!(heat.asked(one, at(2 * SPAN_MS)), 2, "the time before that does not");
        assert_eq!(heat.asked(one, at(10 * SPAN_MS)), 1);
    }

    #[test]
    fn many_keys_asked_once_do_not_look_hot() {
        let heat = Heat::default();
        let key = |number: u128| number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let hot = (1..=20_000).filter(|&number| heat.asked(key(number), at(0)) > 8).count();
        assert!(hot < 200, "{hot} of 20,000");
    }
}
