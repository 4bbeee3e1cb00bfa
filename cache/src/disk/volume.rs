//! One directory of segments on one disk: its index, its writer, its readers, and whether it is in service.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::DiskLimits;
use super::buffers::Buffers;
use super::footer::NO_BIRTH;
use super::index::{Index, Place};
use super::latency::Latency;
use super::loading::Loading;
use super::moving::Moving;
use super::readers::Readers;
use super::segment::Segment;
use super::snapshot::{self, Described};
use super::surroundings::Surroundings;
use super::writer::Job;
use crate::Epoch;
use crate::key::KeyRef;
use crate::object::Object;

/// Jobs that wait for the writer.
pub const QUEUE_MAX: usize = 65_536;
/// What they may hold, in bytes.
const QUEUE_BYTES_MAX: u64 = 128 << 20;
/// A larger object is not written: a segment would hold too few of them. In parts of a segment.
const SEGMENT_SHARE_MIN: u64 = 4;
/// What a record has beside its body is shorter, in bytes.
const BESIDE_BODY_BYTES: u64 = 1 << 20;
/// Removals that wait beside a full queue.
const LATE_BURIALS_MAX: usize = 65_536;
/// A file that says that a removal was lost.
pub const DISTRUSTED: &str = "distrusted";
/// Reads that failed in a row until nothing is read any more.
const READ_ERRORS_MAX: usize = 16;

/// What a volume did.
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
    /// Reads that found too many others waiting.
    pub reads_refused: AtomicU64,
    /// Records whose checksum did not hold.
    pub damaged: AtomicU64,
    pub reclaimed: AtomicU64,
    pub read_latency: Latency,
    pub write_latency: Latency,
}

/// What the writer, the readers and everybody else share.
pub struct Shared {
    pub path: PathBuf,
    /// Stands for the rule by which keys belong to this volume.
    pub home: u64,
    pub loading: Loading,
    pub index: Index,
    pub moving: Moving,
    pub segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// The oldest birth in each segment.
    pub births: Mutex<BTreeMap<u32, Epoch>>,
    /// Bytes of records on disk.
    pub bytes: AtomicU64,
    pub queued_bytes: AtomicU64,
    /// Jobs that the writer was given so far.
    pub jobs_sent: AtomicU64,
    /// Removals that found the queue full, each with the number of jobs that come before it.
    pub late_burials: Mutex<VecDeque<(u64, u64)>>,
    /// The node ends: what waits is written at once.
    pub is_ending: AtomicBool,
    /// The disk failed: nothing more is written.
    pub write_failed: AtomicBool,
    /// Reads that failed in a row.
    failed_reads: AtomicUsize,
    pub counters: Counters,
    pub surroundings: Surroundings,
    pub buffers: Arc<Buffers>,
    pub keeps_page_cache: bool,
    /// A removal could not be written down.
    is_distrusted: AtomicBool,
}

impl Shared {
    pub fn new(path: PathBuf, home: u64, surroundings: Surroundings, keeps_page_cache: bool) -> Self {
        Shared {
            path,
            home,
            loading: Loading::default(),
            index: Index::default(),
            moving: Moving::default(),
            segments: RwLock::default(),
            births: Mutex::default(),
            bytes: AtomicU64::new(0),
            queued_bytes: AtomicU64::new(0),
            jobs_sent: AtomicU64::new(0),
            late_burials: Mutex::default(),
            is_ending: AtomicBool::new(false),
            write_failed: AtomicBool::new(false),
            failed_reads: AtomicUsize::new(0),
            counters: Counters::default(),
            surroundings,
            buffers: Arc::default(),
            keeps_page_cache,
            is_distrusted: AtomicBool::new(false),
        }
    }

    /// Whether anything is read from it.
    pub fn is_read(&self) -> bool {
        self.failed_reads.load(Relaxed) < READ_ERRORS_MAX
    }

    /// A read went well.
    pub fn has_read(&self, bytes: u64) {
        if self.failed_reads.load(Relaxed) > 0 && self.is_read() {
            self.failed_reads.store(0, Relaxed);
        }
        self.counters.reads.fetch_add(1, Relaxed);
        self.counters.read_bytes.fetch_add(bytes, Relaxed);
    }

    /// A read failed: the record is given up, and after many in a row the disk is.
    pub fn has_failed_to_read(&self, hash: u64, place: Place, error: &io::Error) {
        self.counters.read_errors.fetch_add(1, Relaxed);
        self.index.remove_at(hash, place);
        if self.failed_reads.fetch_add(1, Relaxed) + 1 == READ_ERRORS_MAX {
            self.tell(&format!("{READ_ERRORS_MAX} reads failed in a row, it is read no more: {error}"));
        }
    }

    /// A record is not what was written.
    pub fn is_damaged(&self, hash: u64, place: Place) {
        if self.index.remove_at(hash, place) && self.counters.damaged.fetch_add(1, Relaxed) == 0 {
            let Place { segment, offset, .. } = place;
            self.tell(&format!("a damaged record was left out: {}, byte {offset}", Segment::name(segment)));
        }
    }

    /// A write failed: none is tried again.
    pub fn has_failed_to_write(&self, error: &io::Error) {
        self.counters.write_errors.fetch_add(1, Relaxed);
        if !self.write_failed.swap(true, Relaxed) {
            self.tell(&format!("a write failed, it is written no more: {error}"));
        }
    }

    /// A removal cannot be written down: what is here is not to be found after a restart, for want of knowing better.
    pub fn distrust(&self) {
        if self.is_distrusted.swap(true, Relaxed) {
            return;
        }
        if let Err(error) = File::create(self.path.join(DISTRUSTED)) {
            self.tell(&format!(
                "what was made invalid may come back after a restart: it cannot be written down: {error}"
            ));
        }
    }

    /// A segment is of no use to anybody: it is of another version, was never begun, or cannot be read.
    pub fn leave_out(&self, id: u32, error: &io::Error) {
        self.tell(&format!("{} is left out: {error}", Segment::name(id)));
        if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) {
            self.counters.read_errors.fetch_add(1, Relaxed);
        }
        self.segments.write().remove(&id);
        self.births.lock().remove(&id);
        // Found again by a later start, it would be older than what came meanwhile.
        let removed = std::fs::remove_file(self.path.join(Segment::name(id)));
        if removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
            self.distrust();
        }
    }

    /// Writes the index down for the next start; not when that might find something else than this one has.
    pub fn keep_index(&self, newest_birth: Epoch) -> io::Result<()> {
        if self.write_failed.load(Relaxed) || self.is_distrusted.load(Relaxed) || !self.is_read() {
            return Ok(());
        }
        let births = self.births.lock().clone();
        let described = |segment: &Arc<Segment>| {
            Ok(Described {
                id: segment.id,
                seed: segment.layout.seed,
                file_bytes: segment.length()?,
                end: segment.end()?,
                oldest_birth: births.get(&segment.id).copied().unwrap_or(NO_BIRTH),
            })
        };
        let segments = self.segments.read().values().map(described).collect::<io::Result<Vec<_>>>()?;
        snapshot::write(&self.path, self.home, newest_birth, &segments, &self.index)
    }

    pub fn tell(&self, sentence: &str) {
        (self.surroundings.tell)(&format!("cache.disk: {}: {sentence}", self.path.display()));
    }
}

/// A directory.
pub struct Volume {
    pub shared: Arc<Shared>,
    pub readers: Readers,
    pub jobs: SyncSender<Job>,
    pub writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    pub size_bytes: u64,
    pub limits: DiskLimits,
    pub newest_birth: Epoch,
    /// Keeps other nodes out as long as it is open.
    pub lock: Mutex<Option<File>>,
}

impl DiskLimits {
    /// The longest record, in bytes.
    fn record_bytes_max(&self) -> u64 {
        self.segment_bytes / SEGMENT_SHARE_MIN
    }

    /// A body up to this size is written as one, in bytes.
    pub fn body_bytes_max(&self) -> u64 {
        self.record_bytes_max().saturating_sub(BESIDE_BODY_BYTES)
    }
}

impl Volume {
    /// No response here, or on its way here, was born before this epoch of the ledger.
    pub fn oldest_birth(&self) -> Epoch {
        if self.shared.queued_bytes.load(Relaxed) > 0 || self.shared.loading.is_under_way() {
            // What waits has left memory perhaps, and nobody knows how old it is, as with what was not looked over yet.
            return Epoch(0);
        }
        self.shared.births.lock().values().min().copied().unwrap_or(NO_BIRTH)
    }

    /// Whether something may be stored under a hash.
    pub fn contains(&self, hash: u64) -> bool {
        self.shared.index.contains(hash) && !self.shared.moving.is_hidden(hash)
    }

    /// Whether something under the hash is on disk, or will be.
    pub fn is_known(&self, hash: u64) -> bool {
        self.shared.index.contains(hash) || self.shared.moving.is_written(hash)
    }

    /// What is stored under a hash is older than what memory has. Whether there is anything to be removed or replaced;
    /// what is not in the index yet will not come into it.
    pub fn outdates(&self, hash: u64) -> bool {
        if self.shared.loading.is_under_way() {
            self.shared.loading.mark(hash);
        }
        self.is_known(hash)
    }

    /// What is stored under a key is gone, now and after a restart.
    pub fn remove(&self, key: KeyRef<'_>) {
        let hash = key.short_hash();
        let is_under_way = self.shared.loading.is_under_way();
        if !self.outdates(hash) && !is_under_way {
            return;
        }
        self.bury(hash);
    }

    fn bury(&self, hash: u64) {
        // Hidden at once, and for as long as a write that came before may still be done.
        self.shared.moving.begin_burial(hash);
        self.shared.index.remove(hash);
        if self.jobs.try_send(Job::Bury(hash)).is_ok() {
            self.shared.jobs_sent.fetch_add(1, Relaxed);
        } else {
            self.bury_late(hash);
        }
    }

    /// A removal that finds the queue full waits beside it.
    pub fn bury_late(&self, hash: u64) {
        let mut late = self.shared.late_burials.lock();
        if late.len() < LATE_BURIALS_MAX {
            late.push_back((self.shared.jobs_sent.load(Relaxed), hash));
        } else {
            // Its key stays hidden until the node ends, and nothing is found after that.
            drop(late);
            self.shared.distrust();
        }
    }

    /// Leaves an object to the writer, if there is room for it.
    pub fn offer(&self, object: &Arc<Object>) {
        let weight = object.weight();
        let hash = object.key.hash() as u64;
        let refused = weight > self.limits.record_bytes_max() || object.key.as_ref().is_form();
        let queued = self.shared.queued_bytes.load(Relaxed) + weight;
        if refused || queued > QUEUE_BYTES_MAX || self.shared.write_failed.load(Relaxed) {
            if !refused {
                self.shared.counters.dropped.fetch_add(1, Relaxed);
            }
            // What is here is older than what memory has: it must not be found once memory has let go.
            if self.outdates(hash) {
                self.bury(hash);
            }
            return;
        }
        self.shared.queued_bytes.fetch_add(weight, Relaxed);
        self.shared.moving.begin_write(hash);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.jobs.try_send(Job::Write(object.clone()))
        {
            self.shared.queued_bytes.fetch_sub(weight, Relaxed);
            self.shared.moving.end_write(hash);
            self.shared.counters.dropped.fetch_add(1, Relaxed);
            if self.outdates(hash) {
                self.bury(hash);
            }
        } else {
            self.shared.jobs_sent.fetch_add(1, Relaxed);
        }
    }

    /// Waits until all that was asked of the writer so far is done.
    pub fn settle(&self) {
        let (done, wait) = sync_channel(1);
        if self.jobs.send(Job::Tell(done)).is_ok() {
            self.shared.jobs_sent.fetch_add(1, Relaxed);
            // It ends without a word when the writer has ended.
            let _ = wait.recv();
        }
    }

    /// Closes the open segment and ends writer and readers; waits so long at most.
    pub fn close(&self, within: Duration) {
        self.readers.end();
        self.shared.is_ending.store(true, Relaxed);
        let (stopped, stop) = sync_channel(1);
        if self.jobs.send(Job::Stop(stopped)).is_ok()
            && stop.recv_timeout(within).is_ok()
            && let Some(writer) = self.writer.lock().take()
        {
            drop(writer.join());
        }
        drop(self.lock.lock().take());
    }
}
