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

use super::buffers::Buffers;
use super::footer::NO_BIRTH;
use super::index::{Index, Place, RECORD_BYTES_MAX};
use super::latency::Latency;
use super::moving::Moving;
use super::readers::Readers;
use super::record::Kind;
use super::segment::Segment;
use super::surroundings::Surroundings;
use super::writer::{Job, Writer};
use super::{DiskLimits, VolumeSettings};
use crate::Epoch;
use crate::key::{CacheKey, KeyRef};
use crate::object::Object;

/// Jobs that wait for the writer.
const QUEUE_MAX: usize = 65_536;
/// What they may hold, in bytes.
const QUEUE_BYTES_MAX: u64 = 128 << 20;
/// A larger object is not written: a segment would hold too few of them. In parts of a segment.
const SEGMENT_SHARE_MIN: u64 = 4;
/// Segments that are read at a time at the start.
const OPENING_THREADS: usize = 8;
/// What a record has beside its body is shorter, in bytes.
const BESIDE_BODY_BYTES: u64 = 1 << 20;
/// Removals that wait beside a full queue.
const LATE_BURIALS_MAX: usize = 65_536;
/// A file that says that a removal was lost.
const DISTRUSTED: &str = "distrusted";
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
    pub late_burials: Mutex<VecDeque<(u64, CacheKey)>>,
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

    /// Takes a segment in; tombstones are given back, with their places. The newest birth in it.
    fn take_in(
        &self,
        id: u32,
        is_at_home: &(dyn Fn(u64) -> bool + Sync),
        tombstones: &mut Vec<(u64, Place)>,
    ) -> io::Result<Epoch> {
        let segment = match Segment::open(&self.path, id) {
            Ok(segment) => segment,
            // Another version, or never begun: it is of no use to anybody.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                self.tell(&format!("{} is left out: {error}", Segment::name(id)));
                std::fs::remove_file(self.path.join(Segment::name(id)))?;
                return Ok(Epoch(0));
            }
            Err(error) => return Err(error),
        };
        let footer = segment.footer()?;
        let was_closed = footer.is_some();
        let mut listing = footer.map_or_else(|| segment.search(), Ok)?;
        let before = listing.records.len();
        listing.records.retain(|record| is_at_home(record.hash));
        if listing.records.len() != before || !was_closed {
            // What cannot be written now is looked for again at the next start.
            drop(segment.seal(&listing));
        }
        for record in &listing.records {
            let place = Place { segment: id, offset: record.offset, length: record.length };
            match record.kind {
                Kind::Response => self.index.insert_unless_older(record.hash, record.variant, place),
                Kind::Tombstone => tombstones.push((record.hash, place)),
            }
        }
        self.bytes.fetch_add(listing.end - segment.begin(), Relaxed);
        self.births.lock().insert(id, listing.oldest_birth);
        self.segments.write().insert(id, Arc::new(segment));
        Ok(listing.newest_birth)
    }

    pub fn tell(&self, sentence: &str) {
        (self.surroundings.tell)(&format!("cache.disk: {}: {sentence}", self.path.display()));
    }
}

/// A directory.
pub struct Volume {
    pub shared: Arc<Shared>,
    pub readers: Readers,
    jobs: SyncSender<Job>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    pub size_bytes: u64,
    limits: DiskLimits,
    pub newest_birth: Epoch,
    /// Keeps other nodes out as long as it is open.
    lock: Mutex<Option<File>>,
}

/// A volume that is looked over, and not at work yet.
pub struct Opening {
    lock: File,
    pub next_id: u32,
    newest_birth: Epoch,
    shared: Shared,
    size_bytes: u64,
}

impl Opening {
    /// Takes a directory, which is made if need be. The error is one sentence.
    pub fn begin(
        settings: &VolumeSettings,
        limits: DiskLimits,
        is_at_home: &(dyn Fn(u64) -> bool + Sync),
        surroundings: Surroundings,
    ) -> Result<Self, String> {
        let path = &settings.path;
        let fault = |error: io::Error| format!("cache.disk: {}: {error}", path.display());
        std::fs::create_dir_all(path).map_err(fault)?;
        let lock = File::create(path.join("lock")).map_err(fault)?;
        lock.try_lock().map_err(|_| format!("cache.disk: {}: another node has it", path.display()))?;
        let mut opening = Opening {
            lock,
            next_id: 1,
            newest_birth: Epoch(0),
            size_bytes: settings.size_bytes,
            shared: Shared {
                path: path.clone(),
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
                keeps_page_cache: limits.keeps_page_cache,
                is_distrusted: AtomicBool::new(false),
            },
        };
        opening.forget_what_is_distrusted().map_err(fault)?;
        opening.look_over(is_at_home).map_err(fault)?;
        Ok(opening)
    }

    /// The numbers of the segments that are there, the oldest first.
    fn ids(&self) -> io::Result<Vec<u32>> {
        let entries = std::fs::read_dir(&self.shared.path)?;
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str().and_then(Segment::id_of));
        let mut ids: Vec<u32> = ids.collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Deletes everything, if a removal was lost.
    fn forget_what_is_distrusted(&mut self) -> io::Result<()> {
        let path = &self.shared.path;
        if !path.join(DISTRUSTED).try_exists()? {
            return Ok(());
        }
        self.shared.tell("it begins empty: a removal could not be written down when it had failed");
        for id in self.ids()? {
            std::fs::remove_file(path.join(Segment::name(id)))?;
            self.next_id = id + 1;
        }
        std::fs::remove_file(path.join(DISTRUSTED))
    }

    /// Reads what every segment holds, several at a time; what is newer wins, and a tombstone removes what is older. What
    /// has its home on another volume now is left out for good: were it only left aside, it would be found again, older than
    /// what came meanwhile, when volumes are as they were.
    fn look_over(&mut self, is_at_home: &(dyn Fn(u64) -> bool + Sync)) -> io::Result<()> {
        let ids = self.ids()?;
        self.next_id = ids.last().map_or(self.next_id, |id| id + 1);
        let (shared, next) = (&self.shared, AtomicUsize::new(0));
        let work = || {
            let (mut tombstones, mut newest) = (Vec::new(), Epoch(0));
            while let Some(id) = ids.get(next.fetch_add(1, Relaxed)) {
                newest = newest.max(shared.take_in(*id, is_at_home, &mut tombstones)?);
            }
            io::Result::Ok((tombstones, newest))
        };
        let done: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..OPENING_THREADS.min(ids.len())).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().expect("reading does not panic")).collect()
        });
        for result in done {
            let (tombstones, newest) = result?;
            for (hash, place) in tombstones {
                shared.index.remove_before(hash, place);
            }
            self.newest_birth = self.newest_birth.max(newest);
        }
        Ok(())
    }

    /// Sets it to work, as one of volumes of so many bytes together; its next segment has this number at least.
    pub fn finish(self, limits: DiskLimits, all_bytes: u64, next_id: u32) -> Result<Volume, String> {
        let fault = |error: io::Error| format!("cache.disk: {}: {error}", self.shared.path.display());
        let readers = Readers::start(limits.readers).map_err(fault)?;
        let shared = Arc::new(self.shared);
        let (jobs, receiver) = sync_channel(QUEUE_MAX);
        let share = u128::from(limits.index_bytes_max) * u128::from(self.size_bytes) / u128::from(all_bytes.max(1));
        let records_max = (share / RECORD_BYTES_MAX as u128) as usize;
        let writer = Writer::new(shared.clone(), limits, self.size_bytes, records_max, next_id);
        let thread = std::thread::Builder::new().name("disk-writer".to_owned());
        let thread = thread.spawn(move || writer.run(&receiver)).map_err(|error| format!("cache.disk: {error}"))?;
        Ok(Volume {
            shared,
            readers,
            jobs,
            writer: Mutex::new(Some(thread)),
            size_bytes: self.size_bytes,
            limits,
            newest_birth: self.newest_birth,
            lock: Mutex::new(Some(self.lock)),
        })
    }
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
        if self.shared.queued_bytes.load(Relaxed) > 0 {
            // What waits has left memory perhaps, and nobody knows how old it is.
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

    /// What is stored under a key is gone, now and after a restart.
    pub fn remove(&self, key: KeyRef<'_>) {
        let hash = key.short_hash();
        if !self.is_known(hash) {
            return;
        }
        // Hidden at once, and for as long as a write that came before may still be done.
        self.shared.moving.begin_burial(hash);
        self.shared.index.remove(hash);
        if self.jobs.try_send(Job::Bury(key.into())).is_ok() {
            self.shared.jobs_sent.fetch_add(1, Relaxed);
        } else {
            self.bury_late(key);
        }
    }

    /// A removal that finds the queue full waits beside it.
    pub fn bury_late(&self, key: KeyRef<'_>) {
        let mut late = self.shared.late_burials.lock();
        if late.len() < LATE_BURIALS_MAX {
            late.push_back((self.shared.jobs_sent.load(Relaxed), key.into()));
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
