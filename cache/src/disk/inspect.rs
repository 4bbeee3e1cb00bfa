//! Looking over what is stored, record by record, for operators: nothing here is on the way of a request, all of it waits.
//!
//! What is listed but outdated, removed or replaced is left out: only what the index has counts as stored.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::footer::{Listed, Listing};
use super::index::Place;
use super::record::Kind;
use super::segment::{Patience, Segment};
use super::volume::Volume;
use super::{DiskTier, FoundRecord};
use crate::Time;

/// One response, as the list of its segment tells of it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'l> {
    /// Where that is known.
    pub host: Option<&'l [u8]>,
    /// Head and body on disk.
    pub bytes: u64,
    /// When it goes stale; none where that is not known.
    pub expires_s: Option<u32>,
    /// When its file was begun, which is not long before it was written.
    pub written: Option<Time>,
    hash: u64,
    place: Place,
}

/// What reading a record gave.
pub enum Verdict {
    Whole(Box<FoundRecord>),
    /// It is not what was written.
    Damaged,
    /// The disk did not give it.
    Unreadable,
    /// It went meanwhile.
    Gone,
}

impl DiskTier {
    /// Shows every response that is stored, oldest first on each volume, until `visit` says that it has seen enough.
    pub fn visit(&self, visit: &mut dyn FnMut(&Handle<'_>, &Entry<'_>) -> bool) {
        for volume in &self.volumes {
            if !volume.visit(visit) {
                break;
            }
        }
    }

    /// Waits until the indices are whole, and all that was asked of the writers so far is done.
    pub fn settle(&self) {
        self.volumes.iter().for_each(Volume::settle);
    }
}

/// Where a visited response is.
pub struct Handle<'v>(&'v Volume);

impl Handle<'_> {
    /// Reads it, its body too, and looks at every checksum; what is damaged or unreadable is dropped, as if a request had met it.
    pub fn read(&self, entry: &Entry<'_>) -> Verdict {
        let (shared, Entry { hash, place, .. }) = (&self.0.shared, *entry);
        let damaged = shared.counters.damaged.load(Relaxed);
        let found = match shared.record(hash, place, Patience::Waits) {
            Ok(Some(found)) => found,
            Ok(None) if !shared.index.is_at(hash, place) => return Verdict::Gone,
            Ok(None) => {
                shared.is_damaged(hash, place);
                return Verdict::Damaged;
            }
            Err(error) => {
                shared.has_failed_to_read(hash, place, &error);
                return Verdict::Unreadable;
            }
        };
        match found.whole_body() {
            Some(_) => Verdict::Whole(Box::new(found)),
            None if shared.counters.damaged.load(Relaxed) > damaged => Verdict::Damaged,
            None => Verdict::Unreadable,
        }
    }

    /// Reads its head alone; none when that is damaged or unreadable.
    pub fn head(&self, entry: &Entry<'_>) -> Option<FoundRecord> {
        self.0.shared.record(entry.hash, entry.place, Patience::Waits).ok()?
    }
}

impl Volume {
    fn visit(&self, visit: &mut dyn FnMut(&Handle<'_>, &Entry<'_>) -> bool) -> bool {
        let segments: Vec<Arc<Segment>> = self.shared.segments.read().values().cloned().collect();
        for segment in segments {
            // One that cannot be read has nothing to show.
            let Ok(listing) = segment.listing() else { continue };
            let responses = listing.records.iter().filter(|record| record.kind == Kind::Response);
            for record in responses {
                let entry = entry(&segment, &listing, record);
                if self.shared.index.is_at(entry.hash, entry.place) && !visit(&Handle(self), &entry) {
                    return false;
                }
            }
        }
        true
    }
}

fn entry<'l>(segment: &Segment, listing: &'l Listing, record: &Listed) -> Entry<'l> {
    Entry {
        host: listing.hosts.get(&record.host).map(|name| &**name),
        bytes: record.length,
        expires_s: Some(record.expires_s).filter(|expires_s| *expires_s != super::footer::NO_EXPIRY),
        written: segment.begun,
        hash: record.hash,
        place: Place { segment: segment.id, offset: record.offset, length: record.length },
    }
}
