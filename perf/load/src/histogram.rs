//! A histogram of durations with a bounded relative error, in the manner of `HdrHistogram`.
//!
//! Values are nanoseconds. Each power of two is cut into `SUB` equal buckets, so that a reported value is at most
//! 1/128 (0.8 %) above the true one, from nanoseconds to centuries, in a fixed 58 KiB. Nothing is sampled or dropped.

const SUB_BITS: u32 = 7;
const SUB: u64 = 1 << SUB_BITS;
const BUCKETS: usize = ((64 - SUB_BITS as usize) + 1) * SUB as usize;

#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    largest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, largest: 0 }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.largest = self.largest.max(nanos);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The value that `share` (0 to 1) of all recorded ones do not exceed; 0 when nothing was recorded.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        #[allow(clippy::cast_sign_loss)] // neither a count nor a share is below nothing
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_edge(index).min(self.largest);
            }
        }
        0
    }
}

/// Values below `SUB` have a bucket each; above, the top `SUB_BITS` + 1 bits choose it.
fn bucket(nanos: u64) -> usize {
    let exponent = (nanos | 1).ilog2().saturating_sub(SUB_BITS);
    ((u64::from(exponent) << SUB_BITS) + (nanos >> exponent)) as usize
}

/// The largest value that falls into a bucket.
fn upper_edge(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * SUB {
        return index;
    }
    let exponent = (index >> SUB_BITS) - 1;
    let first = (index - (exponent << SUB_BITS)) << exponent;
    first + ((1 << exponent) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_that_ends_at_most_one_part_in_128_above_it() {
        let values =
            (0..64).flat_map(|power| [0_u64, 1, 3].map(|more| (1_u64 << power).saturating_add(more << (power / 2))));
        for value in values.chain([u64::MAX, 0]) {
            let edge = upper_edge(bucket(value));
            assert!(edge >= value, "{value} above its edge {edge}");
            assert!(edge - value <= value / 128, "{value} far below its edge {edge}");
        }
    }

    #[test]
    fn quantiles_of_a_ramp_are_its_values() {
        let mut ramp = Histogram::default();
        for value in 1..=100_000 {
            ramp.record(value * 1000);
        }
        for share in [0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = share * 1e8;
            let found = ramp.quantile(share) as f64;
            assert!((found / exact - 1.0).abs() < 0.008, "{share}: {found} for {exact}");
        }
        assert_eq!(ramp.total(), 100_000);
    }

    #[test]
    fn nothing_recorded_is_nothing_waited() {
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }
}
