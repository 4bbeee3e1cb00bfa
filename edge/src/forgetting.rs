//! What looks at everything stored, off the workers: which purge rules nothing needs any more, and what a purge would
//! reach.
//!
//! Every place that keeps responses with the epoch they were born at is asked here. One that is left out would give
//! back what was purged, once its rule is forgotten.

use headland_cache::{Epoch, PurgeRule, Reach, Survey};

use crate::node::Node;

impl Node {
    /// Drops the rules up to `until` as far as nothing older is stored or being fetched; returns how far that was.
    pub fn forget_rules(&self, until: Epoch) -> Epoch {
        // Before the stores: a fetch that ends meanwhile is found in them.
        let mut oldest = self.ledger.oldest_birth().min(until);
        self.store.visit(|object| oldest = oldest.min(object.born));
        if let Some(disk) = self.disk.get() {
            oldest = oldest.min(disk.oldest_birth());
        }
        self.hints.forget_before(oldest);
        self.ledger.forget_until(oldest);
        oldest
    }

    /// What each of these purges would reach.
    pub fn reach(&self, rules: &[PurgeRule]) -> Vec<Reach> {
        let mut survey = Survey::new(&self.ledger, rules);
        self.store.visit(|object| survey.look(&self.ledger, object));
        survey.reaches()
    }
}
