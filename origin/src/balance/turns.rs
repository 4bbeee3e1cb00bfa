//! Weighted turns, and the least busy.
//!
//! Turns are "smooth" (each pick adds every weight to its server's credit and charges the winner the sum), so a server
//! of weight 3 is not asked three times in a row. Weights may change between picks.

use smallvec::SmallVec;

use super::{Candidate, Places};

#[derive(Debug)]
pub(super) struct Turns {
    credit: SmallVec<[i64; 8]>,
}

impl Turns {
    /// The seed sets who is asked first.
    pub(super) fn new(weights: &[u32], seed: u64) -> Self {
        let mut credit: SmallVec<[i64; 8]> = SmallVec::from_elem(0, weights.len());
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        let mut turn = seed.checked_rem(total).unwrap_or(0);
        for (credit, &weight) in credit.iter_mut().zip(weights) {
            if turn < u64::from(weight) {
                *credit = i64::from(weight);
                break;
            }
            turn -= u64::from(weight);
        }
        Turns { credit }
    }

    /// Whose turn it is among these places.
    pub(super) fn next(&mut self, candidates: &[Candidate], places: &[usize]) -> Option<usize> {
        assert_eq!(candidates.len(), self.credit.len(), "one candidate per server");
        let mut total = 0;
        let mut chosen: Option<usize> = None;
        for &place in places {
            let weight = i64::from(candidates[place].weight);
            total += weight;
            self.credit[place] += weight;
            if chosen.is_none_or(|best| self.credit[place] > self.credit[best]) {
                chosen = Some(place);
            }
        }
        self.credit[chosen?] -= total;
        chosen
    }
}

/// Leaves those to whom one more request would be the least load, relative to the weight.
pub(super) fn keep_least_busy(candidates: &[Candidate], places: &mut Places) {
    let order = |a: usize, b: usize| load_order(&candidates[a], &candidates[b]);
    let Some(least) = places.iter().copied().min_by(|&a, &b| order(a, b)) else { return };
    places.retain(|&mut place| order(place, least).is_eq());
}

fn load_order(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    let load = |this: &Candidate, other: &Candidate| (u64::from(this.in_flight) + 1) * u64::from(other.weight);
    load(a, b).cmp(&load(b, a))
}
