//! The youngest purge rule of each mode for each name, in a table that grows in small steps.
//!
//! Workers that check an object wait while a rule is entered, so nothing here may take long. One table for a million
//! names would take milliseconds whenever it grows, clears away the traces of what was dropped, or has its memory
//! touched for the first time, and the first of that already for a table that was made large in advance. So it is
//! divided into parts of about [`PART_NAMES`], each of which grows by itself, in some ten microseconds.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smallvec::SmallVec;

use crate::ledger::Epoch;
use crate::purge_rule::PurgeMode;
use crate::standing::Standing;

/// Names of one part, about, when there are as many rules as the bound allows.
const PART_NAMES: usize = 1_024;
const PARTS_MAX: usize = 4_096;

/// Hash of what a rule names, different for equal text of different kinds.
pub(crate) type Name = u128;

/// Names are hashes already.
#[derive(Default)]
pub(crate) struct AsIs(u64);

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

pub(crate) type ByName<V> = HashMap<Name, V, BuildHasherDefault<AsIs>>;

/// Place of a rule among those kept: its epoch, and its number among all rules.
pub(crate) type Place = (Epoch, u64);

/// The youngest rule of each mode for one name.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    hard: Option<Place>,
    soft: Option<Place>,
}

impl Mark {
    /// Whether a rule of `mode` at `place` adds nothing to this mark.
    pub(crate) fn covers(&self, place: Place, mode: PurgeMode) -> bool {
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

    /// Takes a rule out; true when none is left.
    fn erase(&mut self, place: Place) -> bool {
        self.hard.take_if(|own| *own == place);
        self.soft.take_if(|own| *own == place);
        self.hard.is_none() && self.soft.is_none()
    }

    pub(crate) fn raise(&mut self, other: &Mark) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
    }

    pub(crate) fn standing(&self, born: Epoch) -> Standing {
        let younger = |place: Option<Place>| place.is_some_and(|(epoch, _)| epoch > born);
        match (younger(self.hard), younger(self.soft)) {
            (true, _) => Standing::Hard,
            (false, true) => Standing::Soft,
            (false, false) => Standing::Clear,
        }
    }
}

/// The marks of all names.
pub(crate) struct Marks(Box<[ByName<Mark>]>);

impl Marks {
    /// A table for at most `rules_max` rules; it takes memory as they come.
    pub(crate) fn new(rules_max: usize) -> Self {
        let parts = (rules_max / PART_NAMES).next_power_of_two().clamp(1, PARTS_MAX);
        Marks((0..parts).map(|_| ByName::default()).collect())
    }

    pub(crate) fn get(&self, name: Name) -> Option<&Mark> {
        self.0[self.part(name)].get(&name)
    }

    /// Enters a rule that is not covered; returns the rules it makes superfluous.
    pub(crate) fn enter(&mut self, name: Name, place: Place, mode: PurgeMode) -> SmallVec<[Place; 2]> {
        let part = self.part(name);
        self.0[part].entry(name).or_default().enter(place, mode)
    }

    /// Takes a rule out.
    pub(crate) fn erase(&mut self, name: Name, place: Place) {
        let part = &mut self.0[self.part(name)];
        if part.get_mut(&name).is_some_and(|mark| mark.erase(place)) {
            part.remove(&name);
        }
    }

    /// By the half of the hash that the part itself does not use.
    fn part(&self, name: Name) -> usize {
        (name >> 64) as usize & (self.0.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_entered_is_found_until_it_is_erased() {
        let mut marks = Marks::new(4 * PART_NAMES);
        let names: Vec<Name> = (0..5_000).map(|number: u128| (number << 64) | (number / 2)).collect();
        for (number, &name) in names.iter().enumerate() {
            assert!(marks.enter(name, (Epoch(1), number as u64), PurgeMode::Hard).is_empty());
        }
        for (number, &name) in names.iter().enumerate() {
            assert!(marks.get(name).is_some_and(|mark| mark.covers((Epoch(0), 0), PurgeMode::Soft)));
            marks.erase(name, (Epoch(1), number as u64 + 1));
            assert!(marks.get(name).is_some(), "a rule that was replaced meanwhile takes nothing along");
            marks.erase(name, (Epoch(1), number as u64));
            assert!(marks.get(name).is_none());
        }
    }
}
