//! Which server gets the next request. Pure: what is known of the servers comes in as candidates.
//!
//! Two steps. [`eligible`] says who may be asked at all: health, priority, zone, what was tried already. Among those one
//! of four ways decides: [`turns`], the least busy (ties by turns), the better of two random [`choices`], or the place
//! that the request's key has on a ring ([`hashed`]).

use smallvec::SmallVec;

pub use crate::settings::Balance;

mod choices;
mod eligible;
mod hashed;
mod turns;

use turns::Turns;

/// Places of candidates.
type Places = SmallVec<[usize; 8]>;

/// What is known of one server at the moment of choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its share of requests, in whatever unit all of them use.
    pub weight: u32,
    /// Servers of a higher number are asked only when those of the lower ones are out.
    pub priority: u8,
    /// In the zone of this node.
    pub near: bool,
    /// Requests that it is working on.
    pub in_flight: u32,
    /// How long it takes to answer, in microseconds; 0 when that is not known.
    pub latency_micros: u64,
    /// What it is told apart by on the ring, on every node the same.
    pub identity: u64,
    pub ejected: bool,
    /// An attempt for this request has failed on it already.
    pub tried: bool,
}

impl Candidate {
    /// One with nothing to do that has its whole share.
    pub(crate) const WELL: Candidate = Candidate {
        weight: 100,
        priority: 0,
        near: false,
        in_flight: 0,
        latency_micros: 0,
        identity: 0,
        ejected: false,
        tried: false,
    };
}

/// How a group balances, beside the way itself.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub balance: Balance,
    /// More servers out than this share: health is not believed any more.
    pub ejected_percent_max: u32,
    /// On the ring: the most that a server may have of its fair share of the requests at work.
    pub hash_load_percent: u32,
}

#[derive(Debug)]
pub struct Balancer {
    rules: Rules,
    turns: Turns,
    random: Random,
}

impl Balancer {
    /// The seed sets where the turns begin, so that nodes started together do not all ask the same server first.
    pub fn new(rules: Rules, weights: &[u32], seed: u64) -> Self {
        Balancer { rules, turns: Turns::new(weights, seed), random: Random(seed) }
    }

    /// The place of the server to ask; `None` only when there is no candidate. `key` is what the request is placed on
    /// the ring by; without one it is placed anywhere.
    pub fn pick(&mut self, candidates: &[Candidate], key: Option<u64>) -> Option<usize> {
        if candidates.len() == 1 {
            return Some(0);
        }
        let mut places = eligible::among(candidates, self.rules.ejected_percent_max);
        match self.rules.balance {
            Balance::RoundRobin => self.turns.next(candidates, &places),
            Balance::LeastConnections => {
                turns::keep_least_busy(candidates, &mut places);
                self.turns.next(candidates, &places)
            }
            Balance::TwoChoices => choices::pick(candidates, &places, || self.random.next()),
            Balance::Hash => {
                let key = key.unwrap_or_else(|| self.random.next());
                hashed::pick(candidates, &places, key, self.rules.hash_load_percent)
            }
        }
    }
}

/// Numbers that nobody need fear to be guessed (splitmix64).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

/// Spreads a number over all bits.
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests;
