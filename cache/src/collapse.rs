//! One fetch per key and variant: whoever comes first leads, everybody else follows its fill.
//!
//! The table holds the running fills, in shards. Order matters at the end of a fill: the leader seals it
//! ([`Lead::seal`]), puts the object into the store, and only then retires the fill ([`Sealed::retire`]). So a request
//! finds the object in the store, or the fill in the table. One that looked into the store just before and at the
//! table just after becomes a leader with the object already stored: a leader therefore looks into the store once
//! more, and calls [`Lead::found`] when the object is there.
//!
//! A fill that ends without a response leaves the table before its followers are woken, so that one of them can lead.
//! One that is outdated by an unsafe request ([`Collapse::outdate`]) leaves the table at once and serves those who
//! follow it already, but is not to be stored: all variants of a key share one hash, so that they are found together.
//! Lock order: a shard of the table, then a fill; wakers are called outside both.

use std::sync::Arc;

use hashbrown::HashTable;
use http::HeaderMap;
use parking_lot::Mutex;

use crate::body::Body;
use crate::fill::{Broken, End, Fill, FillAccount, FillHead, NoHead, NobodyReads, Retention};
use crate::fill_reader::Follower;
use crate::key::{CacheKey, KeyRef};

/// Shards of the table of running fills.
const SHARDS: usize = 64;

/// Bounds of collapsing.
#[derive(Debug, Clone, Copy)]
pub struct CollapseLimits {
    /// Readers of one fill, the leader's client among them.
    pub followers_max: usize,
    /// Memory of all running fills, in bytes. A fill that would pass it keeps only a window and is not stored.
    pub fill_bytes_max: u64,
}

/// What became of a request that wants to share a fetch.
pub enum Join {
    /// Nobody fetches this: the request leads.
    Lead(Lead),
    /// Somebody does: the request follows.
    Follow(Follower),
    /// Somebody does, but can take no more readers: the request goes to the origin by itself.
    Crowded,
}

/// The fills that are running.
pub struct Collapse {
    table: Arc<Table>,
}

struct Table {
    shards: [Mutex<HashTable<Arc<Fill>>>; SHARDS],
    account: Arc<FillAccount>,
    limits: CollapseLimits,
}

impl Collapse {
    #[must_use]
    pub fn new(limits: CollapseLimits) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(HashTable::new()));
        let account = Arc::new(FillAccount::new(limits.fill_bytes_max));
        Collapse { table: Arc::new(Table { shards, account, limits }) }
    }

    /// Joins the fill of a key, or starts one. `variant` is the hash of the Vary facts the request is known to need, 0
    /// when none are known yet; requests with different variants never share a fill.
    pub fn join(&self, key: KeyRef<'_>, variant: u64) -> Join {
        let hash = fill_hash(key);
        let mut shard = self.table.shard(hash).lock();
        let Some(fill) = shard.find(hash, |fill| is_for(fill, key, variant)) else {
            return Join::Lead(self.start(&mut shard, hash, key, variant));
        };
        match fill.join(self.table.limits.followers_max) {
            Some(reader) => Join::Follow(Follower::new(fill.clone(), reader)),
            None => Join::Crowded,
        }
    }

    /// Leads a fill without a client, to revalidate in the background; `None` when one is running.
    pub fn try_lead(&self, key: KeyRef<'_>, variant: u64) -> Option<Lead> {
        let hash = fill_hash(key);
        let mut shard = self.table.shard(hash).lock();
        let running = shard.find(hash, |fill| is_for(fill, key, variant)).is_some();
        (!running).then(|| self.start(&mut shard, hash, key, variant))
    }

    /// Whether a fill is running for a key, whatever its variant.
    pub fn is_led(&self, key: KeyRef<'_>) -> bool {
        let hash = fill_hash(key);
        self.table.shard(hash).lock().find(hash, |fill| fill.key.as_ref() == key).is_some()
    }

    /// What is stored under a key has become invalid (RFC 9111 section 4.4), and with it what is on its way there. Comes
    /// before the removal from the store, so that whoever stores meanwhile sees one or the other.
    pub fn outdate(&self, key: KeyRef<'_>) {
        let hash = fill_hash(key);
        let mut shard = self.table.shard(hash).lock();
        while let Ok(entry) = shard.find_entry(hash, |fill| fill.key.as_ref() == key) {
            let (fill, _) = entry.remove();
            fill.outdate();
        }
    }

    /// What is followed began before a purge that the follower came after: nobody follows it from now on.
    pub fn outdate_followed(&self, follower: &Follower) {
        follower.fill().outdate();
        self.table.remove(follower.fill());
    }

    /// Memory that running fills hold, in bytes.
    pub fn fill_bytes(&self) -> u64 {
        self.table.account.bytes()
    }

    /// Number of running fills.
    pub fn fills(&self) -> usize {
        self.table.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn start(&self, shard: &mut HashTable<Arc<Fill>>, hash: u64, key: KeyRef<'_>, variant: u64) -> Lead {
        let fill = Arc::new(Fill::new(CacheKey::from(key), variant, self.table.account.clone()));
        shard.insert_unique(hash, fill.clone(), |fill| fill_hash(fill.key.as_ref()));
        Lead { running: Running { fill, table: self.table.clone(), ended: false } }
    }
}

impl Table {
    fn shard(&self, hash: u64) -> &Mutex<HashTable<Arc<Fill>>> {
        // The table inside a shard uses the low and the top bits.
        &self.shards[(hash >> 40) as usize % SHARDS]
    }

    /// Takes a fill out; does nothing when it is out already.
    fn remove(&self, fill: &Arc<Fill>) {
        let hash = fill_hash(fill.key.as_ref());
        let mut shard = self.shard(hash).lock();
        if let Ok(entry) = shard.find_entry(hash, |held| Arc::ptr_eq(held, fill)) {
            entry.remove();
        }
    }
}

fn fill_hash(key: KeyRef<'_>) -> u64 {
    key.short_hash()
}

fn is_for(fill: &Fill, key: KeyRef<'_>, variant: u64) -> bool {
    fill.variant == variant && fill.key.as_ref() == key
}

/// A fill in the table. Dropping it takes it out and ends it as abandoned, unless it has ended otherwise.
struct Running {
    fill: Arc<Fill>,
    table: Arc<Table>,
    ended: bool,
}

impl Running {
    /// Ends without a response to share: out of the table first, so that a follower that is woken can lead.
    fn end(&mut self, end: End) {
        self.ended = true;
        self.table.remove(&self.fill);
        self.fill.end(end);
    }

    /// Ends with a response that is in the store, if anywhere: whoever still finds the fill can read all of it.
    fn complete(&mut self) {
        self.ended = true;
        self.fill.end(End::Whole);
        self.table.remove(&self.fill);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let broken = self.fill.has_head();
        self.end(if broken { End::Broken(Broken::ABANDONED) } else { End::NoHead(NoHead::Abandoned) });
    }
}

/// Who waits for a fill, to be counted while it runs.
#[derive(Clone)]
pub struct Audience(Arc<Fill>);

impl Audience {
    /// How many clients wait for the fill or read of it now.
    pub fn readers(&self) -> usize {
        self.0.readers()
    }
}

impl std::fmt::Debug for Audience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Audience").field(&self.readers()).finish()
    }
}

/// The right and the duty to fetch. Dropped without an end, it breaks the fill: followers without a head try again,
/// readers see a broken transfer.
pub struct Lead {
    running: Running,
}

impl Lead {
    /// A reader for the leader's own client. Take it before the first byte is appended.
    pub fn follow(&self) -> Follower {
        let fill = &self.running.fill;
        Follower::new(fill.clone(), fill.join_as_leader())
    }

    /// Who waits for this fill.
    pub fn audience(&self) -> Audience {
        Audience(self.running.fill.clone())
    }

    /// The key that is being filled.
    pub fn key(&self) -> &CacheKey {
        &self.running.fill.key
    }

    /// Whether an unsafe request has made the response invalid: then it is not to be stored.
    pub fn is_outdated(&self) -> bool {
        self.running.fill.is_outdated()
    }

    /// Shows the head to all followers, once. The answer says whether the body will be kept whole; a response too large
    /// to store may rather be [`Lead::release`]d.
    pub fn publish(&self, head: Arc<FillHead>) -> Retention {
        self.running.fill.publish(head)
    }

    /// Shows bytes to all readers at once. In a window it then waits until little enough is unread, so dropping the
    /// future loses nothing.
    pub async fn append(&self, data: &[u8]) -> Result<(), NobodyReads> {
        self.running.fill.append(data);
        std::future::poll_fn(|cx| self.running.fill.poll_room(cx)).await
    }

    /// Bytes that were appended so far.
    pub fn received(&self) -> u64 {
        self.running.fill.received()
    }

    /// Ends the body with its last bytes (or none), which readers see when the fill is retired: who has read all of a
    /// response can rely on its being stored. A body of another length than declared breaks the fill instead.
    pub fn seal(mut self, last: &[u8], trailers: Option<HeaderMap>) -> Result<Sealed, Broken> {
        match self.running.fill.seal(last, trailers) {
            Ok(body) => Ok(Sealed { body, running: self.running }),
            Err(broken) => {
                self.running.end(End::Broken(broken));
                Err(broken)
            }
        }
    }

    /// The origin failed: followers without a head learn why, readers see a broken transfer.
    pub fn fail(mut self, broken: Broken) {
        self.running.end(End::Broken(broken));
    }

    /// The response is the leader's alone: all followers are sent to the origin, none sees a byte of it.
    pub fn release(mut self) {
        assert!(!self.running.fill.has_head(), "a response is released before its head is shown");
        self.running.end(End::NoHead(NoHead::Uncacheable));
    }

    /// The store has the response: it was there already, or a 304 confirmed it. Followers look again.
    pub fn found(mut self) {
        assert!(!self.running.fill.has_head(), "nothing is fetched that was found");
        self.running.end(End::NoHead(NoHead::LookAgain));
    }
}

/// A fill whose body is complete and still in the table. Retires when dropped.
pub struct Sealed {
    body: Option<Body>,
    running: Running,
}

impl Sealed {
    /// The body to store; none when the fill kept only a window.
    pub fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// The trailers to store.
    pub fn trailers(&self) -> Option<HeaderMap> {
        self.running.fill.trailers()
    }

    /// Whether an unsafe request has made the response invalid: then it is not to be stored. To be asked again after it
    /// was stored.
    pub fn is_outdated(&self) -> bool {
        self.running.fill.is_outdated()
    }

    /// After the object was stored (or refused): shows the end to all readers and takes the fill out of the table.
    pub fn retire(self) {}
}

impl Drop for Sealed {
    fn drop(&mut self) {
        self.running.complete();
    }
}

#[cfg(test)]
mod tests;
