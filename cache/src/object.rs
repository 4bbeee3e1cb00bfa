//! One stored response: immutable, shared, counted.
//!
//! Nothing in an object changes after it was made; a revalidation makes a new object that shares the body. The one
//! exception is the ledger's last verdict, a cache of what the rules say, kept here so that a hit costs one compare.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;

use crate::Time;
use crate::body::Body;
use crate::freshness::Freshness;
use crate::head::{ALLOCATION_BYTES, StoredHead};
use crate::key::CacheKey;
use crate::ledger::Epoch;
use crate::standing::Standing;
use crate::tags::Tags;
use crate::vary::VaryFacts;

/// What an object is made of; read through [`Object`].
#[derive(Debug, Clone)]
pub struct Parts {
    pub key: CacheKey,
    pub head: StoredHead,
    pub body: Body,
    /// Fields that came after the body, kept apart from the head (RFC 9110 section 6.5.1).
    pub trailers: Option<Box<HeaderMap>>,
    pub freshness: Freshness,
    pub vary: VaryFacts,
    pub tags: Tags,
    /// The ledger's epoch before the origin was asked for this response, or for the 304 that confirmed it.
    pub born: Epoch,
    /// Number of the body's version, unique on the node; a confirmed object keeps it.
    pub generation: u64,
}

/// A stored response.
#[derive(Debug)]
pub struct Object {
    parts: Parts,
    verdict: Verdict,
    /// Later ones have a higher one.
    number: u64,
}

/// Number of the next object.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Object {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Object { parts, verdict: Verdict::default(), number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// Of several that match a request, the one with the highest is used (RFC 9111 section 4.1): what came, or was
    /// confirmed, last; within one millisecond what was made last.
    pub fn recency(&self) -> (Time, u64) {
        (self.parts.freshness.response_time(), self.number)
    }

    /// The parts, to make the object's successor from.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Bytes of memory that keeping this object costs, without the store's own tables.
    pub fn weight(&self) -> u64 {
        let Parts { key, head, body, trailers, vary, tags, .. } = &self.parts;
        let trailer_bytes = trailers.as_ref().map_or(0, |map| {
            let lines: usize = map.iter().map(|(name, value)| name.as_str().len() + value.len() + 128).sum();
            size_of::<HeaderMap>() + ALLOCATION_BYTES + lines
        });
        let shared = 2 * size_of::<usize>() + ALLOCATION_BYTES;
        let heap = key.as_ref().bytes().len() + shared + head.weight() + body.weight() + trailer_bytes;
        let facts = vary.heap_bytes() + tags.heap_bytes() + (3 + vary.spec().names().len()) * ALLOCATION_BYTES;
        (size_of::<Object>() + shared + heap + facts) as u64
    }

    pub(crate) fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}

impl Deref for Object {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// The standing of an object as of one version of the ledger's rules. Version and standing share one word, so a
/// reader never sees one without the other.
#[derive(Debug)]
pub(crate) struct Verdict(AtomicU64);

impl Default for Verdict {
    /// Older than every version.
    fn default() -> Self {
        Verdict(AtomicU64::new(u64::MAX))
    }
}

impl Verdict {
    /// What was found at `version`, if that was the last time anybody looked.
    pub(crate) fn at(&self, version: u64) -> Option<Standing> {
        let word = self.0.load(Ordering::Relaxed);
        if word >> 2 != version {
            return None;
        }
        Some(match word & 3 {
            0 => Standing::Clear,
            1 => Standing::Soft,
            _ => Standing::Hard,
        })
    }

    pub(crate) fn set(&self, version: u64, standing: Standing) {
        self.0.store(version << 2 | standing as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_counts_only_for_the_version_it_was_found_at() {
        let verdict = Verdict::default();
        assert_eq!(verdict.at(0), None);
        for standing in [Standing::Clear, Standing::Soft, Standing::Hard] {
            verdict.set(7, standing);
            assert_eq!((verdict.at(7), verdict.at(8)), (Some(standing), None));
        }
    }

    #[test]
    fn of_two_of_one_millisecond_the_later_is_the_more_recent() {
        let first = Object::new(crate::fixtures::parts("h", "/a", 0));
        let confirmed = Object::new(first.parts().clone());
        assert!(confirmed.recency() > first.recency());
    }

    #[test]
    fn the_overhead_of_a_small_object_stays_far_below_a_kibibyte() {
        assert!(size_of::<Object>() <= 320, "{}", size_of::<Object>());
    }
}
