#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// The rules of the file's head, written naively over vectors.
#[derive(Default)]
struct Model {
    small: Vec<(u64, u64, u8)>,
    main: Vec<(u64, u64, u8)>,
    ghost: Vec<Option<u64>>,
}

impl Model {
    fn bytes(queue: &[(u64, u64, u8)]) -> u64 {
        queue.iter().map(|entry| entry.1).sum()
    }

    fn insert(&mut self, fingerprint: u64, weight: u64) {
        let mut known = false;
        for entry in self.ghost.iter_mut().filter(|entry| **entry == Some(fingerprint)) {
            (*entry, known) = (None, true);
        }
        let queue = if known { &mut self.main } else { &mut self.small };
        queue.push((fingerprint, weight, 0));
    }

    fn touch(&mut self, fingerprint: u64) {
        for entry in self.small.iter_mut().chain(&mut self.main).filter(|entry| entry.0 == fingerprint) {
            entry.2 = COUNT_MAX.min(entry.2 + 1);
        }
    }

    fn remove(&mut self, fingerprint: u64) {
        self.small.retain(|entry| entry.0 != fingerprint);
        self.main.retain(|entry| entry.0 != fingerprint);
    }

    fn small_is_next(&self) -> bool {
        let (small, all) = (Self::bytes(&self.small), Self::bytes(&self.small) + Self::bytes(&self.main));
        self.main.is_empty()
            || small > all / 2
            || (small > all * SMALL_SHARE_PERCENT / 100 && self.small.len() > SMALL_OBJECTS_MIN)
    }

    fn evict(&mut self) -> Option<u64> {
        for step in 0..=EVICT_STEPS_MAX {
            let last = step == EVICT_STEPS_MAX;
            if self.small.is_empty() && self.main.is_empty() {
                return None;
            }
            if self.small_is_next() {
                let (fingerprint, weight, count) = self.small.remove(0);
                if count < PROMOTE_COUNT || last {
                    self.remember(fingerprint);
                    return Some(fingerprint);
                }
                self.main.push((fingerprint, weight, 0));
            } else {
                let (fingerprint, weight, count) = self.main.remove(0);
                if count == 0 || last {
                    return Some(fingerprint);
                }
                self.main.push((fingerprint, weight, count - 1));
            }
        }
        unreachable!("the last step always evicts")
    }

    /// Membership is: among the last evictions and not taken since; a later eviction supersedes an earlier one.
    fn remember(&mut self, fingerprint: u64) {
        for entry in self.ghost.iter_mut().filter(|entry| **entry == Some(fingerprint)) {
            *entry = None;
        }
        self.ghost.push(Some(fingerprint));
        let limit = self.small.len() + self.main.len() + 1;
        self.ghost.drain(..self.ghost.len().saturating_sub(limit));
    }

    fn dump(&self) -> Vec<(Queue, u64, u8)> {
        let small = self.small.iter().map(|entry| (Queue::Small, entry.0, entry.2));
        small.chain(self.main.iter().map(|entry| (Queue::Main, entry.0, entry.2))).collect()
    }
}

/// One cache over the queues, unit of the simulations: evicts until the new object fits.
struct Cache {
    queues: S3Fifo<()>,
    slots: HashMap<u64, SlotId>,
    capacity: u64,
}

impl Cache {
    fn new(capacity: u64) -> Self {
        Cache { queues: S3Fifo::new(), slots: HashMap::new(), capacity }
    }

    fn request(&mut self, object: u64, weight: u64) -> bool {
        if let Some(&slot) = self.slots.get(&object) {
            self.queues.touch(slot);
            return true;
        }
        while self.queues.bytes() + weight > self.capacity {
            let evicted = self.queues.evict().unwrap();
            self.slots.remove(&evicted.fingerprint);
        }
        self.slots.insert(object, self.queues.insert(object, weight, ()).slot);
        false
    }
}

struct Lru {
    order: VecDeque<u64>,
    capacity: usize,
}

impl Lru {
    fn request(&mut self, object: u64) -> bool {
        let found = self.order.iter().position(|&held| held == object);
        if let Some(at) = found {
            self.order.remove(at);
        } else if self.order.len() == self.capacity {
            self.order.pop_front();
        }
        self.order.push_back(object);
        found.is_some()
    }
}

/// Requests over `objects` names, popularity 1/rank, always the same sequence.
fn zipf(objects: usize, requests: usize) -> Vec<u64> {
    let mut cumulated = Vec::with_capacity(objects);
    let mut sum = 0.0;
    for rank in 1..=objects {
        sum += 1.0 / rank as f64;
        cumulated.push(sum);
    }
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..requests).map(|_| cumulated.partition_point(|&c| c < random() * sum) as u64).collect()
}

#[test]
fn a_scan_of_objects_asked_for_once_leaves_the_hot_ones_in_place() {
    let mut cache = Cache::new(1000);
    for _ in 0..4 {
        (0..500).for_each(|object| _ = cache.request(object, 1));
    }
    (0..500).for_each(|filler| _ = cache.request(10_000 + filler, 1));
    (0..10_000).for_each(|scanned| _ = cache.request(100_000 + scanned, 1));
    let kept = (0..500).filter(|object| cache.slots.contains_key(object)).count();
    assert!(kept >= 490, "only {kept} of 500 hot objects survived the scan");
}

#[test]
fn it_hits_more_often_than_lru_on_a_skewed_trace() {
    for share in [20, 100, 400] {
        let (mut cache, mut lru) = (Cache::new(share), Lru { order: VecDeque::new(), capacity: share as usize });
        let (mut hits, mut lru_hits) = (0, 0);
        for object in zipf(4000, 40_000) {
            hits += usize::from(cache.request(object, 1));
            lru_hits += usize::from(lru.request(object));
        }
        assert!(hits > lru_hits, "{share} objects: S3-FIFO {hits} hits, LRU {lru_hits}");
    }
}

#[test]
fn an_object_that_returns_while_remembered_enters_the_main_queue() {
    let mut queues = S3Fifo::new();
    queues.insert(1, 1, ());
    assert_eq!(queues.evict().unwrap().fingerprint, 1);
    queues.insert(1, 1, ());
    assert_eq!(queues.dump(), [(Queue::Main, 1, 0)]);
}

#[test]
fn one_eviction_moves_a_bounded_number_of_objects() {
    let mut queues = S3Fifo::new();
    for fingerprint in 0..10_000 {
        let slot = queues.insert(fingerprint, 1, ()).slot;
        (0..3).for_each(|_| queues.touch(slot));
    }
    let evicted = queues.evict().unwrap();
    assert_eq!(evicted.fingerprint, EVICT_STEPS_MAX as u64);
}

#[test]
fn slots_are_used_again() {
    let mut queues = S3Fifo::new();
    let first = queues.insert(1, 5, ());
    assert!(first.grew);
    queues.remove(first.slot);
    let second = queues.insert(2, 7, ());
    assert!(!second.grew);
    assert_eq!((second.slot, queues.bytes(), queues.len()), (first.slot, 7, 1));
}

#[derive(Debug, Clone)]
enum Step {
    Request(u64, u64),
    Remove(u64),
    Evict,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..80u64, 1..50u64).prop_map(|(name, weight)| Step::Request(name, weight)),
        1 => (0..80u64).prop_map(Step::Remove),
        4 => Just(Step::Evict),
    ]
}

proptest! {
    #[test]
    fn the_queues_do_what_the_model_does(steps in proptest::collection::vec(step(), 1..400)) {
        let (mut queues, mut model, mut slots) = (S3Fifo::new(), Model::default(), HashMap::new());
        for step in steps {
            match step {
                Step::Request(name, weight) => {
                    if let Some(&slot) = slots.get(&name) {
                        queues.touch(slot);
                        model.touch(name);
                    } else {
                        slots.insert(name, queues.insert(name, weight, ()).slot);
                        model.insert(name, weight);
                    }
                }
                Step::Remove(name) => {
                    if let Some(slot) = slots.remove(&name) {
                        queues.remove(slot);
                        model.remove(name);
                    }
                }
                Step::Evict => {
                    let evicted = queues.evict().map(|evicted| evicted.fingerprint);
                    prop_assert_eq!(evicted, model.evict());
                    evicted.map(|name| slots.remove(&name));
                }
            }
            prop_assert_eq!(queues.dump(), model.dump());
            prop_assert_eq!(queues.bytes(), Model::bytes(&model.small) + Model::bytes(&model.main));
        }
    }
}
