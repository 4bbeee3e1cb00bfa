//! Within which time most answers of a server come: a histogram that forgets. Pure; no clock.
//!
//! Bounds grow by a quarter, so a quantile is at most that much too high. When it holds enough, every count is halved:
//! the last answers speak louder.

use std::time::Duration;

const BUCKETS: usize = 64;
/// The bound of the first bucket, in microseconds; the last one's is above a minute.
const FIRST_MICROS: f64 = 100.0;
const GROWTH: f64 = 1.25;
/// Answers after which the older ones count half.
const HALVED_AT: u32 = 1_000;
/// Fewer answers say nothing.
const ANSWERS_MIN: u32 = 20;

#[derive(Debug, Clone)]
pub struct Quantile {
    counts: [u16; BUCKETS],
    total: u32,
}

impl Default for Quantile {
    fn default() -> Self {
        Quantile { counts: [0; BUCKETS], total: 0 }
    }
}

impl Quantile {
    pub fn note(&mut self, micros: u64) {
        let steps = (micros.max(1) as f64 / FIRST_MICROS).log(GROWTH).ceil().max(0.0);
        // Never negative.
        #[allow(clippy::cast_sign_loss)]
        let place = (steps as usize).min(BUCKETS - 1);
        self.counts[place] += 1;
        self.total += 1;
        if self.total >= HALVED_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().copied().map(u32::from).sum();
        }
    }

    /// The time within which so many percent of the answers came; none while too little is known.
    pub fn percentile(&self, percent: u32) -> Option<Duration> {
        if self.total < ANSWERS_MIN {
            return None;
        }
        let rank = (self.total * percent).div_ceil(100);
        let mut below = 0;
        let mut bound = FIRST_MICROS;
        for &count in &self.counts {
            below += u32::from(count);
            if below >= rank {
                return Some(Duration::from_secs_f64(bound / 1e6));
            }
            bound *= GROWTH;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_the_bound_of_its_bucket() {
        let mut quantile = Quantile::default();
        for _ in 0..19 {
            quantile.note(1_000);
        }
        assert_eq!(quantile.percentile(95), None, "too little is known");
        quantile.note(900_000);
        let within = |percent| quantile.percentile(percent).map_or(0, |time| time.as_micros());
        assert!((1_000..1_250).contains(&within(95)), "{}", within(95));
        assert!((900_000..1_130_000).contains(&within(96)), "{}", within(96));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut quantile = Quantile::default();
        (0..900).for_each(|_| quantile.note(1_000_000));
        (0..4_000).for_each(|_| quantile.note(1_000));
        assert!(quantile.percentile(95).is_some_and(|time| time < Duration::from_millis(2)));
        quantile.note(u64::MAX);
        quantile.note(0);
    }
}
