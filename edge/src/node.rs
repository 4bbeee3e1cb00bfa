//! What all worker threads share: one cache, one ledger, one origin pool, one set of counters, one snapshot.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use headland_cache::ledger::LedgerLimits;
use headland_cache::{
    Admission, Collapse, CollapseLimits, DiskTier, EarlyHints, Fields, KeyRef, Ledger, MemoryStore, Object,
    SearchVariance, Standing, Uncacheable,
};
use headland_origin::Client;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::access_log::AccessLog;
use crate::clock::Clock;
use crate::key_log::KeyFile;
use crate::listener::Census;
use crate::metrics::Metrics;
use crate::peers::copies::Copies;
use crate::peers::heat::Heat;
use crate::purge::PurgeDesk;
use crate::quic::steering::Lanes;
use crate::quic::{Budgets, Unproven, UsedTokens};
use crate::recoding::Workshop;
use crate::refill::Refills;
use crate::request::Found;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::snapshot::{Site, Snapshot, certificates};
use crate::tickets::Tickets;
use crate::tls::{self, Certificates};

/// The shared state of a node.
pub struct Node {
    pub clock: Clock,
    pub store: MemoryStore,
    /// Set when the node starts, where there is one.
    pub disk: OnceLock<Arc<DiskTier>>,
    pub collapse: Collapse,
    pub uncacheable: Uncacheable,
    pub hints: EarlyHints,
    pub workshop: Workshop,
    pub ledger: Arc<Ledger>,
    pub client: Arc<Client>,
    pub metrics: Metrics,
    pub purges: PurgeDesk,
    pub refills: Refills,
    /// Of what peers own: how often it is asked for here, and what is kept of it.
    pub heat: Heat,
    pub copies: Copies<Object>,
    pub drain: Drain,
    pub census: Census,
    pub tls: Arc<rustls::ServerConfig>,
    pub quic_tls: Arc<rustls::ServerConfig>,
    pub secret: Arc<Secret>,
    pub used_tokens: Arc<UsedTokens>,
    pub unproven: Unproven,
    pub handshakes: Budgets,
    /// How QUIC's workers hand datagrams to each other, one for each address.
    pub lanes: Mutex<Vec<Arc<Lanes>>>,
    pub certificates: Arc<ArcSwap<Certificates>>,
    log: ArcSwap<AccessLog>,
    snapshot: ArcSwap<Snapshot>,
    /// Grows with each reload: a connection looks at the snapshot again only when this has changed.
    version: AtomicU64,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Node {
    /// Builds a node from settings; nothing is bound yet. The error is one sentence.
    pub fn new(settings: &Settings) -> Result<Arc<Self>, String> {
        let metrics = Metrics::new(settings.node.workers);
        let snapshot = Snapshot::compile(settings, None, &metrics)?;
        let certificates = certificates(settings)?;
        let certificates = Arc::new(ArcSwap::from_pointee(certificates));
        let log = AccessLog::open(&settings.log).map_err(|error| format!("log {}: {error}", settings.log.path))?;
        let cache = &settings.cache;
        let secret = Arc::<Secret>::default();
        let tickets = Arc::new(Tickets::new(secret.clone()));
        let keys = settings.log.tls_keys.as_deref().map(KeyFile::open).transpose()?;
        let keys = keys.map(|keys| Arc::new(keys) as Arc<dyn rustls::KeyLog>);
        Ok(Arc::new(Node {
            clock: Clock::start(),
            store: MemoryStore::new(cache.memory_bytes),
            disk: OnceLock::new(),
            collapse: Collapse::new(CollapseLimits {
                followers_max: cache.followers_max as usize,
                fill_bytes_max: cache.fill_bytes_max,
            }),
            uncacheable: Uncacheable::new(),
            hints: EarlyHints::default(),
            workshop: Workshop::new(usize::from(settings.node.workers)),
            ledger: Arc::new(Ledger::new(LedgerLimits {
                tags_ignore_case: cache.tags_ignore_case,
                ..LedgerLimits::default()
            })),
            client: Client::new(settings.pool),
            metrics,
            purges: PurgeDesk::default(),
            refills: Refills::default(),
            heat: Heat::default(),
            copies: Copies::default(),
            drain: Drain::default(),
            census: Census::default(),
            tls: tls::server_config(certificates.clone(), tickets.clone(), keys.clone())?,
            quic_tls: tls::quic_config(certificates.clone(), tickets, keys, takes_early_data(settings))?,
            secret,
            used_tokens: Arc::default(),
            unproven: Unproven::default(),
            handshakes: Budgets::default(),
            lanes: Mutex::default(),
            certificates,
            log: ArcSwap::from_pointee(log),
            snapshot: ArcSwap::from_pointee(snapshot),
            version: AtomicU64::new(1),
        }))
    }

    /// Whether requests may come before the handshake ends.
    pub fn takes_early_data(&self) -> bool {
        self.quic_tls.max_early_data_size > 0
    }

    /// Swaps in new settings as a whole, or says why not and keeps the old ones.
    pub fn reload(&self, settings: &Settings) -> Result<(), String> {
        let previous = self.snapshot.load_full();
        let snapshot = Snapshot::compile(settings, Some(&previous), &self.metrics)?;
        if settings.node.workers as usize != self.metrics.workers().len() {
            return Err("node.workers cannot be changed by a reload; restart the node".to_owned());
        }
        if settings.cache.memory_bytes != previous.cache.memory_bytes
            || settings.cache.object_bytes_max != previous.cache.object_bytes_max
            || settings.cache.fill_bytes_max != previous.cache.fill_bytes_max
            || settings.cache.tags_ignore_case != previous.cache.tags_ignore_case
            || settings.cache.disk != previous.cache.disk
        {
            return Err("the sizes of the cache and the case of tags cannot be changed by a reload; restart the node"
                .to_owned());
        }
        let certificates = certificates(settings)?;
        // Also reopens an unchanged path, so that a rotated file is let go.
        let log = AccessLog::open(&settings.log).map_err(|error| format!("log {}: {error}", settings.log.path))?;
        self.certificates.store(Arc::new(certificates));
        self.log.store(Arc::new(log));
        self.snapshot.store(Arc::new(snapshot));
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The number of the present snapshot.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub fn log(&self) -> arc_swap::Guard<Arc<AccessLog>> {
        self.log.load()
    }

    /// Whether a connection made for `sni` may carry requests for `host`.
    pub fn certificates_cover(&self, sni: Option<&str>, host: &[u8]) -> bool {
        let Some(sni) = sni else { return true };
        let name = crate::route::without_port(host);
        if sni.as_bytes() == name {
            return true;
        }
        // A canonical host is ASCII.
        std::str::from_utf8(name).is_ok_and(|name| self.certificates.load().covers(Some(sni), name))
    }

    /// An object is in the memory tier; the disk tier hears of it.
    pub fn stored(&self, object: &Arc<Object>) {
        if let Some(disk) = self.disk.get() {
            disk.stored(object, self.admission_of(object));
        }
    }

    /// What the site of an object says of writing it to disk.
    pub fn admission_of(&self, object: &Object) -> Admission {
        let snapshot = self.snapshot.load();
        snapshot.sites.find(object.key.as_ref().host()).map_or(Admission::Never, |site| site.disk)
    }

    /// What is stored under a key is gone from every tier.
    pub fn forget(&self, key: KeyRef<'_>) {
        // The disk first: what is being read from it is looked at again after it was put into memory.
        if let Some(disk) = self.disk.get() {
            disk.remove(key);
        }
        self.store.remove(key);
    }

    /// The same for one object; its other variants stay in memory, unless the disk has some.
    pub fn forget_object(&self, object: &Arc<Object>) {
        // What waits to be written counts, too: it would be found once memory has nothing.
        if self.disk.get().is_some_and(|disk| disk.is_known(object.key.as_ref())) {
            self.forget(object.key.as_ref());
        } else {
            self.store.remove_object(object);
        }
    }

    /// Whether the disk may have what memory does not.
    pub fn may_be_on_disk(&self, key: KeyRef<'_>) -> bool {
        self.disk.get().is_some_and(|disk| disk.contains(key))
    }

    /// Looks a key up: the ledger's word first, then the variant that fits the request.
    pub fn find<F: Fields>(&self, key: KeyRef<'_>, fields: &F) -> Found {
        let candidates = self.store.candidates(key);
        let mut purged = false;
        for object in &candidates {
            if !object.vary.matches(fields) {
                continue;
            }
            match self.ledger.check(object) {
                Standing::Hard => {
                    // What the disk has of it is judged alike when it is read; its other variants are none of this.
                    self.store.remove_object(object);
                    purged = true;
                }
                standing => return Found::Object(object.clone(), standing),
            }
        }
        match (purged, candidates.is_empty()) {
            (true, _) => Found::Purged,
            (false, true) => Found::Nothing,
            (false, false) => Found::OtherVariant,
        }
    }
}

impl Node {
    /// What is stored for another target that its response declares equivalent (No-Vary-Search section 6). A purge of
    /// either URL counts.
    pub fn find_equivalent<F: Fields>(&self, key: KeyRef<'_>, fields: &F) -> Option<(Arc<Object>, Standing)> {
        let (other, variance) = self.ledger.alternates.find(key)?;
        let Found::Object(object, standing) = self.find(other.as_ref(), fields) else { return None };
        // What is stored there now may say otherwise.
        if SearchVariance::of(&object.head).as_ref() != Some(&*variance) {
            return None;
        }
        let own = self.ledger.standing_of(key, &object.tags, &object.vary, object.born);
        (own == Standing::Clear).then_some((object, standing))
    }

    /// Remembers which other targets a response was stored for, where its site wants that.
    pub fn note_equivalents(&self, site: &Site, object: &Object) {
        if site.no_vary_search
            && let Some(variance) = SearchVariance::of(&object.head)
        {
            self.ledger.alternates.record(&object.key, variance);
        }
    }
}

fn takes_early_data(settings: &Settings) -> bool {
    settings.listeners.iter().any(|each| each.http3 && each.early_data)
}

/// The end of a node's life: no new connections, idle ones close, busy ones finish.
#[derive(Debug, Default)]
pub struct Drain {
    begun: AtomicBool,
    woken: Notify,
    deadline: Mutex<Option<Instant>>,
}

impl Drain {
    /// Begins; what has not ended by the deadline is cut off.
    pub fn begin(&self, deadline: Instant) {
        *self.deadline.lock() = Some(deadline);
        self.begun.store(true, Ordering::Release);
        self.woken.notify_waiters();
    }

    /// When the drain ends, once it has begun.
    pub fn deadline(&self) -> Instant {
        self.deadline.lock().unwrap_or_else(Instant::now)
    }

    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Ends when draining begins.
    pub async fn begins(&self) {
        let woken = self.woken.notified();
        if !self.has_begun() {
            woken.await;
        }
    }
}
