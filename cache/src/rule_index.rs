//! Purge rules, found by what they name.
//!
//! Each rule stands once in order of epoch, for journal and bounds, and once as a mark under the 128-bit hash of its
//! name; should two names ever share a hash, too much is purged, never too little. A mark keeps the youngest rule of
//! each mode, because older ones for the same name can add nothing: they are dropped. At the bounds the oldest half is
//! folded: prefix rules into rules for their hosts, rules at large into one for everything.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::key::{KeyBuffer, KeyRef, Scheme};
use crate::ledger::{Epoch, LedgerLimits};
use crate::purge_rule::{PurgeKind, PurgeMode, PurgeRule};
use crate::standing::Standing;
use crate::tags::Tags;

/// Fewest rules a bound may allow: folding leaves up to two broad rules beside the younger half.
const RULES_MAX_FLOOR: usize = 8;

/// Hash of what a rule names, different for equal text of different kinds.
type Name = u128;

/// The name of everything.
const EVERYTHING: Name = 0;
const URL_SEED: u64 = 1;
const HOST_SEED: u64 = 2;
const TAG_SEED: u64 = 3;

/// Names are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("names are hashed as one u128");
    }

    fn write_u128(&mut self, name: u128) {
        self.0 = name as u64;
    }
}

type ByName<V> = HashMap<Name, V, BuildHasherDefault<AsIs>>;

/// Place of a rule among those kept: its epoch, and its number among all rules.
type Place = (Epoch, u64);

/// The youngest rule of each mode for one name.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    hard: Option<Place>,
    soft: Option<Place>,
}

impl Mark {
    /// Whether a rule of `mode` at `place` adds nothing to this mark.
    fn covers(&self, place: Place, mode: PurgeMode) -> bool {
        let younger = |own: Option<Place>| own.is_some_and(|own| own > place);
        younger(self.hard) || (mode == PurgeMode::Soft && younger(self.soft))
    }

    /// Enters a rule that is not covered; returns the rules it makes superfluous.
    fn enter(&mut self, place: Place, mode: PurgeMode) -> SmallVec<[Place; 2]> {
        let mut superfluous = SmallVec::new();
        match mode {
            PurgeMode::Soft => superfluous.extend(self.soft.replace(place)),
            PurgeMode::Hard => {
                superfluous.extend(self.hard.replace(place));
                superfluous.extend(self.soft.take_if(|soft| *soft < place));
            }
        }
        superfluous
    }

    fn raise(&mut self, other: &Mark) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
    }

    fn standing(&self, born: Epoch) -> Standing {
        let younger = |place: Option<Place>| place.is_some_and(|(epoch, _)| epoch > born);
        match (younger(self.hard), younger(self.soft)) {
            (true, _) => Standing::Hard,
            (false, true) => Standing::Soft,
            (false, false) => Standing::Clear,
        }
    }
}

/// The rules of a ledger.
#[derive(Default)]
pub(crate) struct RuleIndex {
    kept: BTreeMap<Place, PurgeRule>,
    marks: ByName<Mark>,
    /// For each host with prefix rules, the distinct lengths of the prefixes.
    prefix_lengths: ByName<SmallVec<[usize; 4]>>,
    /// Distinct prefixes.
    prefixes: usize,
    next: u64,
    folded: u64,
}

impl RuleIndex {
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Rules that were folded into broader ones.
    pub(crate) fn folded(&self) -> u64 {
        self.folded
    }

    /// The rules, oldest epoch first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &PurgeRule> {
        self.kept.values()
    }

    pub(crate) fn add(&mut self, epoch: Epoch, mut rule: PurgeRule) {
        let place = (epoch, self.next);
        self.next += 1;
        rule.epoch = Some(epoch);
        let name = Self::name_of(&rule);
        let covers = |mark: Option<&Mark>| mark.is_some_and(|mark| mark.covers(place, rule.mode));
        if covers(self.marks.get(&EVERYTHING)) || covers(self.marks.get(&name)) {
            return;
        }
        if name == EVERYTHING {
            self.drop_covered_by_everything(place, rule.mode);
        }
        self.mark(name, place, &rule);
        self.kept.insert(place, rule);
    }

    /// The strongest of the rules that are younger than `born` and match.
    pub(crate) fn standing(&self, key: KeyRef<'_>, tags: &Tags, born: Epoch) -> Standing {
        let mut found = Mark::default();
        let mut look = |name: Name| {
            if let Some(mark) = self.marks.get(&name) {
                found.raise(mark);
            }
        };
        look(EVERYTHING);
        look(xxh3_128_with_seed(key.resource(), URL_SEED));
        let host = xxh3_128_with_seed(key.host(), HOST_SEED);
        look(host);
        tags.iter().for_each(|tag| look(xxh3_128_with_seed(tag, TAG_SEED)));
        for &length in self.prefix_lengths.get(&host).into_iter().flatten() {
            if let Some(prefix) = key.target().get(..length) {
                look(prefix_name(host, prefix));
            }
        }
        found.standing(born)
    }

    /// Drops the rules with epochs up to `oldest`.
    pub(crate) fn forget_until(&mut self, oldest: Epoch) {
        self.kept = self.kept.split_off(&(Epoch(oldest.0 + 1), 0));
        self.rebuild();
    }

    /// Folds the oldest half while a bound is passed.
    pub(crate) fn keep_within(&mut self, limits: LedgerLimits) {
        if self.prefixes > limits.prefix_rules_max {
            self.fold_prefixes();
        }
        if self.kept.len() > limits.rules_max.max(RULES_MAX_FLOOR) {
            self.fold_all();
        }
    }

    fn name_of(rule: &PurgeRule) -> Name {
        let (host, target) = rule.host_and_target();
        match rule.kind() {
            PurgeKind::All => EVERYTHING,
            PurgeKind::Tag => xxh3_128_with_seed(rule.value().as_bytes(), TAG_SEED),
            PurgeKind::Host => host_name(host),
            PurgeKind::Prefix => prefix_name(host_name(host), target.as_bytes()),
            PurgeKind::Url => {
                let mut key = KeyBuffer::new();
                key.begin(Scheme::Https, host.as_bytes(), target.as_bytes());
                xxh3_128_with_seed(key.key().resource(), URL_SEED)
            }
        }
    }

    /// Enters a rule's mark and takes out of `kept` what it makes superfluous.
    fn mark(&mut self, name: Name, place: Place, rule: &PurgeRule) {
        let known = self.marks.contains_key(&name);
        for superfluous in self.marks.entry(name).or_default().enter(place, rule.mode) {
            self.kept.remove(&superfluous);
        }
        if rule.kind() == PurgeKind::Prefix && !known {
            let (host, prefix) = rule.host_and_target();
            let lengths = self.prefix_lengths.entry(host_name(host)).or_default();
            if !lengths.contains(&prefix.len()) {
                lengths.push(prefix.len());
            }
            self.prefixes += 1;
        }
    }

    /// A rule for everything covers every older rule that is not harder than itself.
    fn drop_covered_by_everything(&mut self, place: Place, mode: PurgeMode) {
        self.kept.retain(|&other, rule| other > place || rule.mode > mode);
        self.rebuild();
    }

    fn rebuild(&mut self) {
        self.marks.clear();
        self.prefix_lengths.clear();
        self.prefixes = 0;
        for (place, rule) in std::mem::take(&mut self.kept) {
            self.mark(Self::name_of(&rule), place, &rule);
            self.kept.insert(place, rule);
        }
    }

    fn fold_prefixes(&mut self) {
        let oldest: Vec<Place> =
            self.kept.iter().filter(|(_, rule)| rule.kind() == PurgeKind::Prefix).map(|(p, _)| *p).collect();
        let half = oldest.len().div_ceil(2);
        let folded: Vec<PurgeRule> = oldest[..half].iter().filter_map(|place| self.kept.remove(place)).collect();
        self.rebuild();
        self.folded += folded.len() as u64;
        for rule in folded {
            self.add(rule.epoch.expect("kept rules have an epoch"), rule.widened_to_host());
        }
    }

    fn fold_all(&mut self) {
        let Some((&border, _)) = self.kept.iter().nth(self.kept.len().div_ceil(2)) else { return };
        let younger = self.kept.split_off(&border);
        let older = std::mem::replace(&mut self.kept, younger);
        self.rebuild();
        self.folded += older.len() as u64;
        for mode in [PurgeMode::Hard, PurgeMode::Soft] {
            if let Some(youngest) = older.values().rev().find(|rule| rule.mode == mode) {
                self.add(youngest.epoch.expect("kept rules have an epoch"), youngest.widened_to_all());
            }
        }
    }
}

fn host_name(host: &str) -> Name {
    xxh3_128_with_seed(host.as_bytes(), HOST_SEED)
}

fn prefix_name(host: Name, prefix: &[u8]) -> Name {
    xxh3_128_with_seed(prefix, host as u64)
}
