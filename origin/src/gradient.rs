//! How many requests at a time are good for a server: a bound that follows its latency. Pure.
//!
//! As long as answers take about what they take without load, the bound grows a little; when they take longer, requests
//! queue up in the server, and the bound shrinks by the ratio (after Netflix's "gradient"). What they take without load is
//! the least that was seen; it rises only by answers that came under little load, so that queues are never taken for the
//! usual. No clock: the bound moves with the answers.

/// Where a server begins.
const FIRST: f64 = 20.0;
/// No server is given less at a time.
const LEAST: f64 = 4.0;
/// No bound is higher.
const MOST: f64 = 10_000.0;
/// Latency may rise by so much before the bound shrinks.
const TOLERANCE: f64 = 1.5;
/// The share of a step that is taken.
const SMOOTHING: f64 = 0.2;
/// The share of the way that the latency without load takes towards an answer that came under little load.
const RISES: f64 = 0.02;
/// What a failure does to the bound.
const FAILED: f64 = 0.9;

#[derive(Debug, Clone, Copy)]
pub struct Gradient {
    limit: f64,
    /// What an answer takes without load, in microseconds; 0 before the first.
    unloaded: f64,
}

impl Default for Gradient {
    fn default() -> Self {
        Gradient { limit: FIRST, unloaded: 0.0 }
    }
}

impl Gradient {
    /// The most requests at a time.
    pub fn limit(&self) -> u32 {
        // Between LEAST and MOST.
        #[allow(clippy::cast_sign_loss)]
        let limit = self.limit as u32;
        limit
    }

    /// An answer took so long while so many requests were at work.
    pub fn answered(&mut self, micros: u64, in_flight: u32) {
        let micros = micros.max(1) as f64;
        let is_light = f64::from(in_flight) * 2.0 < self.limit;
        if self.unloaded == 0.0 || micros < self.unloaded {
            self.unloaded = micros;
        } else if is_light || self.limit <= 2.0 * LEAST {
            self.unloaded += (micros - self.unloaded) * RISES;
        }
        // A server that is asked little tells nothing about its bound.
        if is_light {
            return;
        }
        let gradient = (TOLERANCE * self.unloaded / micros).clamp(0.5, 1.0);
        self.step(self.limit * gradient + self.limit.sqrt());
    }

    /// A request failed, or was given up.
    pub fn failed(&mut self) {
        self.step(self.limit * FAILED);
    }

    fn step(&mut self, to: f64) {
        self.limit = (self.limit * (1.0 - SMOOTHING) + to * SMOOTHING).clamp(LEAST, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with so many places, which takes a millisecond per request and makes the rest wait.
    fn settle(gradient: &mut Gradient, places: u32, answers: u32) -> u32 {
        for _ in 0..answers {
            let in_flight = gradient.limit();
            let micros = u64::from(1_000 * in_flight.max(places) / places);
            gradient.answered(micros, in_flight);
        }
        gradient.limit()
    }

    #[test]
    fn the_bound_finds_what_a_server_can_do_at_a_time() {
        let small = settle(&mut Gradient::default(), 10, 5_000);
        assert!((8..=60).contains(&small), "{small}");
        let large = settle(&mut Gradient::default(), 400, 5_000);
        assert!((300..=1_200).contains(&large), "{large}");
    }

    #[test]
    fn a_server_that_slows_down_is_given_less_at_once() {
        let mut gradient = Gradient::default();
        let before = settle(&mut gradient, 100, 3_000);
        for _ in 0..30 {
            gradient.answered(20_000, gradient.limit());
        }
        assert!(gradient.limit() * 2 < before, "{} of {before}", gradient.limit());
    }

    #[test]
    fn one_that_has_become_slower_for_good_finds_a_new_bound() {
        let mut gradient = Gradient::default();
        settle(&mut gradient, 100, 1_000);
        for _ in 0..2_000 {
            gradient.answered(9_000, gradient.limit());
        }
        assert!(gradient.limit() > 20, "{}", gradient.limit());
    }

    #[test]
    fn one_that_is_asked_little_keeps_its_bound_and_failures_shrink_it_to_the_least() {
        let mut gradient = Gradient::default();
        for _ in 0..100 {
            gradient.answered(1_000, 1);
        }
        assert_eq!(gradient.limit(), 20);
        for _ in 0..1_000 {
            gradient.failed();
        }
        assert_eq!(gradient.limit(), 4);
    }
}
