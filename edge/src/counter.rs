//! Counters and histograms that cost a worker a plain load and store.
//!
//! Each has one writer, the worker thread that owns it, and any number of readers: so an increment needs no locked
//! instruction, only atomics that readers may look at.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows, written by one thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub fn bump(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Those of the disk tier, so that all histograms have the same bounds.
pub use headland_cache::disk::{BUCKETS, FIRST_BOUND_US};

/// The upper bounds of all buckets but the last, which has none, in microseconds.
pub fn bounds_us() -> [u64; BUCKETS - 1] {
    std::array::from_fn(|i| FIRST_BOUND_US << i)
}

/// A histogram of durations from 25 us to 13 s.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_us: Counter,
}

impl Histogram {
    pub fn record(&self, micros: u64) {
        self.buckets[Self::bucket(micros)].bump();
        self.sum_us.add(micros);
    }

    /// The first bucket whose bound is not below `micros`.
    fn bucket(micros: u64) -> usize {
        let steps = micros.saturating_sub(1) / FIRST_BOUND_US;
        (64 - steps.leading_zeros() as usize).min(BUCKETS - 1)
    }

    /// Adds this histogram's buckets and sum, in microseconds, to a total.
    pub fn add_to(&self, total: &mut HistogramTotal) {
        for (sum, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.get();
        }
        total.sum_us += self.sum_us.get();
    }
}

/// A histogram summed over workers: plain numbers for the Python side.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HistogramTotal {
    pub buckets: [u64; BUCKETS],
    pub sum_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let bounds = bounds_us();
        for micros in [0, 1, 25, 26, 50, 51, 100, 101, 12_345, 13_107_200, 13_107_201, u64::MAX] {
            let expected = bounds.iter().position(|bound| micros <= *bound).unwrap_or(BUCKETS - 1);
            assert_eq!(Histogram::bucket(micros), expected, "{micros} us");
        }
    }
}
