//! How a volume starts: what has to be known before the first request, then its index, while requests are served.
//!
//! Before: which segments there are, and the newest birth in them, because the ledger goes on from it. The index's
//! snapshot tells it, or the end of every segment; a segment that was open when its node ended is searched. After, on the
//! writer's thread and before it writes anything: the index, from the snapshot, else from what the segments list, several
//! at a time and the newest first ([`Load`]). What is wrong with a file costs what it held, never the start.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;

use parking_lot::Mutex;

use super::burials::Burials;
use super::footer::Listing;
use super::index::{Place, RECORD_BYTES_MAX};
use super::loading::Marks;
use super::readers::Readers;
use super::record::Kind;
use super::segment::Segment;
use super::snapshot::{self, Snapshot, Unfit};
use super::spread::Home;
use super::surroundings::Surroundings;
use super::volume::{DISTRUSTED, QUEUE_MAX, Shared, Volume};
use super::writer::Writer;
use super::{DiskLimits, VolumeSettings};
use crate::Epoch;

/// Segments that are read at a time at the start.
const OPENING_THREADS: usize = 8;

/// A volume that is looked over, and not at work yet.
pub struct Opening {
    lock: File,
    pub next_id: u32,
    newest_birth: Epoch,
    size_bytes: u64,
    load: Load,
}

/// What is left to be done until the index is whole.
pub struct Load {
    pub shared: Arc<Shared>,
    home: Home,
    /// The newest first.
    segments: Vec<Prepared>,
    snapshot: Option<Snapshot>,
    /// The ledger goes on from here: what was born later is left out.
    newest_birth: Epoch,
}

struct Prepared {
    segment: Arc<Segment>,
    /// Where it had to be searched at once.
    found: Mutex<Option<Listing>>,
}

impl Opening {
    /// Takes a directory, which is made if need be. The error is one sentence.
    pub fn begin(
        settings: &VolumeSettings,
        limits: DiskLimits,
        home: Home,
        surroundings: Surroundings,
    ) -> Result<Self, String> {
        let path = &settings.path;
        let fault = |error: io::Error| format!("cache.disk: {}: {error}", path.display());
        std::fs::create_dir_all(path).map_err(fault)?;
        let lock = File::create(path.join("lock")).map_err(fault)?;
        lock.try_lock().map_err(|_| format!("cache.disk: {}: another node has it", path.display()))?;
        let shared = Arc::new(Shared::new(path.clone(), home.identity(), surroundings, limits.keeps_page_cache));
        let distrusted_id = forget_what_is_distrusted(&shared).map_err(fault)?;
        let ids = ids(&shared).map_err(fault)?;
        let next_id = ids.last().map_or(distrusted_id, |id| id + 1);
        let mut load = Load { shared, home, segments: Vec::new(), snapshot: None, newest_birth: Epoch(0) };
        load.prepare(&ids);
        Ok(Opening { lock, next_id, newest_birth: load.newest_birth, size_bytes: settings.size_bytes, load })
    }

    /// Sets it to work, as one of volumes of so many bytes together; its next segment has this number at least.
    pub fn finish(self, limits: DiskLimits, all_bytes: u64, next_id: u32) -> Result<Volume, String> {
        let Opening { lock, newest_birth, size_bytes, load, .. } = self;
        let shared = load.shared.clone();
        let fault = |error: io::Error| format!("cache.disk: {}: {error}", shared.path.display());
        let readers = Readers::start(limits.readers).map_err(fault)?;
        let (jobs, receiver) = sync_channel(QUEUE_MAX);
        let share = u128::from(limits.index_bytes_max) * u128::from(size_bytes) / u128::from(all_bytes.max(1));
        let records_max = (share / RECORD_BYTES_MAX as u128) as usize;
        let writer = Writer::new(shared.clone(), limits, size_bytes, records_max, next_id);
        let work = move || writer.run(load, &receiver);
        let thread = std::thread::Builder::new().name("disk-writer".to_owned());
        let thread = thread.spawn(work).map_err(|error| format!("cache.disk: {error}"))?;
        Ok(Volume {
            shared,
            readers,
            jobs,
            writer: Mutex::new(Some(thread)),
            size_bytes,
            limits,
            newest_birth,
            lock: Mutex::new(Some(lock)),
        })
    }

    #[cfg(test)]
    pub fn into_load(self) -> Load {
        self.load
    }
}

/// The numbers of the segments that are there, the oldest first.
fn ids(shared: &Shared) -> io::Result<Vec<u32>> {
    let entries = std::fs::read_dir(&shared.path)?;
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str().and_then(Segment::id_of));
    let mut ids: Vec<u32> = ids.collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Deletes everything, if a removal was lost. The number of the next segment.
fn forget_what_is_distrusted(shared: &Shared) -> io::Result<u32> {
    let mut next_id = 1;
    if shared.path.join(DISTRUSTED).try_exists()? {
        shared.tell("it begins empty: a removal could not be written down when it had failed");
        for id in ids(shared)? {
            std::fs::remove_file(shared.path.join(Segment::name(id)))?;
            next_id = id + 1;
        }
        std::fs::remove_file(shared.path.join(DISTRUSTED))?;
    }
    Ok(next_id)
}

impl Load {
    /// Opens the segments and finds the newest birth.
    fn prepare(&mut self, ids: &[u32]) {
        let opened = at_a_time(ids.len(), |number| {
            let id = ids[ids.len() - 1 - number];
            Segment::open(&self.shared.path, id).map_err(|error| self.shared.leave_out(id, &error)).ok()
        });
        let prepared = |segment| Prepared { segment: Arc::new(segment), found: Mutex::new(None) };
        self.segments = opened.into_iter().flatten().map(prepared).collect();
        self.snapshot = self.take_snapshot();
        self.newest_birth = match &self.snapshot {
            Some(snapshot) => snapshot.newest_birth,
            None => self.claimed_births(),
        };
        let segments = self.segments.iter().map(|each| (each.segment.id, each.segment.clone()));
        self.shared.segments.write().extend(segments);
    }

    fn take_snapshot(&self) -> Option<Snapshot> {
        let described =
            |each: &Prepared| Some((each.segment.id, (each.segment.layout.seed, each.segment.length().ok()?)));
        let segments = self.segments.iter().map(described).collect::<Option<BTreeMap<_, _>>>()?;
        match snapshot::take(&self.shared.path, self.home.identity(), &segments) {
            Ok(snapshot) => Some(snapshot),
            Err(Unfit::Missing) => None,
            Err(Unfit::Stays) => {
                // Were it found by a later start, what is removed from now on might come back.
                self.shared.distrust();
                None
            }
            Err(Unfit::Untrue) => {
                self.shared.tell("the snapshot of the index is damaged, or of other segments: they are read instead");
                None
            }
        }
    }

    /// The newest birth that the ends of the segments tell of, or what is found in those that were not closed.
    fn claimed_births(&self) -> Epoch {
        let births = at_a_time(self.segments.len(), |number| {
            let Prepared { segment, found } = &self.segments[number];
            match segment.claimed_birth() {
                Ok(Some(birth)) => birth,
                // Those that cannot be read are left out later.
                Ok(None) => segment.search().map_or(Epoch(0), |listing| {
                    let birth = listing.newest_birth;
                    *found.lock() = Some(listing);
                    birth
                }),
                Err(_) => Epoch(0),
            }
        });
        births.into_iter().max().unwrap_or_default()
    }

    /// Nothing here was born after it.
    pub fn newest_birth(&self) -> Epoch {
        self.newest_birth
    }

    /// Makes the index whole. The hashes of records that were made invalid meanwhile: they have yet to be buried.
    pub fn run(mut self) -> HashSet<u64> {
        let outdated = match self.snapshot.take() {
            Some(snapshot) => self.read_snapshot(snapshot),
            None => self.read_listings(),
        };
        self.shared.loading.end();
        outdated
    }

    fn read_snapshot(&self, snapshot: Snapshot) -> HashSet<u64> {
        let shared = &self.shared;
        for segment in &snapshot.segments {
            shared.births.lock().insert(segment.id, segment.oldest_birth);
        }
        let begins: BTreeMap<u32, u64> =
            self.segments.iter().map(|each| (each.segment.id, each.segment.begin())).collect();
        let bytes = snapshot.segments.iter().map(|each| each.end.saturating_sub(begins[&each.id])).sum();
        shared.index.expect(usize::try_from(snapshot.entries).unwrap_or(0));
        let (marks, mut outdated) = (shared.loading.marks(), HashSet::new());
        let is_whole = snapshot.each(&mut |kept| {
            take_in(shared, &marks, kept.hash(), kept.place(), &mut outdated, || shared.index.restore(kept));
        });
        drop(marks);
        if is_whole {
            shared.bytes.fetch_add(bytes, Relaxed);
            return outdated;
        }
        shared.tell("the snapshot of the index is damaged: the segments are read instead");
        outdated.extend(self.read_listings());
        outdated
    }

    /// Reads what every segment holds; what is newer wins, and a tombstone removes what is older.
    fn read_listings(&self) -> HashSet<u64> {
        let burials = Burials::of(self.segments.len());
        let outdated = at_a_time(self.segments.len(), |number| {
            let listing = self.listing(&self.segments[number]);
            burials.hear(number, self.segments[number].segment.id, listing.as_ref());
            listing.map(|listing| self.take_all_in(number, &listing, &burials)).unwrap_or_default()
        });
        outdated.into_iter().flatten().collect()
    }

    /// What a segment holds of the keys of this volume. What has its home on another one now is left out for good: were it
    /// only left aside, it would be found again, older than what came meanwhile, when volumes are as they were.
    fn listing(&self, Prepared { segment, found }: &Prepared) -> Option<Listing> {
        let footer = if found.lock().is_some() { Ok(None) } else { segment.footer() };
        let searched = || found.lock().take().map_or_else(|| segment.search(), Ok);
        let read = footer.and_then(|footer| {
            let was_closed = footer.is_some();
            Ok((footer.map_or_else(searched, Ok)?, was_closed))
        });
        let (mut listing, was_closed) = match read {
            Ok(read) => read,
            Err(error) => {
                self.shared.leave_out(segment.id, &error);
                return None;
            }
        };
        if listing.newest_birth > self.newest_birth {
            // Purges of this run would not reach it.
            self.shared.leave_out(segment.id, &io::Error::new(io::ErrorKind::InvalidData, "its end was damaged"));
            return None;
        }
        let before = listing.records.len();
        listing.records.retain(|record| self.home.has(record.hash));
        if listing.records.len() != before || !was_closed {
            // What cannot be written now is looked for again at the next start.
            drop(segment.seal(&listing));
        }
        Some(listing)
    }

    fn take_all_in(&self, number: usize, listing: &Listing, burials: &Burials) -> HashSet<u64> {
        let (shared, segment) = (&self.shared, &self.segments[number].segment);
        shared.bytes.fetch_add(listing.end - segment.begin(), Relaxed);
        shared.births.lock().insert(segment.id, listing.oldest_birth);
        let (removed, marks, mut outdated) = (burials.known_to(number), shared.loading.marks(), HashSet::new());
        for record in listing.records.iter().filter(|record| record.kind == Kind::Response) {
            let place = Place { segment: segment.id, offset: record.offset, length: record.length };
            if !removed.reach(record.hash, place) {
                let insert = || shared.index.insert_unless_older(record.hash, record.variant, place);
                take_in(shared, &marks, record.hash, place, &mut outdated, insert);
            }
        }
        outdated
    }
}

/// Takes a record in, unless its key was made invalid since the start.
fn take_in(
    shared: &Shared,
    marks: &Marks<'_>,
    hash: u64,
    place: Place,
    outdated: &mut HashSet<u64>,
    insert: impl FnOnce(),
) {
    if !marks.has(hash) {
        insert();
        // Who marked it just now may have looked into the index before.
        if !marks.has(hash) {
            return;
        }
        shared.index.remove_at(hash, place);
    }
    outdated.insert(hash);
}

/// Does so many pieces of work by a few threads, in order.
fn at_a_time<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= count {
                return done;
            }
            done.push((number, work(number)));
        }
    };
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..OPENING_THREADS.min(count)).map(|_| scope.spawn(some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("reading does not panic")).collect()
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests;
