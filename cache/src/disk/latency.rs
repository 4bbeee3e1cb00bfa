//! How long reads and writes of a disk take: histograms that any thread may add to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Buckets of a histogram; the bounds double from [`FIRST_BOUND_US`].
pub const BUCKETS: usize = 21;
/// Upper bound of the first bucket, in microseconds.
pub const FIRST_BOUND_US: u64 = 25;

/// Tells microseconds since some moment: there is no clock in here.
pub type Stopwatch = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A histogram of durations from 25 us to 13 s.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Latency {
    pub fn record(&self, micros: u64) {
        let steps = micros.saturating_sub(1) / FIRST_BOUND_US;
        let bucket = (64 - steps.leading_zeros() as usize).min(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(micros, Relaxed);
    }

    /// Counts by bucket, and the sum in microseconds.
    pub fn totals(&self) -> ([u64; BUCKETS], u64) {
        (std::array::from_fn(|at| self.buckets[at].load(Relaxed)), self.sum_us.load(Relaxed))
    }

    /// Does something and records how long it took.
    pub fn time<R>(&self, stopwatch: &Stopwatch, work: impl FnOnce() -> R) -> R {
        let begun = stopwatch();
        let result = work();
        self.record(stopwatch().saturating_sub(begun));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        for (micros, bucket) in [(0, 0), (25, 0), (26, 1), (50, 1), (51, 2), (u64::MAX, BUCKETS - 1)] {
            let latency = Latency::default();
            latency.record(micros);
            assert_eq!(latency.totals().0[bucket], 1, "{micros} us");
        }
    }
}
