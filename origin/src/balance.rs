//! Which server gets the next request: weighted turns, or the least busy. Pure: what is known of the servers comes in
//! as candidates.
//!
//! Turns are "smooth" (each pick adds every weight to its server's credit and charges the winner the sum), so a server
//! of weight 3 is not asked three times in a row. Least connections decides ties by the same turns.

use smallvec::SmallVec;

pub use crate::settings::Balance;

/// What is known of one server at the moment of choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub weight: u32,
    pub backup: bool,
    /// Requests that it is working on.
    pub in_flight: u32,
    pub ejected: bool,
    /// An attempt for this request has failed on it already.
    pub tried: bool,
}

#[derive(Debug)]
pub struct Balancer {
    balance: Balance,
    ejected_percent_max: u32,
    credit: SmallVec<[i64; 8]>,
}

impl Balancer {
    /// The seed sets where the turns begin, so that nodes started together do not all ask the same server first.
    pub fn new(balance: Balance, weights: &[u32], ejected_percent_max: u32, seed: u64) -> Self {
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
        Balancer { balance, ejected_percent_max, credit }
    }

    /// The place of the server to ask; `None` only when there is no candidate.
    pub fn pick(&mut self, candidates: &[Candidate]) -> Option<usize> {
        assert_eq!(candidates.len(), self.credit.len(), "one candidate per server");
        if candidates.len() == 1 {
            return Some(0);
        }
        let healthy = |c: &Candidate| !c.ejected;
        // Panic: with more servers out than may be, those left would be crushed by the load of all.
        let panic = self.is_panic(candidates);
        let usable = |c: &Candidate| panic || healthy(c);
        let tiers: [&dyn Fn(&Candidate) -> bool; 5] =
            [&|c| usable(c) && !c.tried && !c.backup, &|c| usable(c) && !c.tried, &|c| !c.tried, &healthy, &|_| true];
        tiers.iter().find_map(|tier| self.pick_among(candidates, tier))
    }

    fn is_panic(&self, candidates: &[Candidate]) -> bool {
        let ejected = candidates.iter().filter(|c| c.ejected).count();
        ejected > 0 && ejected * 100 > candidates.len() * self.ejected_percent_max as usize
    }

    fn pick_among(&mut self, candidates: &[Candidate], admits: &dyn Fn(&Candidate) -> bool) -> Option<usize> {
        let least = match self.balance {
            Balance::RoundRobin => None,
            Balance::LeastConnections => {
                Some(*candidates.iter().filter(|c| admits(c)).min_by(|a, b| load_order(a, b))?)
            }
        };
        let in_turn = |c: &Candidate| admits(c) && least.is_none_or(|least| load_order(c, &least).is_eq());
        let mut total = 0;
        let mut chosen: Option<usize> = None;
        for (place, candidate) in candidates.iter().enumerate().filter(|(_, c)| in_turn(c)) {
            let weight = i64::from(candidate.weight);
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

/// Orders by the load that one more request would make, relative to the weight.
fn load_order(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    let load = |this: &Candidate, other: &Candidate| (u64::from(this.in_flight) + 1) * u64::from(other.weight);
    load(a, b).cmp(&load(b, a))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const IDLE: Candidate = Candidate { weight: 1, backup: false, in_flight: 0, ejected: false, tried: false };

    fn round_robin(candidates: &[Candidate]) -> Balancer {
        let weights: Vec<_> = candidates.iter().map(|c| c.weight).collect();
        Balancer::new(Balance::RoundRobin, &weights, 50, 0)
    }

    fn picks(balancer: &mut Balancer, candidates: &[Candidate], count: usize) -> Vec<usize> {
        (0..count).map(|_| balancer.pick(candidates).unwrap()).collect()
    }

    #[test]
    fn weights_are_shares_and_the_turns_are_smooth() {
        let candidates = [Candidate { weight: 3, ..IDLE }, IDLE, IDLE];
        let mut turns = picks(&mut round_robin(&candidates), &candidates, 500);
        assert!(!turns.windows(3).any(|three| three == [0, 0, 0]), "{turns:?}");
        turns.sort_unstable();
        assert_eq!(turns.iter().filter(|&&turn| turn == 0).count(), 300);
    }

    #[test]
    fn the_seed_decides_who_is_asked_first() {
        let candidates = [IDLE; 3];
        let first = |seed| Balancer::new(Balance::RoundRobin, &[1; 3], 50, seed).pick(&candidates).unwrap();
        assert_eq!([first(0), first(1), first(2), first(3)], [0, 1, 2, 0]);
    }

    #[test]
    fn the_least_busy_relative_to_its_weight_is_asked() {
        let candidates = [Candidate { in_flight: 2, weight: 4, ..IDLE }, Candidate { in_flight: 1, ..IDLE }];
        let mut balancer = Balancer::new(Balance::LeastConnections, &[4, 1], 50, 0);
        assert_eq!(balancer.pick(&candidates), Some(0));
        let even = [IDLE, IDLE];
        let mut balancer = Balancer::new(Balance::LeastConnections, &[1, 1], 50, 0);
        let mut turns = picks(&mut balancer, &even, 4);
        turns.sort_unstable();
        assert_eq!(turns, [0, 0, 1, 1], "ties take turns");
    }

    #[test]
    fn a_backup_is_asked_only_when_no_primary_is_left() {
        let primary = IDLE;
        let backup = Candidate { backup: true, ..IDLE };
        let mut balancer = round_robin(&[primary, backup]);
        assert_eq!(picks(&mut balancer, &[primary, backup], 3), [0, 0, 0]);
        assert_eq!(balancer.pick(&[Candidate { ejected: true, ..primary }, backup]), Some(1));
        assert_eq!(balancer.pick(&[Candidate { tried: true, ..primary }, backup]), Some(1));
    }

    #[test]
    fn an_ejected_server_is_passed_over_until_too_many_are() {
        let out = Candidate { ejected: true, ..IDLE };
        let mut balancer = round_robin(&[IDLE; 4]);
        let turns = picks(&mut balancer, &[out, IDLE, out, IDLE], 8);
        assert!(turns.iter().all(|turn| [1, 3].contains(turn)), "{turns:?}");
        let mut turns = picks(&mut balancer, &[out, out, out, IDLE], 40);
        turns.sort_unstable();
        turns.dedup();
        assert_eq!(turns, [0, 1, 2, 3], "panic: ejection is ignored");
    }

    #[test]
    fn a_retry_goes_to_another_server_while_there_is_one() {
        let tried = Candidate { tried: true, ..IDLE };
        let out = Candidate { ejected: true, ..IDLE };
        let mut balancer = round_robin(&[IDLE; 2]);
        assert_eq!(picks(&mut balancer, &[tried, IDLE], 3), [1, 1, 1]);
        assert_eq!(balancer.pick(&[tried, out]), Some(1));
        assert!(balancer.pick(&[tried, tried]).is_some());
    }
}
