//! The better of two random choices: no server is flooded because it was the best a moment ago, and none that is slow
//! or busy gets its turn.
//!
//! Better is what costs less waiting: its latency times the requests that it would be working on. A server that has not
//! been measured counts as fast as the one it is compared with.

use super::{Candidate, Places};

/// Draws two of these places by weight and gives the better one.
pub(super) fn pick(candidates: &[Candidate], places: &Places, mut random: impl FnMut() -> u64) -> Option<usize> {
    let first = draw(candidates, places, None, random())?;
    let Some(second) = draw(candidates, places, Some(first), random()) else { return Some(first) };
    let (one, other) = (&candidates[first], &candidates[second]);
    Some(if cost(other, one) < cost(one, other) { second } else { first })
}

fn draw(candidates: &[Candidate], places: &Places, without: Option<usize>, random: u64) -> Option<usize> {
    let weights = || {
        let drawn = places.iter().copied().filter(move |&place| Some(place) != without);
        drawn.map(|place| (place, u64::from(candidates[place].weight)))
    };
    let total: u64 = weights().map(|(_, weight)| weight).sum();
    let mut left = random.checked_rem(total)?;
    for (place, weight) in weights() {
        if left < weight {
            return Some(place);
        }
        left -= weight;
    }
    None
}

fn cost(candidate: &Candidate, other: &Candidate) -> u64 {
    let known = [candidate.latency_micros, other.latency_micros].into_iter().find(|&micros| micros > 0);
    known.unwrap_or(1).saturating_mul(u64::from(candidate.in_flight) + 1)
}
