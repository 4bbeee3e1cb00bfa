//! When which purge was given: the epoch of a moment, for what another cache stored then.
//!
//! Such a response was not asked for here, so that its birth is known as an age only. Purges of long ago are forgotten:
//! what is older than all that is kept counts as born with the oldest, so that the other cache is believed to have
//! known the purges before.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::ledger::Epoch;
use crate::time::Time;

/// Purges remembered.
const PURGES_MAX: usize = 4_096;

/// The newest purges, in the order of their times.
#[derive(Debug, Default)]
pub struct PurgeTimes(Mutex<VecDeque<(Time, Epoch)>>);

impl PurgeTimes {
    pub(crate) fn note(&self, at: Time, epoch: Epoch) {
        let mut purges = self.0.lock();
        // Purges of other nodes come a little later than they were given.
        let behind = purges.iter().rev().take_while(|(known, _)| *known > at).count();
        let place = purges.len() - behind;
        purges.insert(place, (at, epoch));
        if purges.len() > PURGES_MAX {
            purges.pop_front();
        }
    }

    /// The epoch of a moment: the purges given after it are younger. `now` is the present one.
    pub fn epoch_at(&self, moment: Time, now: Epoch) -> Epoch {
        let purges = self.0.lock();
        // All that are younger than the moment, whatever the order of their epochs.
        let younger = purges.iter().rev().take_while(|(at, _)| *at > moment);
        younger.map(|(_, epoch)| Epoch(epoch.0.saturating_sub(1))).min().map_or(now, |before| before.min(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn what_was_purged_after_a_moment_is_younger_than_its_epoch() {
        let times = PurgeTimes::default();
        assert_eq!(times.epoch_at(at(0), Epoch(7)), Epoch(7), "nothing was purged");
        times.note(at(1_000), Epoch(8));
        times.note(at(3_000), Epoch(10));
        // The ninth came late from elsewhere.
        times.note(at(2_000), Epoch(11));
        assert_eq!(times.epoch_at(at(999), Epoch(11)), Epoch(7));
        assert_eq!(times.epoch_at(at(1_000), Epoch(11)), Epoch(9));
        assert_eq!(times.epoch_at(at(2_000), Epoch(11)), Epoch(9));
        assert_eq!(times.epoch_at(at(3_000), Epoch(11)), Epoch(11));
    }

    #[test]
    fn purges_of_long_ago_are_forgotten() {
        let times = PurgeTimes::default();
        let last = PURGES_MAX as u64 + 10;
        for number in 1..=last {
            times.note(at(number), Epoch(number));
        }
        assert_eq!(times.epoch_at(at(0), Epoch(last)), Epoch(10));
        assert_eq!(times.epoch_at(at(last), Epoch(last)), Epoch(last));
    }
}
