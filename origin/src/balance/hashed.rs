//! A place on the ring: the same key goes to the same server, and a server that comes or goes moves its own keys only.
//!
//! Weighted rendezvous hashing: every server has a score for the key, and the highest wins. It needs no table, moves the
//! least there is to move, and every node that knows the same servers agrees. The load is bounded (Mirrokni, Thorup and
//! Zadimoghaddam, "Consistent Hashing with Bounded Loads"): a server that has more than so many percent of its fair share
//! of the requests at work is passed over, so that a hot key spills over to the next of its servers.

use super::{Candidate, Places, mix};

/// A server that works on so few requests is never passed over.
const AT_WORK_FREE: u128 = 8;

/// The server of the key among these places whose load is within the bound.
pub(super) fn pick(candidates: &[Candidate], places: &Places, key: u64, load_percent: u32) -> Option<usize> {
    let of = |place: &usize| &candidates[*place];
    let weights: u128 = places.iter().map(|place| u128::from(of(place).weight)).sum();
    // With this request.
    let at_work: u128 = places.iter().map(|place| u128::from(of(place).in_flight)).sum::<u128>() + 1;
    let has_room = |place: &&usize| {
        let bound = (at_work * u128::from(of(place).weight) * u128::from(load_percent)).div_ceil(weights.max(1) * 100);
        u128::from(of(place).in_flight) < bound.max(AT_WORK_FREE)
    };
    let score = |place: &usize| score(of(place), key);
    let best = |a: &&usize, b: &&usize| score(a).total_cmp(&score(b));
    places.iter().filter(has_room).max_by(best).or_else(|| places.iter().max_by(best)).copied()
}

/// Larger for a server of more weight: -weight / ln(uniform).
fn score(candidate: &Candidate, key: u64) -> f64 {
    const BITS: u32 = 53;
    let uniform = (mix(candidate.identity ^ key.rotate_left(32)) >> (64 - BITS)) as f64 + 0.5;
    let uniform = uniform / (1u64 << BITS) as f64;
    -f64::from(candidate.weight) / uniform.ln()
}
