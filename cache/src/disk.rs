//! The disk tier: logs of segments under the memory tier, larger than it, and there again after a restart.
//!
//! ```text
//! memory evicts, or stores --> offer --> [queue] --> writer --> open segment --> closed ones --> oldest reclaimed
//! a memory miss --> contains (an index in memory) --> read (page cache, else a reader thread) --> checked, decoded
//! ```
//!
//! There is one [`volume`] for each directory; keys are spread over them by their hash. Nothing here may block a worker
//! thread: all but [`Patience::Waits`] touches memory and the page cache only. A full queue drops writes, never requests.
//! Whatever is wrong on disk is at worst a miss: every record carries checksums and its whole key.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::Epoch;
use crate::key::KeyRef;
use crate::object::Object;
use crate::vary::VaryFacts;
pub(crate) use codec::{Take, put_text};
use footer::NO_BIRTH;
use ghosts::Ghosts;
pub use latency::{BUCKETS, FIRST_BOUND_US, Latency, Stopwatch};
use opening::Opening;
pub use readers::ReadJob;
pub use reading::{DiskBody, FoundBody, FoundRecord, NoPiece};
pub use segment::Patience;
use spread::{Home, Spread};
pub use surroundings::Surroundings;
pub use volume::Counters;
use volume::Volume;

mod buffers;
mod burials;
mod codec;
mod footer;
mod ghosts;
mod hottest;
mod index;
pub mod inspect;
mod latency;
mod loading;
mod moving;
mod opening;
mod pace;
mod readers;
mod reading;
mod record;
mod segment;
mod snapshot;
mod spread;
mod surroundings;
mod volume;
mod writer;

/// Keys of memory that are kept over a restart.
const HOTTEST_MAX: usize = 1 << 20;

/// What is written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Everything that is stored.
    Always,
    /// What was asked for again while it was in memory, or soon after it had left.
    SecondHit,
    /// Nothing; what is there is read.
    Never,
}

/// A directory, and what may be written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSettings {
    pub path: PathBuf,
    pub size_bytes: u64,
}

/// Bounds that all volumes have.
#[derive(Debug, Clone, Copy)]
pub struct DiskLimits {
    pub segment_bytes: u64,
    /// What is written to each in a second; none for as much as it takes.
    pub write_bytes_per_s: Option<u64>,
    /// Whether the system's page cache keeps what was written and read.
    pub keeps_page_cache: bool,
    /// Threads of each that may wait for it.
    pub readers: usize,
    /// What the indices of all may take in memory.
    pub index_bytes_max: u64,
}

/// The tier.
pub struct DiskTier {
    volumes: Vec<Volume>,
    limits: DiskLimits,
    spread: Arc<Spread>,
    newest_generation: u64,
    /// What was read lately: asked for again, it goes into memory.
    read_lately: Ghosts,
    /// What left memory lately without being written: fetched again, it is.
    left_lately: Ghosts,
}

/// What one volume holds and did.
pub struct VolumeReport<'t> {
    pub path: &'t std::path::Path,
    pub records: usize,
    pub bytes: u64,
    pub capacity_bytes: u64,
    pub index_bytes: usize,
    pub is_written: bool,
    pub is_read: bool,
    /// The index does not have everything yet.
    pub is_loading: bool,
    /// Reads that wait for a thread.
    pub reads_waiting: usize,
    pub counters: &'t Counters,
}

impl DiskTier {
    /// Opens the tier of some directories, which are made if need be. Their indices become whole later; what they do not
    /// have is a miss until then. The error is one sentence.
    pub fn open(volumes: &[VolumeSettings], limits: DiskLimits, surroundings: &Surroundings) -> Result<Self, String> {
        let spread = Arc::new(Spread::over(volumes));
        let opening = std::thread::scope(|scope| {
            let begin = |(number, volume)| {
                let home = Home { spread: spread.clone(), number };
                scope.spawn(move || Opening::begin(volume, limits, home, surroundings.clone()))
            };
            let threads: Vec<_> = volumes.iter().enumerate().map(begin).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("opening does not panic"))
                .collect::<Result<Vec<_>, _>>()
        })?;
        // One number for all, so that no two runs share one, wherever they wrote.
        let next_id = opening.iter().map(|volume| volume.next_id).max().unwrap_or(1);
        let size_bytes: u64 = volumes.iter().map(|volume| volume.size_bytes).sum();
        let volumes = opening.into_iter().map(|volume| volume.finish(limits, size_bytes, next_id));
        Ok(DiskTier {
            volumes: volumes.collect::<Result<_, _>>()?,
            limits,
            spread,
            // Versions made before the restart must not be met again: they are numbered by the run's own epoch.
            newest_generation: u64::from(next_id) << 32,
            read_lately: Ghosts::default(),
            left_lately: Ghosts::default(),
        })
    }

    /// A body up to this size is written as one, in bytes.
    pub fn body_bytes_max(&self) -> u64 {
        self.limits.body_bytes_max()
    }

    /// The ledger's newest epoch that something here was born in: epochs go on from there.
    pub fn newest_birth(&self) -> Epoch {
        self.volumes.iter().map(|volume| volume.newest_birth).max().unwrap_or_default()
    }

    /// No response here, or on its way here, was born before this epoch of the ledger.
    pub fn oldest_birth(&self) -> Epoch {
        self.volumes.iter().map(Volume::oldest_birth).min().unwrap_or(NO_BIRTH)
    }

    /// Body versions of this run are numbered from here.
    pub fn first_generation(&self) -> u64 {
        self.newest_generation
    }

    /// An object was stored in memory. What is here of it is outdated, or it is to be written at once.
    pub fn stored(&self, object: &Arc<Object>, admission: Admission) {
        let hash = object.key.hash() as u64;
        let volume = self.volume(hash);
        let is_wanted = match admission {
            Admission::Always => true,
            Admission::SecondHit => self.left_lately.take(hash),
            Admission::Never => false,
        };
        if is_wanted || volume.outdates(hash) {
            offer(volume, object, admission);
        }
    }

    /// An object left memory; `again`: it was asked for more than once there.
    pub fn evicted(&self, object: &Arc<Object>, again: bool, admission: Admission) {
        let hash = object.key.hash() as u64;
        let volume = self.volume(hash);
        if admission != Admission::SecondHit || volume.is_known(hash) {
            return;
        }
        if again {
            volume.offer(object);
        } else {
            self.left_lately.meet(hash, 0);
        }
    }

    /// Whether something may be stored under a key. Another key with the same hash says so, too.
    pub fn contains(&self, key: KeyRef<'_>) -> bool {
        let hash = key.short_hash();
        self.volume(hash).contains(hash)
    }

    /// The same, also for what is on its way to the disk or may yet be found there: to be asked before something is removed.
    pub fn is_known(&self, key: KeyRef<'_>) -> bool {
        let hash = key.short_hash();
        let volume = self.volume(hash);
        volume.shared.loading.is_under_way() || volume.is_known(hash)
    }

    /// What is stored under a key is gone, now and after a restart.
    pub fn remove(&self, key: KeyRef<'_>) {
        self.volume(key.short_hash()).remove(key);
    }

    /// The newest response under a key whose Vary facts are those wanted. The only error is that it would have to be
    /// waited for.
    pub fn read(
        &self,
        key: KeyRef<'_>,
        mut matches: impl FnMut(&VaryFacts) -> bool,
        patience: Patience,
    ) -> io::Result<Option<FoundRecord>> {
        self.volume(key.short_hash()).shared.read(key, &mut matches, patience)
    }

    /// Leaves a read to the threads of the disk that has a key; false when too many wait,
    /// unless it belongs to an answer that is under way.
    pub fn submit(&self, key: KeyRef<'_>, job: Box<dyn ReadJob>, under_way: bool) -> bool {
        let volume = self.volume(key.short_hash());
        let taken = volume.readers.submit(job, under_way);
        if !taken {
            volume.shared.counters.reads_refused.fetch_add(1, Relaxed);
        }
        taken
    }

    /// Notes that a key was read; whether it had been among the `last` that were read before, and so belongs into memory.
    pub fn is_read_again(&self, key: KeyRef<'_>, last: u64) -> bool {
        self.read_lately.meet(key.short_hash(), last)
    }

    /// Everything under a hash, read; waits for the disk.
    pub fn records(&self, hash: u64) -> Vec<FoundRecord> {
        let shared = &self.volume(hash).shared;
        let places = shared.index.find(hash);
        places.into_iter().filter_map(|place| shared.record(hash, place, Patience::Waits).ok()?).collect()
    }

    /// Keeps the hashes of keys that are to come back first after a restart.
    pub fn keep_hottest(&self, hashes: impl Iterator<Item = u64>) {
        let mut each = vec![Vec::new(); self.volumes.len()];
        hashes.take(HOTTEST_MAX).for_each(|hash| each[self.spread.of(hash)].push(hash));
        for (volume, hashes) in self.volumes.iter().zip(each) {
            if let Err(error) = hottest::write(&volume.shared.path, &hashes) {
                volume.shared.tell(&format!("what memory had is not kept: {error}"));
            }
        }
    }

    /// The hashes that were kept at the last end, once.
    pub fn take_hottest(&self) -> Vec<u64> {
        self.volumes.iter().flat_map(|volume| hottest::take(&volume.shared.path)).collect()
    }

    /// Closes the open segments and ends all threads; waits so long at most.
    pub fn close(&self, within: Duration) {
        self.volumes.iter().for_each(|volume| volume.close(within));
    }

    /// What each volume holds and did.
    pub fn report(&self) -> impl Iterator<Item = VolumeReport<'_>> {
        self.volumes.iter().map(|volume| VolumeReport {
            path: &volume.shared.path,
            records: volume.shared.index.len(),
            bytes: volume.shared.bytes.load(Relaxed),
            capacity_bytes: volume.size_bytes,
            index_bytes: volume.shared.index.bytes(),
            is_written: !volume.shared.write_failed.load(Relaxed),
            is_read: volume.shared.is_read(),
            is_loading: volume.shared.loading.is_under_way(),
            reads_waiting: volume.readers.waiting(),
            counters: &volume.shared.counters,
        })
    }

    /// The volume of a hash.
    fn volume(&self, hash: u64) -> &Volume {
        &self.volumes[self.spread.of(hash)]
    }
}

fn offer(volume: &Volume, object: &Arc<Object>, admission: Admission) {
    if admission == Admission::Never { volume.remove(object.key.as_ref()) } else { volume.offer(object) }
}

#[cfg(test)]
mod tests;
