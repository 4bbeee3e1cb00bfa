//! Every purge that may still concern a stored object, checked in memory on every hit.
//!
//! A purge is a rule with an epoch, the number of the purge. An object remembers the epoch that was current before the
//! origin was asked for it (`born`); a rule whose epoch is greater matches it. Hard rules win over soft ones. Applying a
//! rule touches no object. A hit compares one version number and looks rules up only when some rule was applied since
//! the object's last check.
//!
//! The rules themselves stand in [`crate::rule_index`]. At its bounds too much is purged, never too little.
//!
//! A purge of one URL is one of every URL that a stored response has declared equivalent to it (No-Vary-Search), so the
//! ledger keeps those, too.
//!
//! The ledger is memory only. Whoever applies a rule makes it durable first, and applies the stored rules with their
//! own epochs, before the first request, when the node starts again.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::alternates::Alternates;
use crate::births::Births;
use crate::key::KeyRef;
use crate::object::Object;
use crate::purge_rule::{PurgeKind, PurgeRule};
use crate::purge_times::PurgeTimes;
use crate::rule_index::RuleIndex;
use crate::standing::Standing;
use crate::tags::Tags;
use crate::vary::VaryFacts;

/// Rules a ledger keeps apart unless told otherwise.
pub const RULES_MAX: usize = 1_000_000;
/// Prefix rules a ledger keeps apart unless told otherwise.
pub const PREFIX_RULES_MAX: usize = 1_024;
/// Rules by wildcard and regular expression that a ledger keeps apart unless told otherwise.
pub const PATTERN_RULES_MAX: usize = 256;

/// Rules for single variants of URLs that a ledger keeps apart unless told otherwise.
pub const SELECTED_RULES_MAX: usize = 16_384;

/// Rules that are handled while workers may have to wait.
const RULES_PER_LOCK: usize = 256;

/// The number of a purge. Zero comes before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// Bounds of a ledger, in rules, and how it reads tags.
#[derive(Debug, Clone, Copy)]
pub struct LedgerLimits {
    pub rules_max: usize,
    pub prefix_rules_max: usize,
    pub pattern_rules_max: usize,
    pub selected_rules_max: usize,
    /// Tags match without regard to the case of ASCII letters.
    pub tags_ignore_case: bool,
}

impl Default for LedgerLimits {
    fn default() -> Self {
        LedgerLimits {
            rules_max: RULES_MAX,
            prefix_rules_max: PREFIX_RULES_MAX,
            pattern_rules_max: PATTERN_RULES_MAX,
            selected_rules_max: SELECTED_RULES_MAX,
            tags_ignore_case: false,
        }
    }
}

/// What a ledger did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerStats {
    /// Rules kept now.
    pub rules: u64,
    pub applied: u64,
    /// Rules that were folded into broader ones because there were too many.
    pub folded: u64,
}

/// The purge rules of a node.
pub struct Ledger {
    /// Stored under one URL, good for others.
    pub alternates: Alternates,
    /// When which purge was given.
    pub times: PurgeTimes,
    pub(crate) births: Births,
    limits: LedgerLimits,
    /// Greatest epoch given out or restored.
    epoch: AtomicU64,
    /// Changes whenever a rule is applied, also one with an old epoch.
    version: AtomicU64,
    applied: AtomicU64,
    rules: RwLock<RuleIndex>,
}

impl Ledger {
    #[must_use]
    pub fn new(limits: LedgerLimits) -> Self {
        let zero = || AtomicU64::new(0);
        Ledger {
            alternates: Alternates::default(),
            times: PurgeTimes::default(),
            births: Births::default(),
            limits,
            epoch: zero(),
            version: zero(),
            applied: zero(),
            rules: RwLock::new(RuleIndex::new(limits.rules_max, limits.tags_ignore_case)),
        }
    }

    /// The current epoch. Read it before the request goes to the origin: it is the `born` of what comes back.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// Goes on from this epoch, if it is not beyond it: something older than a restart was born in it.
    pub fn continue_from(&self, epoch: Epoch) {
        self.epoch.fetch_max(epoch.0, Ordering::AcqRel);
    }

    /// Takes the next epochs for rules that are yet to be made durable; returns the first. What is asked from the origin
    /// from now on is no older than the purge, so it need not match.
    pub fn reserve(&self, count: u64) -> Epoch {
        Epoch(self.epoch.fetch_add(count, Ordering::AcqRel) + 1)
    }

    /// Applies a rule and returns its epoch: the next one, or its own when it was reserved or is restored.
    pub fn apply(&self, rule: PurgeRule) -> Epoch {
        let epoch = rule.epoch.unwrap_or_else(|| self.reserve(1));
        let equivalent = self.equivalent_to(&rule);
        self.times.note(rule.at, epoch);
        let mut rules = self.rules.write();
        let covered = rules.add(epoch, rule);
        for rule in equivalent {
            rules.add(epoch, rule);
        }
        rules.keep_within(self.limits);
        self.applied.fetch_add(1, Ordering::Relaxed);
        self.epoch.fetch_max(epoch.0, Ordering::AcqRel);
        // Whoever reads the new version afterwards takes the lock and finds the rule.
        self.version.fetch_add(1, Ordering::Release);
        drop(rules);
        // Perhaps many rules, which nobody has to wait for.
        drop(covered);
        epoch
    }

    pub(crate) fn limits(&self) -> LedgerLimits {
        self.limits
    }

    /// The same purge for the URLs that are known to be equivalent to a rule's.
    pub(crate) fn equivalent_to(&self, rule: &PurgeRule) -> Vec<PurgeRule> {
        if rule.kind() != PurgeKind::Url {
            return Vec::new();
        }
        let (host, target) = rule.host_and_target();
        let keys = self.alternates.equivalent_to(host.as_bytes(), target.as_bytes());
        keys.iter().filter_map(|key| rule.for_url(key.as_ref().host(), key.as_ref().target())).collect()
    }

    /// What the rules say of a stored object.
    pub fn check(&self, object: &Object) -> Standing {
        if let Some(standing) = object.verdict().at(self.version.load(Ordering::Acquire)) {
            return standing;
        }
        let rules = self.rules.read();
        let version = self.version.load(Ordering::Acquire);
        let standing = rules.standing(object.key.as_ref(), &object.tags, &object.vary, object.born);
        object.verdict().set(version, standing);
        standing
    }

    /// What the rules say of a response that was asked for at `born`: at the end of a fill, whether it was purged
    /// meanwhile.
    pub fn standing_of(&self, key: KeyRef<'_>, tags: &Tags, vary: &VaryFacts, born: Epoch) -> Standing {
        // Nothing was purged since: no rule can be younger.
        if self.epoch() <= born {
            return Standing::Clear;
        }
        self.rules.read().standing(key, tags, vary, born)
    }

    /// Every rule, oldest epoch first, for the journal and for people. Taken page by page, so that workers never wait
    /// long: a rule that is applied meanwhile may be missing.
    pub fn rules(&self) -> Vec<PurgeRule> {
        let mut all = Vec::new();
        let mut last = None;
        loop {
            let (page, end) = self.rules.read().page(last, RULES_PER_LOCK);
            if page.is_empty() {
                return all;
            }
            all.extend(page);
            last = end;
        }
    }

    /// For the journal: the epochs from `first` to `last` whose rules are kept, and the epoch up to which rules were folded
    /// into rules for everything. Of a durable rule beyond that which is not kept, the journal needs nothing any more:
    /// it was forgotten, or one that is durable covers it.
    pub fn held(&self, first: Epoch, last: Epoch) -> (Vec<Epoch>, Epoch) {
        self.rules.read().held(first, last)
    }

    /// The epoch that nothing is older than that is being fetched, or will be. Ask it before looking at what is stored:
    /// what ends meanwhile is found there.
    pub fn oldest_birth(&self) -> Epoch {
        // Read first: a fetch that begins between the two reads is no older.
        let now = self.epoch();
        self.births.oldest().map_or(now, |oldest| oldest.min(now))
    }

    /// Drops the rules up to `oldest`, which must not be greater than the `born` of anything stored or being fetched.
    pub fn forget_until(&self, oldest: Epoch) {
        while self.rules.write().forget_until(oldest, RULES_PER_LOCK) {}
    }

    pub fn stats(&self) -> LedgerStats {
        let rules = self.rules.read();
        let applied = self.applied.load(Ordering::Relaxed);
        LedgerStats { rules: rules.len() as u64, applied, folded: rules.folded() }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger::new(LedgerLimits::default())
    }
}

#[cfg(test)]
mod tests;
