//! The node's own store under a trace: real keys, real objects, real bytes, so that its account is the one it keeps.

use std::sync::Arc;

use headland_cache::object::Parts;
use headland_cache::{
    Admitted, Body, CacheKey, Epoch, Fields, KeyBuffer, MemoryStore, Mode, Object, Policy, RequestFacts, Scheme,
    StoredHead, Tags, Time, VaryFacts, admit,
};
use http::Method;

use crate::policies::Hits;
use crate::trace::Trace;

const HOST: &[u8] = b"www.example.com";
const NOW: Time = Time::from_secs(1_800_000_000);
/// What the store needs for an object beside the object itself is small against this and left out for all policies.
const LINES: [(&str, &[u8]); 4] = [
    ("content-type", b"image/webp"),
    ("cache-control", b"public, max-age=86400"),
    ("etag", b"\"0123456789abcdef\""),
    ("last-modified", b"Fri, 15 Jan 2027 08:00:00 GMT"),
];

struct Lines;

impl Fields for Lines {
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        LINES.iter().map(|(name, value)| (name.as_bytes(), *value))
    }
}

struct NoLines;

impl Fields for NoLines {
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        std::iter::empty()
    }
}

/// Makes the objects of a trace.
pub(crate) struct Maker {
    admitted: Admitted,
    zeros: Vec<u8>,
    key: KeyBuffer,
}

impl Maker {
    pub(crate) fn new(trace: &Trace) -> Self {
        let policy = Policy {
            mode: Mode::Honour,
            ttl: None,
            ttl_by_status: Arc::from([]),
            grace: None,
            stale_if_error: None,
            object_bytes_max: u64::MAX,
            honour_client_directives: false,
        };
        let request = RequestFacts::gather(&Method::GET, &NoLines);
        let admitted = admit(&request, &policy, 200, &Lines, NOW, NOW).expect("the lines may be stored");
        let largest = trace.sizes.iter().max().copied().unwrap_or(0);
        Self { admitted, zeros: vec![0; largest as usize], key: KeyBuffer::default() }
    }

    fn key(&mut self, number: u32) -> &KeyBuffer {
        self.key.begin(Scheme::Https, HOST, format!("/object/{number:08}").as_bytes());
        &self.key
    }

    fn object(&mut self, number: u32, size: u32, generation: u64) -> Object {
        let key = CacheKey::from(self.key(number).key());
        let lines = LINES.iter().map(|(name, value)| (name.as_bytes(), *value));
        Object::new(Parts {
            key,
            head: StoredHead::from_lines(200, lines).expect("the lines are well-formed"),
            body: Body::copy_of(&self.zeros[..size as usize]),
            trailers: None,
            freshness: self.admitted.freshness.clone(),
            vary: VaryFacts::of(&self.admitted.vary, &NoLines),
            tags: Tags::default(),
            born: Epoch::default(),
            generation,
        })
    }

    /// What every key's object weighs.
    pub(crate) fn weights(&mut self, trace: &Trace) -> Vec<u64> {
        let empty = self.object(0, 0, 0).weight();
        trace.sizes.iter().map(|size| empty + u64::from(*size)).collect()
    }
}

/// Look up, and on a miss insert, as the node does; freshness never ends here.
pub(crate) fn replay(maker: &mut Maker, trace: &Trace, capacity: u64) -> Hits {
    let store = MemoryStore::new(capacity);
    let mut hits = Hits::default();
    for number in &trace.requests {
        let size = trace.sizes[*number as usize];
        if store.candidates(maker.key(*number).key()).is_empty() {
            let object = maker.object(*number, size, store.next_generation());
            store.insert(Arc::new(object));
        } else {
            hits.count(size);
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_finds_all_that_fits_and_less_where_it_does_not() {
        let trace = Trace::of((0..2_000_u64).map(|number| (number * number * 7 % 100 * (number % 3), 1000)));
        let mut maker = Maker::new(&trace);
        let most = (trace.requests.len() - trace.sizes.len()) as u64;
        assert_eq!(replay(&mut maker, &trace, 64 << 20).requests, most);
        let all: u64 = maker.weights(&trace).iter().sum();
        let hits = replay(&mut maker, &trace, all / 2).requests;
        assert!(hits > 0 && hits < most, "{hits}");
    }
}
