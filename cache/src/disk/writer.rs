//! The one thread that writes: records to the end of the open segment, and room made before there is none.
//!
//! Segments are filled in turn. When the next one would exceed the size, the oldest goes; what was asked for in it since
//! it was written is carried over to the open one, within a bound, so that what is popular stays. An error of the disk
//! ends the writing for good: what is there is still read.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender};

use super::codec;
use super::index::Place;
use super::record::{ALIGN_BYTES, Header, Kind};
use super::segment::{Listed, Listing, NO_BIRTH, OPENING_BYTES, Segment};
use super::{DiskLimits, Shared};
use crate::Epoch;
use crate::key::CacheKey;
use crate::object::Object;

/// The share of a segment that is carried over when it goes, in percent.
const CARRIED_PERCENT: u64 = 25;

/// What the writer is asked to do.
pub enum Job {
    Write(Arc<Object>),
    /// What stands under this key is gone, also after a restart.
    Bury(CacheKey),
    /// Close the open segment, and say so.
    Stop(SyncSender<()>),
}

/// The writer's own things.
pub struct Writer {
    pub shared: Arc<Shared>,
    pub directory: PathBuf,
    pub limits: DiskLimits,
    pub open: Option<Open>,
    pub next_id: u32,
}

/// The segment that is being written.
pub struct Open {
    segment: Arc<Segment>,
    listing: Listing,
}

impl Writer {
    /// Takes jobs until it is told to stop, or nobody can ask any more.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            if let Job::Stop(stopped) = job {
                let closed = self.close();
                self.note(&closed);
                // Who asked may have given up waiting.
                let _ = stopped.send(());
                return;
            }
            if self.shared.failed.load(Relaxed) {
                self.forget(&job);
                continue;
            }
            let done = self.take(&job);
            self.note(&done);
        }
        let closed = self.close();
        self.note(&closed);
    }

    fn note(&self, done: &io::Result<()>) {
        if done.is_err() {
            self.shared.counters.write_errors.fetch_add(1, Relaxed);
            self.shared.failed.store(true, Relaxed);
        }
    }

    /// The job waits no longer.
    fn forget(&self, job: &Job) {
        match job {
            Job::Write(object) => {
                self.shared.moving.end_write(object.key.hash() as u64);
                self.shared.queued_bytes.fetch_sub(object.weight(), Relaxed);
            }
            Job::Bury(key) => self.shared.moving.end_burial(key.hash() as u64),
            Job::Stop(_) => {}
        }
    }

    fn take(&mut self, job: &Job) -> io::Result<()> {
        let done = match job {
            Job::Write(object) => self.write(object),
            Job::Bury(key) => {
                let (bytes, hash) = tombstone(key);
                self.shared.index.remove(hash);
                self.append(&bytes, Kind::Tombstone, hash, 0).map(drop)
            }
            Job::Stop(_) => Ok(()),
        };
        self.forget(job);
        done
    }

    fn write(&mut self, object: &Object) -> io::Result<()> {
        let meta = codec::encode(object.parts());
        let chunks = || object.body.chunks().iter().map(|chunk| &**chunk);
        let header = Header::of(Kind::Response, object.key.hash(), &meta, chunks());
        let mut bytes = Vec::with_capacity(header.record_bytes().unwrap_or(0) as usize);
        bytes.extend_from_slice(&header.bytes());
        bytes.extend_from_slice(&meta);
        chunks().for_each(|chunk| bytes.extend_from_slice(chunk));
        let (hash, variant) = (object.key.hash() as u64, object.vary.hash() as u32);
        let place = self.append(&bytes, Kind::Response, hash, variant)?;
        self.born(object.born);
        self.shared.index.insert(hash, variant, place);
        self.shared.counters.written.fetch_add(1, Relaxed);
        self.shared.counters.written_bytes.fetch_add(place.length, Relaxed);
        Ok(())
    }

    /// The open segment has a record that was born then.
    fn born(&mut self, birth: Epoch) {
        if let Some(open) = &mut self.open {
            open.listing.born(birth);
            self.shared.births.lock().insert(open.segment.id, open.listing.oldest_birth);
        }
    }

    /// Writes a record, padded, to the end of the open segment.
    fn append(&mut self, bytes: &[u8], kind: Kind, hash: u64, variant: u32) -> io::Result<Place> {
        let length = (bytes.len() as u64).next_multiple_of(ALIGN_BYTES as u64);
        let full = |open: &Open| open.listing.end + length > self.limits.segment_bytes;
        if self.open.as_ref().is_some_and(full) {
            self.close()?;
        }
        if self.open.is_none() {
            self.open_next()?;
        }
        let open = self.open.as_mut().expect("it was opened just now");
        let offset = open.listing.end;
        let mut padded;
        let bytes = if bytes.len() as u64 == length {
            bytes
        } else {
            padded = bytes.to_vec();
            padded.resize(length as usize, 0);
            &padded
        };
        open.segment.write_at(bytes, offset)?;
        open.listing.end += length;
        open.listing.records.push(Listed { kind, hash, variant, offset, length });
        self.shared.bytes.fetch_add(length, Relaxed);
        Ok(Place { segment: open.segment.id, offset, length })
    }

    fn close(&mut self) -> io::Result<()> {
        self.open.take().map_or(Ok(()), |open| open.segment.finish(&open.listing))
    }

    /// Makes room for a segment, then opens it.
    fn open_next(&mut self) -> io::Result<()> {
        let segment = Arc::new(Segment::create(&self.directory, self.next_id)?);
        self.next_id += 1;
        self.shared.segments.write().insert(segment.id, segment.clone());
        self.open = Some(Open { segment, listing: Listing::new() });
        while self.shared.bytes.load(Relaxed) + self.limits.segment_bytes > self.limits.size_bytes {
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
            if wanted && self.has_room(record.length) {
                let bytes = oldest.read_at(place)?;
                let carried = self.append(&bytes, record.kind, record.hash, record.variant)?;
                self.shared.index.insert(record.hash, record.variant, carried);
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
        self.shared.bytes.fetch_sub(listing.end - OPENING_BYTES, Relaxed);
        self.shared.counters.reclaimed.fetch_add(1, Relaxed);
        oldest.delete()?;
        Ok(true)
    }

    /// Whether the open segment can take so much without another being opened in the middle of making room.
    fn has_room(&self, length: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.listing.end + length <= self.limits.segment_bytes)
    }
}

/// A tombstone's record.
fn tombstone(key: &CacheKey) -> (Vec<u8>, u64) {
    let mut meta = Vec::new();
    codec::put_text(&mut meta, key.as_ref().bytes());
    meta.extend_from_slice(&0_u64.to_le_bytes());
    let header = Header::of(Kind::Tombstone, key.hash(), &meta, std::iter::empty());
    let mut bytes = header.bytes().to_vec();
    bytes.extend_from_slice(&meta);
    (bytes, key.hash() as u64)
}
