//! Purge rules, found by what they name.
//!
//! Each rule stands once in order of epoch, for journal and bounds, and once as a mark under the 128-bit hash of its
//! name; should two names ever share a hash, too much is purged, never too little. A mark keeps the youngest rule of
//! each mode, because older ones for the same name can add nothing: they are dropped. At the bounds the oldest rules
//! are folded: prefix and pattern rules into rules for their hosts, those for single variants into
//! rules for their URLs, rules at large into one for everything that is as
//! old. Patterns have no name that an object could be looked up by: those that are younger than the object are tried in
//! turn, which is why they are few. Nothing here takes long, because workers that check an object wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::key::{KeyBuffer, KeyRef, Scheme};
use crate::ledger::{Epoch, LedgerLimits};
use crate::marks::{ByName, Mark, Marks, Name, Place};
use crate::purge_pattern::PurgePattern;
use crate::purge_rule::{PurgeKind, PurgeMode, PurgeRule, without_port};
use crate::selected_rules::SelectedRules;
use crate::selection::Selection;
use crate::standing::Standing;
use crate::tags::Tags;
use crate::vary::VaryFacts;

/// Fewest rules a bound may allow: folding half of them leaves up to two broad rules.
const RULES_MAX_FLOOR: usize = 8;
/// Rules that are folded at once.
const FOLD_RULES_MAX: usize = 256;

/// The name of everything.
const EVERYTHING: Name = 0;
const URL_SEED: u64 = 1;
const HOST_SEED: u64 = 2;
const TAG_SEED: u64 = 3;
const SITE_SEED: u64 = 4;
const WILDCARD_SEED: u64 = 5;
const REGEX_SEED: u64 = 6;

/// The rules of a ledger.
pub(crate) struct RuleIndex {
    kept: BTreeMap<Place, PurgeRule>,
    marks: Marks,
    /// Places of the prefix rules.
    prefix_places: BTreeSet<Place>,
    /// For each host with prefix rules, the lengths of its prefixes and how many have each.
    prefix_lengths: ByName<SmallVec<[(usize, u32); 4]>>,
    /// The rules by wildcard and regular expression.
    patterns: BTreeMap<Place, (PurgePattern, PurgeMode)>,
    /// The rules for single variants.
    selected: SelectedRules,
    /// How many rules name a site.
    sites: usize,
    next: u64,
    folded: u64,
    /// The youngest rule that was folded into one for everything.
    folded_until: Epoch,
    /// Whether there were ever rules that are kept on the disk, and ever rules that are not.
    had_durable: bool,
    had_volatile: bool,
    rules_max: usize,
    tags_ignore_case: bool,
}

impl RuleIndex {
    pub(crate) fn new(rules_max: usize, tags_ignore_case: bool) -> Self {
        RuleIndex {
            kept: BTreeMap::new(),
            marks: Marks::new(rules_max),
            prefix_places: BTreeSet::new(),
            prefix_lengths: ByName::default(),
            patterns: BTreeMap::new(),
            selected: SelectedRules::default(),
            sites: 0,
            next: 0,
            folded: 0,
            folded_until: Epoch(0),
            had_durable: false,
            had_volatile: false,
            rules_max,
            tags_ignore_case,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Rules that were folded into broader ones.
    pub(crate) fn folded(&self) -> u64 {
        self.folded
    }

    /// Up to `count` rules behind a place (from the oldest epoch on without one), and the place of the last.
    pub(crate) fn page(&self, after: Option<Place>, count: usize) -> (Vec<PurgeRule>, Option<Place>) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = self.kept.range((from, Bound::Unbounded)).take(count);
        let mut last = None;
        let rules = page.map(|(&place, rule)| (last = Some(place), rule.clone()).1).collect();
        (rules, last)
    }

    /// The epochs of a range whose rules are kept, and up to which epoch rules were folded into rules for everything.
    pub(crate) fn held(&self, first: Epoch, last: Epoch) -> (Vec<Epoch>, Epoch) {
        let range = self.kept.range((first, 0)..=(last, u64::MAX));
        (range.map(|(place, _)| place.0).collect(), self.folded_until)
    }

    /// Adds a rule. A hard rule for everything covers what is older: that is given back, to be freed outside the lock.
    pub(crate) fn add(&mut self, epoch: Epoch, rule: PurgeRule) -> Option<RuleIndex> {
        let everything = rule.kind() == PurgeKind::All && rule.mode == PurgeMode::Hard;
        if everything && (rule.is_durable() || !self.had_durable) {
            let covered = self.split_at(epoch);
            self.enter(epoch, rule);
            return Some(covered);
        }
        let crowded = rule.selection().map(|_| self.name_of(&rule));
        self.enter(epoch, rule);
        if let Some(place) = crowded.and_then(|url| self.selected.beyond(url)) {
            self.fold_selected(place);
        }
        None
    }

    /// The strongest of the rules that are younger than `born` and match.
    pub(crate) fn standing(&self, key: KeyRef<'_>, tags: &Tags, vary: &VaryFacts, born: Epoch) -> Standing {
        let mut found = Mark::default();
        let mut look = |name: Name| {
            if let Some(mark) = self.marks.get(name) {
                found.raise(mark);
            }
        };
        look(EVERYTHING);
        let url = xxh3_128_with_seed(key.resource(), URL_SEED);
        look(url);
        let host = xxh3_128_with_seed(key.host(), HOST_SEED);
        look(host);
        look(path_name(host, key.host_and_path().1));
        tags.iter().for_each(|tag| look(self.tag_name(tag)));
        for &(length, _) in self.prefix_lengths.get(&host).into_iter().flatten() {
            if let Some(prefix) = key.target().get(..length) {
                look(prefix_name(host, prefix));
            }
        }
        if self.sites > 0 {
            let name = without_port(key.host());
            look(xxh3_128_with_seed(name, SITE_SEED));
            memchr::memchr_iter(b'.', name).for_each(|dot| look(xxh3_128_with_seed(&name[dot..], SITE_SEED)));
        }
        let by_name = found.standing(born).max(self.selected.standing(url, vary, born));
        by_name.max(self.standing_by_patterns(key, born))
    }

    /// The youngest patterns first: a hard one that matches ends the search.
    fn standing_by_patterns(&self, key: KeyRef<'_>, born: Epoch) -> Standing {
        let mut found = Standing::Clear;
        for (_, (pattern, mode)) in self.patterns.range((Epoch(born.0 + 1), 0)..).rev() {
            if *mode == PurgeMode::Soft && found == Standing::Soft {
                continue;
            }
            if pattern.matches(key) {
                match mode {
                    PurgeMode::Hard => return Standing::Hard,
                    PurgeMode::Soft => found = Standing::Soft,
                }
            }
        }
        found
    }

    /// Drops up to `count` of the rules with epochs up to `oldest`; false when none are left.
    pub(crate) fn forget_until(&mut self, oldest: Epoch, count: usize) -> bool {
        for _ in 0..count {
            match self.kept.first_key_value() {
                Some((&place, _)) if place.0 <= oldest => self.discard(place),
                _ => return false,
            };
        }
        true
    }

    /// Folds the oldest rules while a bound is passed.
    pub(crate) fn keep_within(&mut self, limits: LedgerLimits) {
        if self.prefix_places.len() > limits.prefix_rules_max {
            self.fold_prefixes();
        }
        if self.patterns.len() > limits.pattern_rules_max {
            self.fold_patterns();
        }
        if self.selected.len() > limits.selected_rules_max
            && let Some(place) = self.selected.oldest()
        {
            self.fold_selected(place);
        }
        if self.kept.len() > limits.rules_max.max(RULES_MAX_FLOOR) {
            self.fold_all();
        }
    }

    fn tag_name(&self, tag: &[u8]) -> Name {
        if !self.tags_ignore_case {
            return xxh3_128_with_seed(tag, TAG_SEED);
        }
        let mut folded = SmallVec::<[u8; 128]>::from_slice(tag);
        folded.make_ascii_lowercase();
        xxh3_128_with_seed(&folded, TAG_SEED)
    }

    fn name_of(&self, rule: &PurgeRule) -> Name {
        let (host, target) = rule.host_and_target();
        match rule.kind() {
            PurgeKind::All => EVERYTHING,
            PurgeKind::Tag => self.tag_name(rule.value().as_bytes()),
            PurgeKind::Host => host_name(host),
            // A name alone, or the dot and what hosts below it end in.
            PurgeKind::Site => {
                let value = rule.value();
                xxh3_128_with_seed(value.strip_prefix('*').unwrap_or(value).as_bytes(), SITE_SEED)
            }
            PurgeKind::Wildcard => xxh3_128_with_seed(rule.value().as_bytes(), WILDCARD_SEED),
            PurgeKind::Regex => xxh3_128_with_seed(rule.value().as_bytes(), REGEX_SEED),
            PurgeKind::Path => path_name(host_name(host), target.as_bytes()),
            PurgeKind::Prefix => prefix_name(host_name(host), target.as_bytes()),
            PurgeKind::Url => {
                let mut key = KeyBuffer::new();
                key.begin(Scheme::Https, host.as_bytes(), target.as_bytes());
                xxh3_128_with_seed(key.key().resource(), URL_SEED)
            }
        }
    }

    /// Enters a rule, unless one that is kept covers it, and drops those that it covers by name.
    ///
    /// A rule that is on the disk is never dropped for one that is not, and so would be missing after a restart: it
    /// stays behind that one's mark.
    fn enter(&mut self, epoch: Epoch, mut rule: PurgeRule) {
        let place = (epoch, self.next);
        self.next += 1;
        rule.epoch = Some(epoch);
        let durable = rule.is_durable();
        self.had_durable |= durable;
        self.had_volatile |= !durable;
        let name = self.name_of(&rule);
        let covers = |mark: Option<&Mark>| mark.is_some_and(|mark| mark.covers(place, rule.mode));
        let is_selected = |selection: &Arc<Selection>| self.selected.cover(name, selection, place, rule.mode);
        let covered = covers(self.marks.get(EVERYTHING))
            || covers(self.marks.get(name))
            || rule.selection().is_some_and(is_selected);
        if covered && !(durable && self.had_volatile) {
            return;
        }
        if rule.kind() == PurgeKind::Prefix {
            self.prefix_places.insert(place);
            self.count_prefix(&rule, 1);
        }
        if let Some(pattern) = rule.pattern() {
            self.patterns.insert(place, (pattern.clone(), rule.mode));
        }
        self.sites += usize::from(rule.kind() == PurgeKind::Site);
        let superfluous = if covered { SmallVec::new() } else { self.mark(name, place, &rule) };
        self.kept.insert(place, rule);
        for place in superfluous {
            if durable || self.kept.get(&place).is_some_and(|older| !older.is_durable()) {
                self.discard(place);
            }
        }
    }

    /// Makes a rule that is not covered one that is found; returns the rules it makes superfluous.
    fn mark(&mut self, name: Name, place: Place, rule: &PurgeRule) -> SmallVec<[Place; 2]> {
        if let Some(selection) = rule.selection() {
            return self.selected.enter(name, selection, place, rule.mode);
        }
        let mut superfluous = self.marks.enter(name, place, rule.mode);
        if rule.kind() == PurgeKind::Url {
            superfluous.extend(self.selected.covered_by(name, place, rule.mode));
        }
        superfluous
    }

    /// Takes a rule out, with its mark.
    fn discard(&mut self, place: Place) -> Option<PurgeRule> {
        let rule = self.kept.remove(&place)?;
        let name = self.name_of(&rule);
        self.marks.erase(name, place);
        if rule.kind() == PurgeKind::Prefix {
            self.prefix_places.remove(&place);
            self.count_prefix(&rule, -1);
        }
        self.patterns.remove(&place);
        self.selected.erase(place);
        self.sites -= usize::from(rule.kind() == PurgeKind::Site);
        Some(rule)
    }

    fn count_prefix(&mut self, rule: &PurgeRule, change: i32) {
        let (host, prefix) = rule.host_and_target();
        let host = host_name(host);
        let lengths = self.prefix_lengths.entry(host).or_default();
        match lengths.iter_mut().find(|(length, _)| *length == prefix.len()) {
            Some((_, count)) => *count = count.saturating_add_signed(change),
            None => lengths.push((prefix.len(), 1)),
        }
        lengths.retain(|(_, count)| *count > 0);
        if lengths.is_empty() {
            self.prefix_lengths.remove(&host);
        }
    }

    /// Keeps only the rules of younger epochs; gives back the rest.
    fn split_at(&mut self, epoch: Epoch) -> RuleIndex {
        let mut covered = std::mem::replace(self, RuleIndex::new(self.rules_max, self.tags_ignore_case));
        (self.next, self.folded, self.folded_until) = (covered.next, covered.folded, covered.folded_until);
        let younger = covered.kept.split_off(&(Epoch(epoch.0 + 1), 0));
        for rule in younger.into_values() {
            self.enter(epoch_of(&rule), rule);
        }
        covered
    }

    fn fold_prefixes(&mut self) {
        for _ in 0..fold_count(self.prefix_places.len()) {
            let Some(&place) = self.prefix_places.first() else { return };
            if let Some(rule) = self.discard(place) {
                self.folded += 1;
                self.enter(epoch_of(&rule), rule.widened_to_host());
            }
        }
    }

    fn fold_patterns(&mut self) {
        for _ in 0..fold_count(self.patterns.len()) {
            let Some((&place, _)) = self.patterns.first_key_value() else { return };
            if let Some(rule) = self.discard(place) {
                self.folded += 1;
                self.enter(epoch_of(&rule), rule.widened_to_host());
            }
        }
    }

    /// One at a time: one is added at a time.
    fn fold_selected(&mut self, place: Place) {
        if let Some(rule) = self.discard(place) {
            self.folded += 1;
            self.enter(epoch_of(&rule), rule.widened_to_url());
        }
    }

    fn fold_all(&mut self) {
        let mut youngest: [Option<PurgeRule>; 2] = [None, None];
        for _ in 0..fold_count(self.kept.len()) {
            let Some((&place, _)) = self.kept.first_key_value() else { break };
            if let Some(rule) = self.discard(place) {
                self.folded += 1;
                self.folded_until = self.folded_until.max(place.0);
                let slot = usize::from(rule.mode == PurgeMode::Hard);
                youngest[slot] = Some(rule);
            }
        }
        youngest.into_iter().flatten().for_each(|rule| self.enter(epoch_of(&rule), rule.widened_to_all()));
    }
}

/// How many of the oldest rules are folded at once: so few that a check hardly waits for it.
fn fold_count(rules: usize) -> usize {
    FOLD_RULES_MAX.min(rules.div_ceil(2))
}

fn epoch_of(rule: &PurgeRule) -> Epoch {
    rule.epoch.expect("kept rules have an epoch")
}

fn host_name(host: &str) -> Name {
    xxh3_128_with_seed(host.as_bytes(), HOST_SEED)
}

fn prefix_name(host: Name, prefix: &[u8]) -> Name {
    xxh3_128_with_seed(prefix, host as u64)
}

/// The other half of the host's hash, so that no path is taken for a prefix.
fn path_name(host: Name, path: &[u8]) -> Name {
    xxh3_128_with_seed(path, (host >> 64) as u64)
}
