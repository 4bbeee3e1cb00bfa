//! Fetches under way, by the epoch at which they began.
//!
//! Rules are forgotten once nothing older than them is stored. What is being fetched is not stored yet, but may be
//! soon, as old as its beginning: a [`Birth`] says so for as long as it lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::ledger::{Epoch, Ledger};

/// How many fetches began at each epoch and have not ended.
#[derive(Debug, Default)]
pub(crate) struct Births(Mutex<BTreeMap<Epoch, usize>>);

impl Births {
    /// The oldest; none when nothing is under way.
    pub(crate) fn oldest(&self) -> Option<Epoch> {
        self.0.lock().first_key_value().map(|(&epoch, _)| epoch)
    }
}

/// A fetch under way.
pub struct Birth {
    ledger: Arc<Ledger>,
    epoch: Epoch,
}

impl Birth {
    /// Notes that a fetch begins. The epoch is read under the lock, so that nobody who asks for the oldest misses it.
    #[must_use]
    pub fn now(ledger: &Arc<Ledger>) -> Birth {
        let mut under_way = ledger.births.0.lock();
        let epoch = ledger.epoch();
        *under_way.entry(epoch).or_default() += 1;
        drop(under_way);
        Birth { ledger: ledger.clone(), epoch }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl std::fmt::Debug for Birth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Birth").field(&self.epoch).finish()
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        let mut under_way = self.ledger.births.0.lock();
        let count = under_way.get_mut(&self.epoch).expect("a birth is counted while it lives");
        *count -= 1;
        if *count == 0 {
            under_way.remove(&self.epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;
    use crate::{PurgeKind, PurgeMode, PurgeRule};

    #[test]
    fn the_oldest_fetch_under_way_is_known_until_it_ends() {
        let ledger = Arc::new(Ledger::default());
        let first = [Birth::now(&ledger), Birth::now(&ledger)];
        let rule = PurgeRule::new(PurgeKind::All, "", PurgeMode::Hard, Time::ZERO).expect("it is a rule");
        let purged = ledger.apply(rule);
        let second = Birth::now(&ledger);
        assert_eq!((ledger.oldest_birth(), second.epoch()), (Epoch(0), purged));
        drop(first);
        assert_eq!(ledger.oldest_birth(), purged);
        drop(second);
        assert_eq!(ledger.oldest_birth(), ledger.epoch());
    }
}
