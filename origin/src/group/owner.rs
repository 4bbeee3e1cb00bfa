//! Keys that belong to one of a group's servers or to this node itself, as among caches that share what they store.
//!
//! The same ring as [`crate::balance`] has for servers, with one more place on it: our own. It is never out, so that
//! there is always an owner; servers that are out give their keys to the others, each key to the next of its ring.

use std::time::Instant;

use smallvec::SmallVec;

use super::{Group, Server, Tried};
use crate::affinity;
use crate::balance::Candidate;

/// What a node is told apart by on the ring, by the URL that the others know it by.
pub fn place_of(url: &str) -> u64 {
    affinity::identity(url)
}

impl Group {
    /// Whose a key is among these servers and this node itself, which is told apart by `own`: `None` for this node. `without`
    /// are left out. Every node that knows the same servers says the same, but for who is out, slow to start or busy.
    pub fn owner(&self, key: u64, own: u64, without: &[usize], now: Instant) -> Option<usize> {
        let mut candidates = self.candidates(&Tried::from_slice(without), now);
        candidates.push(Candidate { identity: own, ..Candidate::WELL });
        // Whoever is out is left out, however many are: this node is left.
        candidates.iter_mut().for_each(|candidate| candidate.tried |= candidate.ejected);
        let place = self.balancer.lock().pick(&candidates, Some(key));
        place.filter(|&place| place < self.servers.len() && !candidates[place].tried)
    }

    /// Whether the server whose the key is when all are well is out.
    pub fn is_displaced(&self, key: u64, own: u64, now: Instant) -> bool {
        let out: SmallVec<[bool; 8]> = self.candidates(&Tried::new(), now).iter().map(|each| each.ejected).collect();
        if !out.contains(&true) {
            return false;
        }
        let well = |server: &Server| Candidate { identity: server.identity, ..Candidate::WELL };
        let candidates: SmallVec<[Candidate; 8]> =
            self.servers.iter().map(well).chain([Candidate { identity: own, ..Candidate::WELL }]).collect();
        self.balancer.lock().pick(&candidates, Some(key)).is_some_and(|place| out.get(place) == Some(&true))
    }

    /// The places of the servers that are not left alone now.
    pub fn well(&self, now: Instant) -> Vec<usize> {
        (0..self.servers.len()).filter(|&place| !self.is_out(place, now)).collect()
    }

    /// Whether a server is left alone for now.
    pub fn is_out(&self, place: usize, now: Instant) -> bool {
        self.servers[place].state.condition.lock().health.is_out(now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::super::tests::settings;
    use super::*;
    use crate::group::Showed;
    use crate::settings::{Balance, EjectionSettings, GroupSettings};

    const URLS: [&str; 3] = ["http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80"];
    const KEYS: u64 = 3_000;

    /// The group that one of three nodes has of the two others, and its own place.
    fn seen_by(own: usize) -> (std::sync::Arc<Group>, u64) {
        let others: Vec<&str> = (0..3).filter(|&each| each != own).map(|each| URLS[each]).collect();
        let mut settings: GroupSettings = settings(&others);
        settings.balance = Balance::Hash;
        settings.ejection = EjectionSettings { failures: 1, base_ms: 1_000, max_percent: 100, ..settings.ejection };
        (Group::compile(&settings, None).unwrap(), place_of(URLS[own]))
    }

    fn owners(node: usize, without: &[usize], now: Instant) -> Vec<&'static str> {
        let (group, own) = seen_by(node);
        of(&group, own, node, without, now)
    }

    fn of(group: &Group, own: u64, node: usize, without: &[usize], now: Instant) -> Vec<&'static str> {
        let others: Vec<&'static str> = (0..3).filter(|&each| each != node).map(|each| URLS[each]).collect();
        let key = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let owner = |number| group.owner(key(number), own, without, now).map_or(URLS[node], |place| others[place]);
        (0..KEYS).map(owner).collect()
    }

    #[test]
    fn all_nodes_agree_on_the_owner_and_each_owns_its_share() {
        let now = Instant::now();
        let first = owners(0, &[], now);
        assert_eq!(first, owners(1, &[], now));
        assert_eq!(first, owners(2, &[], now));
        for url in URLS {
            let share = first.iter().filter(|owner| **owner == url).count();
            assert!((800..1_200).contains(&share), "{url}: {share} of {KEYS}");
        }
    }

    #[test]
    fn the_keys_of_a_lost_node_spread_over_the_others_and_nobody_elses_move() {
        let now = Instant::now();
        let (group, own) = seen_by(0);
        let before = of(&group, own, 0, &[], now);
        group.note(0, Showed::Failure, Duration::ZERO, now);
        assert!(group.is_out(0, now));
        let after = of(&group, own, 0, &[], now);
        assert_eq!(after, of(&group, own, 0, &[0], now), "as if it had been left out");
        let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        assert!(moved.iter().all(|(before, _)| **before == URLS[1]));
        for url in [URLS[0], URLS[2]] {
            let taken = moved.iter().filter(|(_, after)| **after == url).count();
            assert!(taken * 3 > moved.len(), "{url} takes {taken} of {}", moved.len());
        }
    }

    #[test]
    fn a_key_is_displaced_while_the_one_whose_it_is_is_out() {
        let now = Instant::now();
        let (group, own) = seen_by(0);
        let key = (0..KEYS).find(|&key| group.owner(key, own, &[], now) == Some(1)).unwrap();
        assert!(!group.is_displaced(key, own, now));
        group.note(1, Showed::Failure, Duration::ZERO, now);
        assert!(group.is_displaced(key, own, now));
        assert_ne!(group.owner(key, own, &[], now), Some(1));
        group.note(0, Showed::Failure, Duration::ZERO, now);
        assert_eq!(group.owner(key, own, &[], now), None, "nobody else is left");
    }
}
