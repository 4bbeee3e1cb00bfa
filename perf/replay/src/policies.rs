//! What is compared with the node's store: LRU, which most caches use, and Belady's choice, which sees the future.
//!
//! All hold at most `capacity` bytes, and every object weighs what it would weigh in the node's store: the comparison is
//! of choices, not of overheads. Belady evicts what is needed last and does not even take in what would be needed later
//! than all it holds: optimal for objects of one size, a high mark for objects of many.

use std::collections::{BTreeMap, BTreeSet};

use crate::trace::{NEVER, Trace};

/// Requests and bytes that were found, of all that were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hits {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
}

impl Hits {
    pub(crate) fn count(&mut self, bytes: u32) {
        self.requests += 1;
        self.bytes += u64::from(bytes);
    }
}

/// The least recently used object goes first.
pub(crate) fn lru(trace: &Trace, weights: &[u64], capacity: u64) -> Hits {
    let mut hits = Hits::default();
    let mut last_used = vec![NEVER; trace.sizes.len()];
    let mut by_use: BTreeMap<usize, u32> = BTreeMap::new();
    let mut held = 0;
    for (now, key) in trace.requests.iter().enumerate() {
        let (slot, weight) = (&mut last_used[*key as usize], weights[*key as usize]);
        if *slot == NEVER {
            if weight > capacity {
                continue;
            }
            held += weight;
        } else {
            hits.count(trace.sizes[*key as usize]);
            by_use.remove(slot);
        }
        *slot = now;
        by_use.insert(now, *key);
        while held > capacity {
            let (_, oldest) = by_use.pop_first().expect("what is held is listed");
            held -= weights[oldest as usize];
            last_used[oldest as usize] = NEVER;
        }
    }
    hits
}

/// The object that is needed last goes first.
pub(crate) fn belady(trace: &Trace, weights: &[u64], capacity: u64) -> Hits {
    let mut hits = Hits::default();
    let next_uses = trace.next_uses();
    let mut needed = vec![None; trace.sizes.len()];
    let mut by_need: BTreeSet<(usize, u32)> = BTreeSet::new();
    let mut held = 0;
    for (now, key) in trace.requests.iter().enumerate() {
        let place = *key as usize;
        if let Some(need) = needed[place].take() {
            hits.count(trace.sizes[place]);
            by_need.remove(&(need, *key));
            held -= weights[place];
        }
        let next = next_uses[now];
        if next == NEVER || weights[place] > capacity {
            continue;
        }
        needed[place] = Some(next);
        by_need.insert((next, *key));
        held += weights[place];
        while held > capacity {
            let (_, last) = by_need.pop_last().expect("what is held is listed");
            held -= weights[last as usize];
            needed[last as usize] = None;
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(keys: &[u64]) -> Trace {
        Trace::of(keys.iter().map(|key| (*key, 1)))
    }

    #[test]
    fn a_loop_larger_than_the_cache_defeats_lru_and_not_belady() {
        let round = [1, 2, 3, 1, 2, 3, 1, 2, 3];
        let trace = trace(&round);
        assert_eq!(lru(&trace, &[1, 1, 1], 2).requests, 0);
        assert_eq!(belady(&trace, &[1, 1, 1], 2).requests, 4); // two of three stay at every turn but for the changes
    }

    #[test]
    fn what_fits_is_missed_once_per_key() {
        let trace = trace(&[1, 2, 1, 2, 2, 3, 1]);
        for policy in [lru, belady] {
            assert_eq!(policy(&trace, &[5, 5, 5], 15), Hits { requests: 4, bytes: 4 });
        }
    }

    #[test]
    fn what_is_larger_than_the_cache_pushes_nothing_out() {
        let trace = trace(&[1, 2, 1, 2, 1]);
        for policy in [lru, belady] {
            assert_eq!(policy(&trace, &[5, 50], 10).requests, 2);
        }
    }
}
