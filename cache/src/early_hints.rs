//! Links worth telling a client before the origin answers (RFC 8297): those that the last stored response of a key gave
//! to be preloaded or preconnected.
//!
//! Only shared responses are remembered, with what they vary on, their tags and the time they were born, so that hints
//! reach nobody whom the response itself could not have reached. A hint is advice: the final response replaces it.
//!
//! Bounds: links and bytes per key; when all keys together hold too much, all are forgotten. That costs hints only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::key::{CacheKey, KeyRef};
use crate::ledger::Epoch;
use crate::syntax::is_ows;
use crate::{Fields, Tags, VaryFacts};

/// Links that are remembered of one response.
pub const LINKS_MAX: usize = 16;
/// Bytes of links that are remembered of one response.
pub const LINK_BYTES_MAX: usize = 4096;
/// Bytes of links and keys over all keys.
pub const HINTS_BYTES_MAX: usize = 8 << 20;

/// What tables and allocator add to one key, in bytes.
const ENTRY_BYTES: usize = 512;

/// The links of one response, and whom they are for.
#[derive(Debug, Clone)]
pub struct Hints {
    pub links: Vec<Box<[u8]>>,
    pub vary: VaryFacts,
    pub tags: Tags,
    pub born: Epoch,
}

/// What is remembered, by key.
#[derive(Debug, Default)]
pub struct EarlyHints {
    table: Mutex<Table>,
    /// Times that all was forgotten at the bound.
    forgotten: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    /// By the key's hash; a key that shares it takes the place.
    by_hash: HashMap<u128, (CacheKey, Hints)>,
    bytes: usize,
}

impl EarlyHints {
    /// Remembers the links of the latest response of a key, or that it had none.
    pub fn record(&self, key: &CacheKey, hints: Hints) {
        let weight = weight(key, &hints);
        let mut table = self.table.lock();
        if let Some((key, before)) = table.by_hash.remove(&key.hash()) {
            table.bytes -= self::weight(&key, &before);
        }
        if hints.links.is_empty() {
            return;
        }
        let full = (table.bytes + weight > HINTS_BYTES_MAX).then(|| std::mem::take(&mut *table));
        table.bytes += weight;
        table.by_hash.insert(key.hash(), (key.clone(), hints));
        drop(table);
        if full.is_some() {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        // Perhaps many, which nobody has to wait for.
        drop(full);
    }

    /// Bytes held, and how often all was forgotten.
    pub fn usage(&self) -> (usize, u64) {
        (self.table.lock().bytes, self.forgotten.load(Ordering::Relaxed))
    }

    /// Forgets what was born before an epoch, whose purges will not be known any more.
    pub fn forget_before(&self, oldest: Epoch) {
        let mut table = self.table.lock();
        let mut freed = 0;
        table.by_hash.retain(|_, (key, hints)| {
            let stays = hints.born >= oldest;
            freed += if stays { 0 } else { weight(key, hints) };
            stays
        });
        table.bytes -= freed;
    }

    /// What is remembered of a key.
    pub fn find(&self, key: KeyRef<'_>) -> Option<Hints> {
        let table = self.table.lock();
        let (known, hints) = table.by_hash.get(&key.hash())?;
        (known.as_ref() == key).then(|| hints.clone())
    }
}

fn weight(key: &CacheKey, hints: &Hints) -> usize {
    let links: usize = hints.links.iter().map(|link| link.len() + 32).sum();
    ENTRY_BYTES + key.as_ref().bytes().len() + links + hints.tags.heap_bytes() + hints.vary.heap_bytes()
}

/// The links of a response that may be hinted at: relation preload or preconnect, within the bounds.
pub fn links_of(response: &impl Fields) -> Vec<Box<[u8]>> {
    let mut left = LINK_BYTES_MAX;
    let links = response.named("link").flat_map(|line| split(line, b','));
    let fits = |link: &&[u8]| {
        let fits = link.len() <= left;
        left = left.saturating_sub(link.len());
        fits
    };
    links.filter(|link| is_hint(link)).take_while(fits).take(LINKS_MAX).map(Into::into).collect()
}

/// RFC 8288 section 3.3: of several `rel` parameters only the first counts; it holds relation types between spaces.
fn is_hint(link: &[u8]) -> bool {
    if !link.starts_with(b"<") {
        return false;
    }
    let relation = split(link, b';').skip(1).find_map(|parameter| {
        let equals = memchr::memchr(b'=', parameter)?;
        let name = parameter[..equals].trim_ascii();
        name.eq_ignore_ascii_case(b"rel").then(|| parameter[equals + 1..].trim_ascii())
    });
    let relation = relation.unwrap_or_default();
    let inside = relation.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(relation);
    let wanted = |word: &[u8]| word.eq_ignore_ascii_case(b"preload") || word.eq_ignore_ascii_case(b"preconnect");
    inside.split(|&byte| is_ows(byte)).any(wanted)
}

/// The parts between separators that stand neither in a quoted string nor in angle brackets; empty ones are left out.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut bracketed, mut escaped) = (false, false, false);
    let parts = text.split(move |&byte| {
        let inside = quoted || bracketed;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !bracketed => quoted = !quoted,
            b'<' if !quoted => bracketed = true,
            b'>' if !quoted => bracketed = false,
            _ => return byte == separator && !inside,
        }
        false
    });
    parts.map(<[u8]>::trim_ascii).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixtures::{Lines, key};

    fn links(value: &str) -> Vec<String> {
        let found = links_of(&Lines::of(&[("Link", value)]));
        found.iter().map(|link| String::from_utf8_lossy(link).into_owned()).collect()
    }

    fn hints(links: &[&str]) -> Hints {
        let links = links.iter().map(|link| link.as_bytes().into()).collect();
        Hints { links, vary: VaryFacts::default(), tags: Tags::default(), born: Epoch(0) }
    }

    #[test]
    fn links_to_preload_or_preconnect_are_taken_and_no_others() {
        for (value, taken) in [
            ("</a.css>; rel=preload; as=style", vec!["</a.css>; rel=preload; as=style"]),
            ("</a>; rel=next, </b>; REL=\"Preconnect\"", vec!["</b>; REL=\"Preconnect\""]),
            ("</a,b;c>; rel=\"x preload\"; title=\"a, <b\"", vec!["</a,b;c>; rel=\"x preload\"; title=\"a, <b\""]),
            ("</a>; rel=next; rel=preload", vec![]),
            ("</a>; title=\"; rel=preload\"", vec![]),
            ("</a>; title=\"\\\", </b>; rel=preload\"", vec![]),
            ("a; rel=preload", vec![]),
            ("</a>; rel=preloaded, </a>, ,", vec![]),
        ] {
            assert_eq!(links(value), taken, "{value}");
        }
    }

    #[test]
    fn links_are_bounded_in_count_and_bytes() {
        assert_eq!(links(&"</a>; rel=preload, ".repeat(100)).len(), LINKS_MAX);
        let long = format!("<{}>; rel=preload", "a".repeat(1500));
        assert_eq!(links(&[long.as_str(); 5].join(", ")).len(), 2);
    }

    #[test]
    fn the_latest_response_of_a_key_counts() {
        let table = EarlyHints::default();
        table.record(&key("a", "/"), hints(&["</1>"]));
        table.record(&key("a", "/"), hints(&["</2>"]));
        assert_eq!(&*table.find(key("a", "/").as_ref()).unwrap().links[0], b"</2>");
        assert!(table.find(key("b", "/").as_ref()).is_none());
        table.record(&key("a", "/"), hints(&[]));
        assert!(table.find(key("a", "/").as_ref()).is_none());
        assert_eq!(table.table.lock().bytes, 0);
    }

    #[test]
    fn all_keys_together_have_a_bound() {
        let (table, link) = (EarlyHints::default(), "x".repeat(4000));
        for number in 0..3000 {
            table.record(&key("a", &format!("/{number}")), hints(&[&link]));
            assert!(table.table.lock().bytes <= HINTS_BYTES_MAX);
        }
        assert!(table.find(key("a", "/2999").as_ref()).is_some());
    }
}
