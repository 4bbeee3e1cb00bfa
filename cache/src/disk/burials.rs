//! The removals that segments tell of, while the segments are read several at a time, the newest first.
//!
//! A record may be taken in when all removals are known that may have come after it: those of its own segment and of all
//! newer ones. Who has read a segment says what it tells of removals, and waits for those who read newer ones.

use std::collections::HashMap;

use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};

use super::footer::Listing;
use super::index::Place;
use super::record::Kind;

/// What is known of removals so far.
pub struct Burials {
    /// The latest of each hash.
    latest: RwLock<HashMap<u64, Place>>,
    progress: Mutex<Progress>,
    changed: Condvar,
}

/// Which segments have been heard, by their numbers from the newest on.
struct Progress {
    heard: Vec<bool>,
    /// All before this one have.
    next: usize,
}

/// All removals that may have come after the records of one segment.
pub struct Known<'b>(RwLockReadGuard<'b, HashMap<u64, Place>>);

impl Burials {
    pub fn of(segments: usize) -> Self {
        let progress = Progress { heard: vec![false; segments], next: 0 };
        Burials { latest: RwLock::default(), progress: Mutex::new(progress), changed: Condvar::new() }
    }

    /// A segment was read; one that gave nothing has to be told of as well.
    pub fn hear(&self, number: usize, id: u32, listing: Option<&Listing>) {
        let records = listing.into_iter().flat_map(|listing| &listing.records);
        let removals: Vec<_> = records.filter(|record| record.kind == Kind::Tombstone).collect();
        if !removals.is_empty() {
            let mut latest = self.latest.write();
            for record in removals {
                let place = Place { segment: id, offset: record.offset, length: record.length };
                latest.entry(record.hash).and_modify(|known| *known = later(*known, place)).or_insert(place);
            }
        }
        let mut progress = self.progress.lock();
        progress.heard[number] = true;
        while progress.heard.get(progress.next) == Some(&true) {
            progress.next += 1;
        }
        drop(progress);
        self.changed.notify_all();
    }

    /// Waits for all newer segments than this one.
    pub fn known_to(&self, number: usize) -> Known<'_> {
        let mut progress = self.progress.lock();
        while progress.next < number {
            self.changed.wait(&mut progress);
        }
        drop(progress);
        Known(self.latest.read())
    }
}

impl Known<'_> {
    /// Whether a record was removed after it was written.
    pub fn reach(&self, hash: u64, place: Place) -> bool {
        self.0.get(&hash).is_some_and(|removal| place.is_before(*removal))
    }
}

fn later(one: Place, other: Place) -> Place {
    if one.is_before(other) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::super::footer::Label;
    use super::*;

    #[test]
    fn records_wait_for_the_removals_of_newer_segments() {
        let burials = Burials::of(3);
        let mut newest = Listing::new(32);
        newest.add(&Label::tombstone(5), 32, 64);
        let place = |segment, offset| Place { segment, offset, length: 64 };
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| burials.known_to(2).reach(5, place(1, 320)));
            burials.hear(1, 2, None);
            burials.hear(0, 3, Some(&newest));
            assert!(waits.join().is_ok_and(|reached| reached));
        });
        burials.hear(2, 1, None);
        let known = burials.known_to(2);
        assert!(known.reach(5, place(3, 0)) && !known.reach(5, place(3, 96)) && !known.reach(6, place(1, 0)));
    }
}
