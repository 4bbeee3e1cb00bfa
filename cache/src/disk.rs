//! The disk tier: a log of segments under the memory tier, larger than it, and there again after a restart.
//!
//! ```text
//! memory evicts, or stores --> offer --> [queue] --> writer --> open segment --> closed ones --> oldest reclaimed
//! a memory miss --> contains (an index in memory) --> read (a helper thread) --> checked, decoded --> memory
//! ```
//!
//! Nothing here may block a worker thread: [`DiskTier::offer`], [`DiskTier::remove`] and [`DiskTier::contains`] touch
//! memory only, [`DiskTier::read`] is for a thread that may wait. A full queue drops writes, never requests. Whatever is
//! wrong on disk is at worst a miss: every record carries checksums and its whole key.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::key::KeyRef;
use crate::object::{Object, Parts};
use crate::vary::VaryFacts;
use crate::{Body, Epoch};
pub(crate) use codec::{Take, put_text};
use index::{ENTRY_BYTES, Index, Place};
use moving::Moving;
use record::{HEADER_BYTES, Header, Kind};
use segment::{OPENING_BYTES, Segment};
use writer::{Job, Writer};

mod codec;
mod index;
mod moving;
mod record;
mod segment;
mod writer;

/// Jobs that wait for the writer.
const QUEUE_MAX: usize = 65_536;
/// What they may hold, in bytes.
const QUEUE_BYTES_MAX: u64 = 128 << 20;
/// A larger object is not written: a segment would hold too few of them. In parts of a segment.
const SEGMENT_SHARE_MIN: u64 = 4;
/// Reads that failed in a row until nothing is read any more.
const READ_ERRORS_MAX: u64 = 16;

/// What is written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Everything that is stored.
    Always,
    /// What was asked for again while it was in memory.
    SecondHit,
    /// Nothing; what is there is read.
    Never,
}

/// Bounds of the tier, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct DiskLimits {
    pub size_bytes: u64,
    pub segment_bytes: u64,
}

/// What the tier did.
#[derive(Debug, Default)]
pub struct Counters {
    pub written: AtomicU64,
    pub written_bytes: AtomicU64,
    /// Writes that found the queue full.
    pub dropped: AtomicU64,
    pub write_errors: AtomicU64,
    pub reads: AtomicU64,
    pub read_bytes: AtomicU64,
    pub read_errors: AtomicU64,
    /// Records whose checksum did not hold.
    pub damaged: AtomicU64,
    pub reclaimed: AtomicU64,
}

/// What the writer and everybody else share.
pub struct Shared {
    index: Index,
    moving: Moving,
    segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// The oldest birth in each segment.
    births: Mutex<BTreeMap<u32, Epoch>>,
    /// Bytes of records on disk.
    bytes: AtomicU64,
    queued_bytes: AtomicU64,
    /// The disk failed: nothing more is written.
    failed: AtomicBool,
    failed_reads: AtomicU64,
    pub counters: Counters,
}

/// The tier.
pub struct DiskTier {
    shared: Arc<Shared>,
    jobs: SyncSender<Job>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    limits: DiskLimits,
    admission: Admission,
    newest_birth: Epoch,
    newest_generation: u64,
    /// Keeps other nodes out as long as it is open.
    lock: Mutex<Option<File>>,
}

/// A response that was read, and where.
pub struct FoundRecord {
    pub parts: Parts,
    hash: u64,
    place: Place,
}

/// What was found when the tier was opened.
struct Found {
    segments: BTreeMap<u32, Arc<Segment>>,
    births: BTreeMap<u32, Epoch>,
    index: Index,
    bytes: u64,
    newest_birth: Epoch,
}

impl DiskTier {
    /// Opens the tier of a directory, which is made if need be. The error is one sentence.
    pub fn open(directory: &Path, limits: DiskLimits, admission: Admission) -> Result<Self, String> {
        let fault = |error: io::Error| format!("cache.disk: {}: {error}", directory.display());
        std::fs::create_dir_all(directory).map_err(fault)?;
        let lock = File::create(directory.join("lock")).map_err(fault)?;
        lock.try_lock().map_err(|_| format!("cache.disk: {}: another node has it", directory.display()))?;
        let found = look_over(directory).map_err(fault)?;
        let next_id = found.segments.keys().next_back().map_or(1, |id| id + 1);
        let shared = Arc::new(Shared {
            index: found.index,
            moving: Moving::default(),
            segments: RwLock::new(found.segments),
            births: Mutex::new(found.births),
            bytes: AtomicU64::new(found.bytes),
            queued_bytes: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            failed_reads: AtomicU64::new(0),
            counters: Counters::default(),
        });
        let (jobs, receiver) = sync_channel(QUEUE_MAX);
        let writer =
            Writer { shared: shared.clone(), directory: PathBuf::from(directory), limits, open: None, next_id };
        let thread = std::thread::Builder::new().name("disk-writer".to_owned());
        let thread = thread.spawn(move || writer.run(&receiver)).map_err(fault)?;
        Ok(DiskTier {
            shared,
            jobs,
            writer: Mutex::new(Some(thread)),
            limits,
            admission,
            newest_birth: found.newest_birth,
            // Versions made before the restart must not be met again: they are numbered by the run's own epoch.
            newest_generation: u64::from(next_id) << 32,
            lock: Mutex::new(Some(lock)),
        })
    }

    /// The ledger's newest epoch that something here was born in: epochs go on from there.
    pub fn newest_birth(&self) -> Epoch {
        self.newest_birth
    }

    /// No response here, or on its way here, was born before this epoch of the ledger.
    pub fn oldest_birth(&self) -> Epoch {
        if self.shared.queued_bytes.load(Relaxed) > 0 {
            // What waits has left memory perhaps, and nobody knows how old it is.
            return Epoch(0);
        }
        self.shared.births.lock().values().min().copied().unwrap_or(segment::NO_BIRTH)
    }

    /// Body versions of this run are numbered from here.
    pub fn first_generation(&self) -> u64 {
        self.newest_generation
    }

    /// An object was stored in memory. What is here of it is outdated, or it is to be written at once.
    pub fn stored(&self, object: &Arc<Object>) {
        if self.admission == Admission::Always || self.is_known(object.key.hash() as u64) {
            self.offer(object);
        }
    }

    /// An object left memory; `again`: it was asked for more than once there.
    pub fn evicted(&self, object: &Arc<Object>, again: bool) {
        let hash = object.key.hash() as u64;
        if self.admission == Admission::SecondHit && again && !self.is_known(hash) {
            self.offer(object);
        }
    }

    /// Whether something may be stored under a key. Another key with the same hash says so, too.
    pub fn contains(&self, key: KeyRef<'_>) -> bool {
        let hash = key.short_hash();
        self.shared.index.contains(hash) && !self.shared.moving.is_hidden(hash)
    }

    /// Whether something under the key is on disk, or will be.
    fn is_known(&self, hash: u64) -> bool {
        self.shared.index.contains(hash) || self.shared.moving.is_written(hash)
    }

    /// Whether what was read there is still what the disk has for its key: nothing newer came, and nothing removed it.
    pub fn is_current(&self, found: &FoundRecord) -> bool {
        let moving = &self.shared.moving;
        self.shared.index.is_at(found.hash, found.place)
            && !moving.is_written(found.hash)
            && !moving.is_hidden(found.hash)
    }

    /// What is stored under a key is gone, now and after a restart.
    pub fn remove(&self, key: KeyRef<'_>) {
        let hash = key.short_hash();
        if !self.is_known(hash) {
            return;
        }
        // Hidden at once, and for as long as a write that came before may still be done. A removal that finds the queue
        // full hides its key until the node ends.
        self.shared.moving.begin_burial(hash);
        self.shared.index.remove(hash);
        if self.jobs.try_send(Job::Bury(key.into())).is_err() {
            self.shared.counters.dropped.fetch_add(1, Relaxed);
        }
    }

    /// The newest response under a key whose Vary facts are those wanted. Waits for the disk.
    pub fn read(&self, key: KeyRef<'_>, mut matches: impl FnMut(&VaryFacts) -> bool) -> Option<FoundRecord> {
        let hash = key.short_hash();
        if self.shared.moving.is_hidden(hash) {
            return None;
        }
        for place in self.shared.index.find(key.short_hash()) {
            if self.shared.failed_reads.load(Relaxed) >= READ_ERRORS_MAX {
                return None;
            }
            match self.record(place) {
                Ok(Some(parts)) if parts.key.as_ref() == key && matches(&parts.vary) => {
                    return Some(FoundRecord { parts, hash, place });
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.shared.counters.damaged.fetch_add(1, Relaxed);
                    self.shared.index.remove_at(key.short_hash(), place);
                }
                Err(_) => {
                    self.shared.counters.read_errors.fetch_add(1, Relaxed);
                    self.shared.failed_reads.fetch_add(1, Relaxed);
                    self.shared.index.remove_at(key.short_hash(), place);
                }
            }
        }
        None
    }

    /// Closes the open segment and ends the writer; waits so long at most.
    pub fn close(&self, within: Duration) {
        let (stopped, stop) = sync_channel(1);
        if self.jobs.send(Job::Stop(stopped)).is_ok()
            && stop.recv_timeout(within).is_ok()
            && let Some(writer) = self.writer.lock().take()
        {
            drop(writer.join());
        }
        drop(self.lock.lock().take());
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Records, their bytes, and the bytes there may be.
    pub fn usage(&self) -> (usize, u64, u64) {
        (self.shared.index.len(), self.shared.bytes.load(Relaxed), self.limits.size_bytes)
    }

    /// Bytes of memory that the index takes, the free places of its tables not counted.
    pub fn index_bytes(&self) -> usize {
        self.shared.index.len() * (ENTRY_BYTES + 1)
    }

    /// Whether the disk is written and read.
    pub fn in_service(&self) -> bool {
        !self.shared.failed.load(Relaxed) && self.shared.failed_reads.load(Relaxed) < READ_ERRORS_MAX
    }

    fn offer(&self, object: &Arc<Object>) {
        let weight = object.weight();
        let hash = object.key.hash() as u64;
        let too_large = weight > self.limits.segment_bytes / SEGMENT_SHARE_MIN;
        let queued = self.shared.queued_bytes.load(Relaxed) + weight;
        let refused = too_large || object.key.as_ref().is_form() || self.admission == Admission::Never;
        if refused || queued > QUEUE_BYTES_MAX || self.shared.failed.load(Relaxed) {
            if !refused {
                self.shared.counters.dropped.fetch_add(1, Relaxed);
            }
            // What is here is older than what memory has: it must not be found once memory has let go.
            return self.remove(object.key.as_ref());
        }
        self.shared.queued_bytes.fetch_add(weight, Relaxed);
        self.shared.moving.begin_write(hash);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.jobs.try_send(Job::Write(object.clone()))
        {
            self.shared.queued_bytes.fetch_sub(weight, Relaxed);
            self.shared.moving.end_write(hash);
            self.shared.counters.dropped.fetch_add(1, Relaxed);
            self.remove(object.key.as_ref());
        }
    }

    /// The record at a place; none when it is damaged.
    fn record(&self, place: Place) -> io::Result<Option<Parts>> {
        let segment = self.shared.segments.read().get(&place.segment).cloned();
        let Some(segment) = segment else { return Ok(None) };
        let bytes = segment.read_at(place)?;
        self.shared.failed_reads.store(0, Relaxed);
        self.shared.counters.reads.fetch_add(1, Relaxed);
        self.shared.counters.read_bytes.fetch_add(place.length, Relaxed);
        Ok(parts_of(&bytes))
    }
}

fn parts_of(bytes: &[u8]) -> Option<Parts> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let header = Header::read(header).filter(|header| header.kind == Kind::Response)?;
    let (meta, rest) = rest.split_at_checked(header.meta_bytes)?;
    let body = rest.get(..usize::try_from(header.body_bytes).ok()?)?;
    if !header.holds(meta) || !header.holds_body(body) {
        return None;
    }
    codec::decode(meta, Body::copy_of(body))
}

/// Reads what every segment holds, in the order of their ages, so that what is later wins.
fn look_over(directory: &Path) -> io::Result<Found> {
    let mut ids: Vec<u32> = std::fs::read_dir(directory)?
        .filter_map(|entry| entry.ok()?.file_name().to_str().and_then(Segment::id_of))
        .collect();
    ids.sort_unstable();
    let mut found = Found {
        segments: BTreeMap::new(),
        births: BTreeMap::new(),
        index: Index::default(),
        bytes: 0,
        newest_birth: Epoch(0),
    };
    for id in ids {
        let segment = match Segment::open(directory, id) {
            Ok(segment) => segment,
            // Another version, or never begun: it is of no use to anybody.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                std::fs::remove_file(directory.join(Segment::name(id)))?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let listing = segment.listing()?;
        for record in &listing.records {
            let place = Place { segment: id, offset: record.offset, length: record.length };
            match record.kind {
                Kind::Response => found.index.insert(record.hash, record.variant, place),
                Kind::Tombstone => drop(found.index.remove(record.hash)),
            }
        }
        found.bytes += listing.end - OPENING_BYTES;
        found.newest_birth = found.newest_birth.max(listing.newest_birth);
        found.births.insert(id, listing.oldest_birth);
        found.segments.insert(id, Arc::new(segment));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
