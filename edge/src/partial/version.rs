//! One version of a body that is stored apart, and what memory holds of it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use headland_cache::conditional::Validators;
use headland_cache::object::Parts;
use headland_cache::partial::{Part, StrongValidator, covers, run_of};
use headland_cache::{Body, CacheKey, FillHead, Object, Outcome, Standing};
use headland_origin::FieldLines;

use crate::forward::OwnedLines;
use crate::node::Node;
use crate::plan::Plan;
use crate::renewal::{Asked, Update, succeed, updated};

/// How often a change is made anew because another one came before it.
const UPDATES_MAX: u32 = 4;

/// The object with the head of the whole stands for all of it: where it is gone or replaced, so is the version.
#[derive(Debug, Clone)]
pub struct Version {
    whole: Arc<Object>,
}

/// A run of bytes in memory.
#[derive(Debug)]
pub struct Held {
    body: Body,
    /// Positions in the whole.
    pub run: Range<u64>,
}

impl Held {
    pub fn new(body: Body, run: Range<u64>) -> Self {
        Held { body, run }
    }

    /// The wanted bytes; none where they are not all there.
    pub fn slice(&self, wanted: &Range<u64>) -> Option<impl Iterator<Item = Bytes> + '_> {
        let start = self.run.start;
        covers(&self.run, wanted).then(|| self.body.slice(wanted.start - start..wanted.end - start))
    }
}

impl Version {
    pub fn new(whole: Arc<Object>) -> Self {
        Version { whole }
    }

    /// Length of the whole, in bytes.
    pub fn total(&self) -> u64 {
        self.whole.body.len()
    }

    /// The part with this byte.
    pub fn part(&self, at: u64) -> Part {
        Part::at(at, self.total())
    }

    /// All parts with bytes of a range.
    pub fn parts(&self, wanted: Range<u64>) -> impl Iterator<Item = Part> + Clone + use<> {
        let total = self.total();
        let mut at = wanted.start;
        std::iter::from_fn(move || {
            let part = (at < wanted.end).then(|| Part::at(at, total))?;
            at = part.bytes().end;
            Some(part)
        })
    }

    pub fn key(&self, part: Part) -> CacheKey {
        part.key(&self.whole.key, self.whole.generation)
    }

    /// What proves that more bytes belong to this version.
    pub fn validator(&self) -> Option<StrongValidator<'_>> {
        StrongValidator::of(&Validators::of(&self.whole.head), self.whole.freshness.response_time())
    }

    /// What memory holds of a part.
    pub fn held(&self, node: &Node, part: Part) -> Option<Held> {
        // A whole of one part stands in its own place once it is complete.
        let is_all = part.bytes() == (0..self.total());
        if is_all && let Some(complete) = self.successor(node) {
            return Some(complete);
        }
        let key = self.key(part);
        // More than one where an update of the whole has changed its Vary in between: all are of this version.
        let candidates = node.store.candidates(key.as_ref()).into_iter();
        let runs = candidates.filter_map(|object| Some(Held::new(object.body.clone(), run_of(&object.head)?)));
        runs.max_by_key(|held| held.run.end - held.run.start)
    }

    fn successor(&self, node: &Node) -> Option<Held> {
        let candidates = node.store.candidates(self.whole.key.as_ref());
        let complete = candidates.iter().find(|o| o.generation == self.whole.generation && !o.body.is_apart())?;
        Some(Held::new(complete.body.clone(), 0..self.total()))
    }

    /// The first byte of a range that is neither in memory nor, perhaps, on disk. Only so many parts are looked at: what
    /// comes behind them counts as missing.
    pub fn missing(&self, node: &Node, wanted: &Range<u64>, parts_max: usize) -> Option<u64> {
        let mut parts = self.parts(wanted.clone()).enumerate();
        let (_, part) = parts.find(|(at, part)| {
            let is_held = |held: Held| covers(&held.run, &part.cut(wanted));
            *at >= parts_max || !self.held(node, *part).map_or_else(|| self.may_be_on_disk(node, *part), is_held)
        })?;
        Some(part.bytes().start.max(wanted.start))
    }

    /// Whether some of a part is there, or may be.
    pub fn is_there(&self, node: &Node, part: Part) -> bool {
        self.held(node, part).is_some() || self.may_be_on_disk(node, part)
    }

    pub fn may_be_on_disk(&self, node: &Node, part: Part) -> bool {
        node.may_be_on_disk(self.key(part).as_ref())
    }

    /// Whether this version is what is stored.
    pub fn is_current(&self, node: &Node) -> bool {
        self.current(node).is_some()
    }

    /// What stands for all of it now, under the latest head. What has left memory may be on disk, and is as it was.
    pub fn current(&self, node: &Node) -> Option<Arc<Object>> {
        let candidates = node.store.candidates(self.whole.key.as_ref());
        if candidates.is_empty() && node.may_be_on_disk(self.whole.key.as_ref()) {
            return Some(self.whole.clone());
        }
        candidates.into_iter().find(|object| object.generation == self.whole.generation)
    }

    /// Nothing more can be added to this version.
    pub fn forget(&self, node: &Node) {
        node.forget_object(&self.current(node).unwrap_or_else(|| self.whole.clone()));
    }

    /// The fields that came with more of its bytes update the stored ones (RFC 9111 section 3.4). What stands for the
    /// version is no younger by that to a purge: the other bytes are not. False where it may not be stored under them.
    pub async fn update<F: OwnedLines>(&self, node: &Node, plan: &Plan<F>, sent: &FieldLines, asked: Asked) -> bool {
        for _ in 0..UPDATES_MAX {
            let Some(stored) = self.current(node) else { return true };
            let renewed = match updated(plan, &stored, sent, Asked { born: stored.born, ..asked }) {
                Update::Renewed(renewed) => Arc::new(*renewed),
                Update::Untouched => return true,
                Update::Withdrawn => return false,
            };
            self.bring_back(node, &stored).await;
            if succeed(node, &stored, &renewed) {
                node.note_equivalents(&plan.site, &renewed);
                return true;
            }
        }
        true
    }

    /// What only the disk has is updated in memory.
    async fn bring_back(&self, node: &Node, stored: &Arc<Object>) {
        let key = stored.key.as_ref();
        let is_gone = node.store.candidates(key).is_empty() && node.may_be_on_disk(key);
        // It may have been removed from both in between.
        if is_gone && node.store.insert_absent_in_steps(stored).await && !node.may_be_on_disk(key) {
            node.store.remove_object(stored);
        }
    }

    /// The head of a fill that brings a run of one part.
    pub fn fill_head(&self, part: Part, run: &Range<u64>, outcome: Outcome) -> Option<FillHead> {
        Some(FillHead {
            head: part.head(run)?,
            freshness: self.whole.freshness.clone(),
            vary: self.whole.vary.clone(),
            tags: self.whole.tags.clone(),
            length: Some(run.end - run.start),
            outcome,
            born: self.whole.born,
            object_bytes_max: u64::MAX,
            generation: self.whole.generation,
        })
    }

    /// Stores a run of a part; the only part of a whole takes the place of the whole.
    pub async fn keep(&self, node: &Node, part: Part, head: &FillHead, body: &Body) {
        if body.len() == self.total() {
            return self.complete(node, part, body);
        }
        if !self.is_current(node) {
            return;
        }
        let object = Arc::new(Object::new(Parts {
            key: self.key(part),
            head: head.head.clone(),
            body: body.clone(),
            trailers: None,
            // A purge of one variant must not take the parts of the others along.
            vary: self.whole.vary.clone(),
            ..self.whole.parts().clone()
        }));
        node.store.insert_in_steps(object.clone()).await;
        node.stored(&object);
        node.metrics.here().parts_stored.bump();
    }
    fn complete(&self, node: &Node, part: Part, body: &Body) {
        for _ in 0..UPDATES_MAX {
            let Some(stored) = self.current(node) else { return };
            let complete = Arc::new(Object::new(Parts { body: body.clone(), ..stored.parts().clone() }));
            if node.ledger.check(&complete) == Standing::Hard {
                return;
            }
            if node.store.succeed(&stored, &complete) {
                node.store.remove(self.key(part).as_ref());
                return node.stored(&complete);
            }
        }
    }
}
