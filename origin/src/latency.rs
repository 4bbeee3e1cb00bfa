//! How long a server takes to answer: the peak of a weighted mean that forgets. Pure; time is an argument.
//!
//! A slower answer than expected counts at once, a faster one little by little, so that a server which begins to stall
//! is avoided with its first slow answer. What is not confirmed fades, so that a server nobody asks any more is tried
//! again. (Finagle's "peak EWMA".)

use std::time::{Duration, Instant};

/// After so long an answer counts a third.
const FADES: Duration = Duration::from_secs(10);
/// What a failed attempt counts as, at least: who fails quickly must not look fast.
pub const FAILURE: Duration = Duration::from_secs(1);

/// What is known of one server's latency.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latency {
    micros: f64,
    at: Option<Instant>,
}

impl Latency {
    /// The server took so long.
    pub fn observe(&mut self, micros: u64, now: Instant) {
        let (expected, sample) = (self.faded(now, micros as f64), micros as f64);
        self.micros = if sample > expected { sample } else { expected };
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
    }

    /// What it is expected to take, in microseconds; 0 when nothing is known.
    pub fn expected(&self, now: Instant) -> u64 {
        Duration::from_secs_f64(self.faded(now, 0.0) / 1e6).as_micros() as u64
    }

    /// The mean as it is now, drawn towards `to` by what has passed.
    fn faded(&self, now: Instant, to: f64) -> f64 {
        let Some(at) = self.at else { return to };
        let passed = now.saturating_duration_since(at).as_secs_f64();
        let weight = (-passed / FADES.as_secs_f64()).exp();
        self.micros * weight + to * (1.0 - weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_slow_answer_counts_at_once_and_a_fast_one_little_by_little() {
        let (mut latency, mut now) = (Latency::default(), Instant::now());
        assert_eq!(latency.expected(now), 0);
        latency.observe(1_000, now);
        latency.observe(50_000, now);
        assert_eq!(latency.expected(now), 50_000);
        for _ in 0..10 {
            now += SECOND;
            latency.observe(1_000, now);
        }
        assert!((15_000..25_000).contains(&latency.expected(now)), "{}", latency.expected(now));
    }

    #[test]
    fn a_server_that_nobody_asks_is_thought_better_of_with_time() {
        let (mut latency, now) = (Latency::default(), Instant::now());
        latency.observe(1_000_000, now);
        assert!(latency.expected(now + FADES) < 400_000);
        assert!(latency.expected(now + 10 * FADES) < 100);
    }
}
