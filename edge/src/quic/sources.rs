//! What one source of datagrams may cause before it has proven anything, or again and again after it has.
//!
//! A budget for each source, as a cell rate algorithm keeps it: a slot holds the time until which the source has spent what
//! it may. The table has a fixed size. Sources that fall into one slot share it while it is in use, and which ones do
//! depends on a key of this process, so that nobody can choose whom to share with.
//!
//! A source is an IPv4 address or an IPv6 /64: who has one address there has them all.

use std::net::IpAddr;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Sources that are told apart at a time; 64 KiB.
const SLOTS: usize = 4_096;
/// Nanoseconds of its rate that a source may spend at once.
const BURST_NS: u64 = 1_000_000_000;

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    source: u64,
    /// In nanoseconds of the caller's clock.
    spent_until: u64,
}

/// One kind of budget.
#[derive(Debug)]
pub struct Sources {
    slots: Box<[Slot]>,
    seed: u64,
}

impl Sources {
    pub fn new(seed: u64) -> Self {
        Sources { slots: vec![Slot::default(); SLOTS].into_boxed_slice(), seed }
    }

    /// Takes one from the budget of `per_second`; false when it is spent.
    pub fn take(&mut self, address: IpAddr, now_ns: u64, per_second: u32) -> bool {
        let source = self.source(address);
        let slot = &mut self.slots[source as usize % SLOTS];
        if slot.source != source && slot.spent_until <= now_ns {
            *slot = Slot { source, spent_until: now_ns };
        }
        let spent_until = slot.spent_until.max(now_ns) + BURST_NS / u64::from(per_second.max(1));
        let within = spent_until <= now_ns + BURST_NS;
        if within {
            slot.spent_until = spent_until;
        }
        within
    }

    fn source(&self, address: IpAddr) -> u64 {
        match address.to_canonical() {
            IpAddr::V4(address) => xxh3_64_with_seed(&address.octets(), self.seed),
            IpAddr::V6(address) => xxh3_64_with_seed(&address.octets()[..8], self.seed),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_has_its_rate_and_a_second_of_it_at_once() {
        let mut sources = Sources::new(7);
        let here = address("192.0.2.1");
        let taken = |sources: &mut Sources, now| (0..100).filter(|_| sources.take(here, now, 10)).count();
        assert_eq!(taken(&mut sources, SECOND), 10);
        assert_eq!(taken(&mut sources, SECOND + SECOND / 2), 5);
        assert_eq!(taken(&mut sources, 60 * SECOND), 10, "nothing is saved up");
    }

    #[test]
    fn sources_do_not_spend_what_is_others_and_a_network_of_ipv6_is_one_source() {
        let mut sources = Sources::new(7);
        let spend = |sources: &mut Sources, text| (0..9).filter(|_| sources.take(address(text), 0, 3)).count();
        assert_eq!(spend(&mut sources, "192.0.2.1"), 3);
        assert_eq!(spend(&mut sources, "192.0.2.2"), 3);
        assert_eq!(spend(&mut sources, "::ffff:192.0.2.1"), 0);
        assert_eq!(spend(&mut sources, "2001:db8::1"), 3);
        assert_eq!(spend(&mut sources, "2001:db8::2"), 0);
        assert_eq!(spend(&mut sources, "2001:db8:0:1::1"), 3);
    }

    #[test]
    fn a_slot_goes_to_the_next_source_when_its_time_is_over() {
        let mut sources = Sources::new(7);
        let at = |sources: &Sources, n: u32| sources.source(IpAddr::from(n.to_be_bytes())) as usize % SLOTS;
        let other = (2..1_000_000).find(|n| at(&sources, *n) == at(&sources, 1)).unwrap();
        let (one, other) = (IpAddr::from(1_u32.to_be_bytes()), IpAddr::from(other.to_be_bytes()));
        assert!(sources.take(one, SECOND, 1));
        assert!(!sources.take(other, SECOND, 1), "shared");
        assert!(sources.take(other, 2 * SECOND, 1));
        assert!(!sources.take(one, 2 * SECOND, 1));
    }
}
