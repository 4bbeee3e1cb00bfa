//! Purge rules for single variants, found by the URL that they name.
//!
//! They stand beside the marks, because a mark is one word for all that a name stands for, and these are asked with the
//! Vary of the response that is checked. Only responses under a URL that has such rules pay for them, and one URL has
//! few: what goes beyond is folded by the owner into rules for whole URLs.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::ledger::Epoch;
use crate::marks::{ByName, Name, Place};
use crate::purge_rule::PurgeMode;
use crate::selection::Selection;
use crate::standing::Standing;
use crate::vary::VaryFacts;

/// Rules for variants of one URL: a check compares with each of them.
pub(crate) const URL_SELECTIONS_MAX: usize = 16;

struct Selected {
    place: Place,
    mode: PurgeMode,
    selection: Arc<Selection>,
}

impl Selected {
    /// Whether a rule of `mode` at `place` for the same requests makes this one superfluous.
    fn is_covered(&self, place: Place, mode: PurgeMode) -> bool {
        self.place < place && self.mode <= mode
    }
}

/// The rules of all URLs.
#[derive(Default)]
pub(crate) struct SelectedRules {
    by_url: ByName<SmallVec<[Selected; 1]>>,
    places: BTreeMap<Place, Name>,
}

impl SelectedRules {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The strongest of the rules for a URL that are younger than `born` and would select this variant.
    pub(crate) fn standing(&self, url: Name, vary: &VaryFacts, born: Epoch) -> Standing {
        if self.places.is_empty() {
            return Standing::Clear;
        }
        let rules = self.by_url.get(&url).into_iter().flatten();
        let meant = rules.filter(|rule| rule.place.0 > born && vary.matches(&*rule.selection));
        meant.map(|rule| rule.mode.standing()).max().unwrap_or(Standing::Clear)
    }

    /// Whether a rule adds nothing to those that are here.
    pub(crate) fn cover(&self, url: Name, selection: &Selection, place: Place, mode: PurgeMode) -> bool {
        let mut rules = self.by_url.get(&url).into_iter().flatten();
        rules.any(|rule| rule.place > place && rule.mode >= mode && *rule.selection == *selection)
    }

    /// Enters a rule that is not covered; returns the rules it makes superfluous.
    pub(crate) fn enter(
        &mut self,
        url: Name,
        selection: &Arc<Selection>,
        place: Place,
        mode: PurgeMode,
    ) -> SmallVec<[Place; 2]> {
        let rules = self.by_url.entry(url).or_default();
        let covered = rules.iter().filter(|rule| rule.is_covered(place, mode) && rule.selection == *selection);
        let superfluous = covered.map(|rule| rule.place).collect();
        rules.push(Selected { place, mode, selection: selection.clone() });
        self.places.insert(place, url);
        superfluous
    }

    /// The rules that one for every variant of the URL makes superfluous.
    pub(crate) fn covered_by(&self, url: Name, place: Place, mode: PurgeMode) -> SmallVec<[Place; 2]> {
        let rules = self.by_url.get(&url).into_iter().flatten();
        rules.filter(|rule| rule.is_covered(place, mode)).map(|rule| rule.place).collect()
    }

    /// Takes a rule out, if it is here.
    pub(crate) fn erase(&mut self, place: Place) {
        let Some(url) = self.places.remove(&place) else { return };
        if let Some(rules) = self.by_url.get_mut(&url) {
            rules.retain(|rule| rule.place != place);
            if rules.is_empty() {
                self.by_url.remove(&url);
            }
        }
    }

    pub(crate) fn oldest(&self) -> Option<Place> {
        self.places.first_key_value().map(|(&place, _)| place)
    }

    /// The oldest rule of a URL that has too many.
    pub(crate) fn beyond(&self, url: Name) -> Option<Place> {
        let rules = self.by_url.get(&url).filter(|rules| rules.len() > URL_SELECTIONS_MAX)?;
        rules.iter().map(|rule| rule.place).min()
    }
}

#[cfg(test)]
mod tests;
