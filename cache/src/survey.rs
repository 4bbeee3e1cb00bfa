//! What a purge would reach, without purging: every stored object is shown to the rules, which are in no ledger.

use std::sync::Arc;

use crate::ledger::{Epoch, Ledger};
use crate::object::Object;
use crate::purge_rule::PurgeRule;
use crate::rule_index::RuleIndex;
use crate::standing::Standing;

/// What one rule would reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    pub objects: u64,
    /// Bytes of memory that they take.
    pub bytes: u64,
}

/// Rules that are tried, each with what it would have reached so far.
pub struct Survey {
    /// All rules, so that an object that none of them matches is looked at once.
    any: RuleIndex,
    rules: Vec<(RuleIndex, Reach)>,
}

/// The rules of a survey are younger than everything.
const YOUNG: Epoch = Epoch(u64::MAX);

impl Survey {
    /// A survey of these rules, and of what the ledger knows to be equivalent to them.
    #[must_use]
    pub fn new(ledger: &Ledger, rules: &[PurgeRule]) -> Self {
        let ignore_case = ledger.limits().tags_ignore_case;
        let mut any = RuleIndex::new(rules.len(), ignore_case);
        let mut each = Vec::with_capacity(rules.len());
        for rule in rules {
            let mut own = RuleIndex::new(1, ignore_case);
            for rule in ledger.equivalent_to(rule).into_iter().chain([rule.clone()]) {
                any.add(YOUNG, rule.clone());
                own.add(YOUNG, rule);
            }
            each.push((own, Reach::default()));
        }
        Survey { any, rules: each }
    }

    /// Counts an object that is stored and not gone already.
    pub fn look(&mut self, ledger: &Ledger, object: &Arc<Object>) {
        let matches = |rules: &RuleIndex| {
            rules.standing(object.key.as_ref(), &object.tags, &object.vary, object.born) != Standing::Clear
        };
        if !matches(&self.any) || ledger.check(object) == Standing::Hard {
            return;
        }
        let weight = object.weight();
        for (rule, reach) in &mut self.rules {
            if matches(rule) {
                reach.objects += 1;
                reach.bytes += weight;
            }
        }
    }

    /// What each rule would reach, in the order given.
    pub fn reaches(&self) -> Vec<Reach> {
        self.rules.iter().map(|(_, reach)| *reach).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::parts;
    use crate::time::Time;
    use crate::{MemoryStore, PurgeKind, PurgeMode};

    fn rule(kind: PurgeKind, value: &str) -> PurgeRule {
        PurgeRule::new(kind, value, PurgeMode::Hard, Time::ZERO).expect("it is a rule")
    }

    #[test]
    fn each_rule_counts_what_it_would_reach_and_nothing_is_purged() {
        let (ledger, store) = (Ledger::default(), MemoryStore::with_shards(1 << 24, 4));
        for number in 0..1000 {
            store.insert(Arc::new(Object::new(parts("h.example", &format!("/{}/{number}", number % 2), 1))));
        }
        ledger.apply(rule(PurgeKind::Url, "h.example/0/0"));
        let rules = [
            rule(PurgeKind::Prefix, "h.example/0/"),
            rule(PurgeKind::Wildcard, "*/1/*9"),
            rule(PurgeKind::Url, "h.example/1/1"),
            rule(PurgeKind::Host, "i.example"),
        ];
        let mut survey = Survey::new(&ledger, &rules);
        store.visit(|object| survey.look(&ledger, object));
        let counts: Vec<_> = survey.reaches().iter().map(|reach| reach.objects).collect();
        assert_eq!(counts, [499, 100, 1, 0]);
        assert_eq!((ledger.stats().rules, store.stats().objects), (1, 1000));
    }
}
