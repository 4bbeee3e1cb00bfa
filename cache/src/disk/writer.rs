//! The one thread of a volume that writes: records to the end of the open segment, and room made before there is none.
//!
//! Segments are filled in turn. When the next one would exceed the size, the oldest goes; what was asked for in it since
//! it was written is carried over to the open one, within a bound, so that what is popular stays; what has expired or was
//! purged is not. An error of the disk ends the writing for good: what is there is still read.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use super::DiskLimits;
use super::codec;
use super::footer::{Label, Listed, Listing, NO_BIRTH};
use super::index::Place;
use super::opening::Load;
use super::pace::Pace;
use super::record::{Draft, Kind, Layout};
use super::segment::{Patience, Segment};
use super::volume::Shared;
use crate::Epoch;
use crate::object::Object;

/// The share of a segment that is carried over when it goes, in percent.
const CARRIED_PERCENT: u64 = 25;
/// What is written before it has to reach the disk, in bytes.
const SYNC_BYTES: u64 = 8 << 20;
/// How long a writer that waits does not notice that the node ends.
const PARKED_AT_MOST: Duration = Duration::from_millis(50);

/// What the writer is asked to do.
pub enum Job {
    Write(Arc<Object>),
    /// What stands under the key with this hash is gone, also after a restart.
    Bury(u64),
    /// Say that everything before it was done.
    Tell(SyncSender<()>),
    /// Close the open segment, and say so.
    Stop(SyncSender<()>),
}

/// The writer's own things.
pub struct Writer {
    shared: Arc<Shared>,
    limits: DiskLimits,
    size_bytes: u64,
    /// What the index may hold.
    records_max: usize,
    open: Option<Open>,
    next_id: u32,
    /// The record in the making.
    record: Vec<u8>,
    jobs_taken: u64,
    pace: Option<Pace>,
    newest_birth: Epoch,
}

/// The segment that is being written.
struct Open {
    segment: Arc<Segment>,
    listing: Listing,
    /// What has reached the disk.
    synced: u64,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, limits: DiskLimits, size_bytes: u64, records_max: usize, next_id: u32) -> Self {
        let now_us = (shared.surroundings.stopwatch)();
        let pace = limits.write_bytes_per_s.map(|rate| Pace::new(rate, now_us));
        let (open, record, newest_birth) = (None, Vec::new(), Epoch(0));
        Writer { shared, limits, size_bytes, records_max, open, next_id, record, jobs_taken: 0, pace, newest_birth }
    }

    /// Makes the index whole, then takes jobs until it is told to stop, or nobody can ask any more.
    pub fn run(mut self, load: Load, jobs: &Receiver<Job>) {
        self.newest_birth = load.newest_birth();
        for hash in load.run() {
            self.shared.moving.begin_burial(hash);
            self.work(&Job::Bury(hash));
        }
        while let Ok(job) = jobs.recv() {
            if let Job::Stop(stopped) = job {
                self.bury_late(u64::MAX);
                let closed = self.close();
                self.note(closed);
                if let Err(error) = self.shared.keep_index(self.newest_birth) {
                    self.shared.tell(&format!("the index is not kept: {error}"));
                }
                // Who asked may have given up waiting.
                let _ = stopped.send(());
                return;
            }
            self.work(&job);
            self.jobs_taken += 1;
            self.bury_late(self.jobs_taken);
            if let Job::Tell(done) = job {
                // Who asked may have gone.
                let _ = done.send(());
            }
        }
        let closed = self.close();
        self.note(closed);
    }

    fn work(&mut self, job: &Job) {
        if !self.shared.write_failed.load(Relaxed) {
            let done = self.take(job);
            self.note(done);
        }
        if matches!(job, Job::Bury(_)) && self.shared.write_failed.load(Relaxed) {
            self.shared.distrust();
        }
        self.forget(job);
    }

    /// Takes the removals that found the queue full, as soon as what came before them was taken.
    fn bury_late(&mut self, jobs_taken: u64) {
        loop {
            let mut late = self.shared.late_burials.lock();
            if late.front().is_none_or(|(before, _)| *before > jobs_taken) {
                return;
            }
            let next = late.pop_front();
            drop(late);
            if let Some((_, hash)) = next {
                self.work(&Job::Bury(hash));
            }
        }
    }

    fn note(&self, done: io::Result<()>) {
        if let Err(error) = done {
            self.shared.has_failed_to_write(&error);
        }
    }

    /// The job waits no longer.
    fn forget(&self, job: &Job) {
        match job {
            Job::Write(object) => {
                self.shared.moving.end_write(object.key.hash() as u64);
                self.shared.queued_bytes.fetch_sub(object.weight(), Relaxed);
            }
            Job::Bury(hash) => self.shared.moving.end_burial(*hash),
            Job::Tell(_) | Job::Stop(_) => {}
        }
    }

    fn take(&mut self, job: &Job) -> io::Result<()> {
        match job {
            Job::Write(object) => self.write(object),
            Job::Bury(hash) => {
                self.shared.index.remove(*hash);
                // No key, and no birth.
                let meta = [0; 12];
                let draft = Draft { kind: Kind::Tombstone, key_hash: u128::from(*hash), variant: 0, meta: &meta };
                self.append(&Label::tombstone(*hash), meta.len() as u64, |layout, out| {
                    draft.write(layout, std::iter::empty(), out);
                })
                .map(drop)
            }
            Job::Tell(_) | Job::Stop(_) => Ok(()),
        }
    }

    /// Keeps the index within its bound: the oldest records go.
    fn make_room_in_index(&mut self) -> io::Result<()> {
        while self.shared.index.len() >= self.records_max {
            if !self.reclaim_oldest()? {
                // Only the open segment is left.
                self.close()?;
                if !self.reclaim_oldest()? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, object: &Object) -> io::Result<()> {
        self.make_room_in_index()?;
        let meta = codec::encode(object.parts());
        let label = Label::of(object.parts());
        let draft = Draft { kind: Kind::Response, key_hash: object.key.hash(), variant: label.variant, meta: &meta };
        let weight = meta.len() as u64 + object.body.len();
        let place = self.append(&label, weight, |layout, out| {
            draft.write(layout, object.body.chunks().iter().map(|chunk| &**chunk), out);
        })?;
        self.born(object.born);
        self.shared.index.insert(label.hash, label.variant, place);
        self.shared.counters.written.fetch_add(1, Relaxed);
        self.shared.counters.written_bytes.fetch_add(place.length, Relaxed);
        Ok(())
    }

    /// The open segment has a record that was born then.
    fn born(&mut self, birth: Epoch) {
        self.newest_birth = self.newest_birth.max(birth);
        if let Some(open) = &mut self.open {
            open.listing.born(birth);
            self.shared.births.lock().insert(open.segment.id, open.listing.oldest_birth);
        }
    }

    /// Writes a record of meta and body of `weight` bytes to the end of the open segment.
    fn append(&mut self, label: &Label, weight: u64, make: impl FnOnce(Layout, &mut Vec<u8>)) -> io::Result<Place> {
        let full = |open: &Open| open.listing.end + record_bytes(weight) > self.limits.segment_bytes;
        if self.open.as_ref().is_some_and(full) {
            self.close()?;
        }
        if self.open.is_none() {
            self.open_next()?;
        }
        let open = self.open.as_mut().expect("it was opened just now");
        self.record.clear();
        make(open.segment.layout, &mut self.record);
        let (offset, length) = (open.listing.end, self.record.len() as u64);
        wait_for_turn(&mut self.pace, &self.shared, length);
        let Shared { counters, surroundings, .. } = &*self.shared;
        let write = || open.segment.write_at(&self.record, offset);
        counters.write_latency.time(&surroundings.stopwatch, write)?;
        open.listing.add(label, offset, length);
        open.listing.end += length;
        self.shared.bytes.fetch_add(length, Relaxed);
        if open.listing.end - open.synced >= SYNC_BYTES {
            open.sync(self.limits.keeps_page_cache)?;
        }
        Ok(Place { segment: open.segment.id, offset, length })
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.segment.finish(&open.listing)?;
        open.sync(self.limits.keeps_page_cache)
    }

    /// Makes room for a segment, then opens it.
    fn open_next(&mut self) -> io::Result<()> {
        let now = (self.shared.surroundings.now)();
        let segment = Arc::new(Segment::create(&self.shared.path, self.next_id, now)?);
        self.next_id += 1;
        self.shared.segments.write().insert(segment.id, segment.clone());
        let (listing, synced) = (Listing::new(segment.begin()), segment.begin());
        self.open = Some(Open { segment, listing, synced });
        while self.shared.bytes.load(Relaxed) + self.limits.segment_bytes > self.size_bytes {
            if !self.reclaim_oldest()? {
                break;
            }
        }
        Ok(())
    }

    /// The oldest segment goes; false when there is none but the open one.
    fn reclaim_oldest(&mut self) -> io::Result<bool> {
        let open = self.open.as_ref().map(|open| open.segment.id);
        let oldest = self.shared.segments.read().values().next().cloned();
        let Some(oldest) = oldest.filter(|oldest| Some(oldest.id) != open) else { return Ok(false) };
        let listing = oldest.listing()?;
        let mut left = self.limits.segment_bytes * CARRIED_PERCENT / 100;
        for record in &listing.records {
            let place = Place { segment: oldest.id, offset: record.offset, length: record.length };
            let wanted = self.shared.index.is_wanted(record.hash, place) && record.length <= left;
            if wanted && self.has_room(record.length) && self.carry_over(record, place)? {
                left -= record.length;
            } else {
                self.shared.index.remove_at(record.hash, place);
            }
        }
        if listing.oldest_birth != NO_BIRTH {
            // What was carried over is as old as anything there.
            self.born(listing.oldest_birth);
            self.born(listing.newest_birth);
        }
        self.shared.segments.write().remove(&oldest.id);
        self.shared.births.lock().remove(&oldest.id);
        self.shared.bytes.fetch_sub(listing.end - oldest.begin(), Relaxed);
        self.shared.counters.reclaimed.fetch_add(1, Relaxed);
        oldest.delete()?;
        Ok(true)
    }

    /// Writes a record anew; not one that is damaged, expired or purged.
    fn carry_over(&mut self, record: &Listed, place: Place) -> io::Result<bool> {
        let Ok(Some(found)) = self.shared.record(record.hash, place, Patience::Waits) else { return Ok(false) };
        if !(self.shared.surroundings.is_worth_keeping)(&found.object) {
            return Ok(false);
        }
        let Some(body) = found.whole_body() else { return Ok(false) };
        let object = Object::new(crate::object::Parts { body, ..found.object.parts().clone() });
        let (meta, label) = (codec::encode(object.parts()), Label::of(object.parts()));
        let draft = Draft { kind: Kind::Response, key_hash: object.key.hash(), variant: label.variant, meta: &meta };
        let carried = self.append(&label, record.length, |layout, out| {
            draft.write(layout, object.body.chunks().iter().map(|chunk| &**chunk), out);
        })?;
        // Unless it was removed meanwhile.
        self.shared.index.move_to(record.hash, place, carried);
        Ok(true)
    }

    /// Whether the open segment can take so much without another being opened in the middle of making room.
    fn has_room(&self, length: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.listing.end + record_bytes(length) <= self.limits.segment_bytes)
    }
}

impl Open {
    /// What was written since the last time reaches the disk: so the system never has much to write at once.
    fn sync(&mut self, keeps_page_cache: bool) -> io::Result<()> {
        self.segment.sync(self.synced, self.listing.end - self.synced, keeps_page_cache)?;
        self.synced = self.listing.end;
        Ok(())
    }
}

/// Waits until so much may be written; not when the node ends.
fn wait_for_turn(pace: &mut Option<Pace>, shared: &Shared, bytes: u64) {
    let Some(pace) = pace else { return };
    while !shared.is_ending.load(Relaxed) {
        match pace.wait_us((shared.surroundings.stopwatch)()) {
            0 => break,
            wait_us => std::thread::park_timeout(Duration::from_micros(wait_us).min(PARKED_AT_MOST)),
        }
    }
    pace.spend(bytes);
}

/// At most so many bytes has a record of that much meta and body.
fn record_bytes(weight: u64) -> u64 {
    use super::record::{ALIGN_BYTES, HEADER_BYTES, PIECE_BYTES};
    weight + (HEADER_BYTES + ALIGN_BYTES) as u64 + (weight / PIECE_BYTES as u64 + 1) * 8
}
