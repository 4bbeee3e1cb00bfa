//! Which stored responses are good for other targets, too (No-Vary-Search).
//!
//! For each host and path there is the variance that the last stored response with the field declared, and by the
//! normal form of their queries the keys of those that declared the same. Asked only when nothing is stored under a
//! request's own key. It knows keys, not objects: whether something is there, fresh and not purged is for others to
//! say, and what has left the store stays here until it is pushed out.
//!
//! Bounds: at either of them a path, or all, is forgotten. That costs reuse, never a wrong answer; what is stored under a
//! forgotten key is reached by purges of its own URL only.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::key::{CacheKey, KeyRef};
use crate::search_variance::SearchVariance;

/// Keys that one path may have here.
pub const PATH_ALTERNATES_MAX: usize = 1024;
/// Bytes of names, normal forms and keys over all paths.
pub const ALTERNATES_BYTES_MAX: usize = 16 << 20;

/// What tables and allocator add to one entry, in bytes.
const ENTRY_BYTES: usize = 160;

/// The table.
#[derive(Debug, Default)]
pub struct Alternates {
    /// Something was ever recorded: until then nobody takes the lock.
    any: AtomicBool,
    table: Mutex<Table>,
    /// Times that a path or all was forgotten at a bound.
    forgotten: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    hosts: HashMap<Box<[u8]>, Paths>,
    bytes: usize,
}

type Paths = HashMap<Box<[u8]>, Path>;

/// Keys of one normal form, oldest first.
type Keys = SmallVec<[CacheKey; 1]>;

#[derive(Debug)]
struct Path {
    variance: Arc<SearchVariance>,
    by_query: HashMap<Box<[u8]>, Keys>,
    keys: usize,
    bytes: usize,
}

impl Alternates {
    /// A response with this variance is stored under `key`.
    pub fn record(&self, key: &CacheKey, variance: SearchVariance) {
        let (host, name) = key.as_ref().host_and_path();
        let query = variance.significant(key.as_ref().target());
        let mut table = self.table.lock();
        let full = (table.bytes > ALTERNATES_BYTES_MAX).then(|| std::mem::take(&mut *table));
        let before = table.path(host, name).map_or(0, |path| path.bytes);
        let paths = table.hosts.entry(host.into()).or_default();
        let path = paths.entry(name.into()).or_insert_with(|| Path::new(variance.clone(), host.len() + name.len()));
        // The draft lets a cache look at the latest value of a path only (section 6).
        let crowded = path.keys >= PATH_ALTERNATES_MAX;
        let outdated = (*path.variance != variance || crowded)
            .then(|| std::mem::replace(path, Path::new(variance, host.len() + name.len())));
        path.add(query, key);
        let after = path.bytes;
        table.bytes = table.bytes + after - before;
        self.any.store(true, Ordering::Release);
        drop(table);
        if crowded || full.is_some() {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        // Perhaps many keys, which nobody has to wait for.
        drop((full, outdated));
    }

    /// Bytes held, and how often a path or all was forgotten.
    pub fn usage(&self) -> (usize, u64) {
        (self.table.lock().bytes, self.forgotten.load(Ordering::Relaxed))
    }

    /// The key under which a response for an equivalent target was stored, and the variance that makes it so. Scheme,
    /// host, path and the other parts of the key are the same.
    pub fn find(&self, key: KeyRef<'_>) -> Option<(CacheKey, Arc<SearchVariance>)> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let (host, name) = key.host_and_path();
        let table = self.table.lock();
        let path = table.path(host, name)?;
        let keys = path.by_query.get(path.variance.significant(key.target()).as_slice())?;
        let found = keys.iter().rev().find(|known| known.as_ref().equals_but_target(key))?;
        Some((found.clone(), path.variance.clone()))
    }

    /// The keys, whatever their other parts, of what was stored for this target's equivalents.
    pub fn equivalent_to(&self, host: &[u8], target: &[u8]) -> Vec<CacheKey> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let name = &target[..memchr::memchr(b'?', target).unwrap_or(target.len())];
        let table = self.table.lock();
        let Some(path) = table.path(host, name) else { return Vec::new() };
        let keys = path.by_query.get(path.variance.significant(target).as_slice());
        keys.map(|keys| keys.to_vec()).unwrap_or_default()
    }
}

impl Table {
    fn path(&self, host: &[u8], name: &[u8]) -> Option<&Path> {
        self.hosts.get(host)?.get(name)
    }
}

impl Path {
    fn new(variance: SearchVariance, name_bytes: usize) -> Self {
        let bytes = 2 * ENTRY_BYTES + name_bytes + variance.heap_bytes();
        Path { variance: Arc::new(variance), by_query: HashMap::new(), keys: 0, bytes }
    }

    /// The latest comes last. Those before it stay: they may be stored still, and a purge has to reach them.
    fn add(&mut self, query: Vec<u8>, key: &CacheKey) {
        let weight = ENTRY_BYTES + query.len() + key.as_ref().bytes().len();
        let keys = self.by_query.entry(query.into()).or_default();
        if let Some(place) = keys.iter().position(|known| known == key) {
            keys[place..].rotate_left(1);
        } else {
            self.bytes += weight;
            self.keys += 1;
            keys.push(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixtures::{Lines, key};
    use crate::{KeyBuffer, Scheme};

    fn variance(value: &str) -> SearchVariance {
        SearchVariance::of(&Lines::of(&[("no-vary-search", value)])).unwrap()
    }

    fn found(alternates: &Alternates, host: &str, target: &str) -> Option<CacheKey> {
        alternates.find(key(host, target).as_ref()).map(|(key, _)| key)
    }

    #[test]
    fn an_equivalent_target_is_found_under_its_own_host_and_path_only() {
        let (alternates, stored) = (Alternates::default(), key("a", "/p?id=1&utm=x"));
        assert_eq!(found(&alternates, "a", "/p?id=1"), None);
        alternates.record(&stored, variance("params=(\"utm\")"));
        assert_eq!(found(&alternates, "a", "/p?id=1&utm=y"), Some(stored.clone()));
        for (host, target) in [("b", "/p?id=1"), ("a", "/q?id=1"), ("a", "/p?id=2"), ("a", "/p/?id=1")] {
            assert_eq!(found(&alternates, host, target), None, "{host}{target}");
        }
    }

    #[test]
    fn schemes_and_other_parts_of_a_key_are_not_shared() {
        let alternates = Alternates::default();
        let build = |scheme, value: &[u8], target: &[u8]| -> CacheKey {
            let mut buffer = KeyBuffer::new();
            buffer.begin(scheme, b"a", target);
            buffer.part(b"lang", Some(value));
            buffer.key().into()
        };
        let stored = build(Scheme::Http, b"de", b"/?x=1");
        alternates.record(&stored, variance("params"));
        let find = |key: CacheKey| alternates.find(key.as_ref()).map(|(key, _)| key);
        assert_eq!(find(build(Scheme::Http, b"de", b"/")), Some(stored.clone()));
        assert_eq!(find(build(Scheme::Http, b"en", b"/")), None);
        assert_eq!(find(build(Scheme::Https, b"de", b"/")), None);
        assert_eq!(alternates.equivalent_to(b"a", b"/?y=2"), [stored], "a purge names neither");
    }

    #[test]
    fn the_latest_variance_of_a_path_replaces_the_one_before() {
        let alternates = Alternates::default();
        alternates.record(&key("a", "/?x=1"), variance("params"));
        alternates.record(&key("a", "/?x=2"), variance("params=(\"y\")"));
        assert_eq!(found(&alternates, "a", "/?x=1"), None);
        assert_eq!(found(&alternates, "a", "/?x=2&y"), Some(key("a", "/?x=2")));
    }

    #[test]
    fn the_latest_of_several_is_found_and_a_purge_reaches_all() {
        let (alternates, keys) = (Alternates::default(), ["/?x=1", "/?x=2"].map(|target| key("a", target)));
        for at in [0, 1, 0] {
            alternates.record(&keys[at], variance("params"));
            assert_eq!(found(&alternates, "a", "/"), Some(keys[at].clone()));
        }
        assert_eq!(alternates.equivalent_to(b"a", b"/?x=3"), [keys[1].clone(), keys[0].clone()]);
    }

    #[test]
    fn a_path_has_a_bound_and_all_of_them_have_one() {
        let alternates = Alternates::default();
        for number in 0..=PATH_ALTERNATES_MAX {
            alternates.record(&key("a", &format!("/?id={number}")), variance("params=(\"y\")"));
        }
        assert_eq!(found(&alternates, "a", "/?id=0&y"), None);
        assert_eq!(alternates.usage().1, 1);
        assert!(found(&alternates, "a", &format!("/?id={PATH_ALTERNATES_MAX}&y")).is_some());
        let long = "x".repeat(60_000);
        for number in 0..400 {
            alternates.record(&key("a", &format!("/{number}{long}")), variance("params"));
            assert!(alternates.table.lock().bytes <= ALTERNATES_BYTES_MAX + 200_000);
        }
        assert!(found(&alternates, "a", &format!("/399{long}?z")).is_some());
    }
}
