#![allow(clippy::unwrap_used)]
use super::*;
use crate::fixtures::{NOW, admit_at_once, in_language, key, parts};
use crate::policy::Policy;
use proptest::prelude::*;
use std::collections::HashMap;
use std::future::Future;
use std::task::{Context, Waker};

const PLENTY: u64 = 64 << 20;

fn object(target: &str, body_bytes: usize) -> Arc<Object> {
    Arc::new(Object::new(parts("h", target, body_bytes)))
}

fn found(store: &MemoryStore, target: &str) -> Candidates {
    store.candidates(key("h", target).as_ref())
}

fn assert_balanced(store: &MemoryStore) {
    let stats = store.stats();
    assert_eq!(stats.bytes, store.audit());
    assert!(stats.bytes <= stats.capacity_bytes);
}

#[test]
fn what_was_stored_is_found_under_its_key_alone() {
    let store = MemoryStore::new(PLENTY);
    let stored = object("/a", 10);
    assert_eq!(store.insert(stored.clone()), Insertion::Stored);
    assert!(Arc::ptr_eq(&found(&store, "/a")[0], &stored));
    assert!(found(&store, "/b").is_empty());
    assert!(store.candidates(key("i", "/a").as_ref()).is_empty());
}

#[test]
fn what_is_wanted_comes_hottest_first() {
    let store = MemoryStore::new(PLENTY);
    for (target, requests) in [("/never", 0), ("/once", 1), ("/thrice", 3), ("/twice", 2)] {
        store.insert(object(target, 10));
        (0..requests).for_each(|_| drop(found(&store, target)));
    }
    let wanted = store.wanted();
    let targets: Vec<_> = wanted.iter().map(|object| object.key.as_ref().target()).collect();
    assert_eq!(targets, [&b"/thrice"[..], b"/twice", b"/once"]);
}

#[test]
fn a_response_takes_the_place_of_the_one_before_it() {
    let store = MemoryStore::new(PLENTY);
    store.insert(object("/a", 10));
    let newer = object("/a", 20);
    assert_eq!(store.insert(newer.clone()), Insertion::Replaced);
    let candidates = found(&store, "/a");
    assert!(candidates.len() == 1 && Arc::ptr_eq(&candidates[0], &newer));
    assert_balanced(&store);
}

#[test]
fn a_successor_takes_the_place_of_its_predecessor_and_of_nothing_else() {
    let store = MemoryStore::new(PLENTY);
    let (first, second) = (object("/a", 10), object("/a", 20));
    assert!(!store.succeed(&first, &second));
    store.insert(first.clone());
    assert!(store.succeed(&first, &second));
    assert!(!store.succeed(&first, &object("/a", 30)));
    let candidates = found(&store, "/a");
    assert!(candidates.len() == 1 && Arc::ptr_eq(&candidates[0], &second));
    assert_balanced(&store);
}

#[test]
fn variants_stand_side_by_side_with_the_latest_first() {
    let store = MemoryStore::new(PLENTY);
    for (language, secs) in [("de", 2), ("en", 3), ("fr", 1)] {
        let mut variant = in_language(parts("h", "/a", 10), language);
        let admitted = admit_at_once(&Policy::plain(), 200, &[("cache-control", "max-age=60")]).unwrap();
        let later = NOW.plus_millis(secs * 1000);
        variant.freshness =
            admitted.freshness.confirmed(&crate::facts::ResponseFacts::gather(&variant.head), later, later);
        store.insert(Arc::new(Object::new(variant)));
    }
    let arrivals: Vec<u64> = found(&store, "/a").iter().map(|o| o.freshness.response_time().secs_since(NOW)).collect();
    assert_eq!(arrivals, [3, 2, 1]);
}

#[test]
fn of_variants_that_arrive_at_once_the_last_one_stored_comes_first() {
    let store = MemoryStore::new(PLENTY);
    let mut expected = Vec::new();
    for language in ["de", "en", "fr"] {
        let mut variant = in_language(parts("h", "/a", 10), language);
        variant.generation = store.next_generation();
        expected.insert(0, variant.generation);
        store.insert(Arc::new(Object::new(variant)));
    }
    assert_eq!(found(&store, "/a").iter().map(|object| object.generation).collect::<Vec<_>>(), expected);
}

#[test]
fn variants_of_one_key_are_bounded() {
    let store = MemoryStore::new(PLENTY);
    for number in 0..1000 {
        store.insert(Arc::new(Object::new(in_language(parts("h", "/a", 10), &format!("x-{number}")))));
    }
    assert_eq!(found(&store, "/a").len(), VARIANTS_MAX);
    assert_balanced(&store);
}

#[test]
fn many_keys_in_one_shard_stay_apart() {
    let store = MemoryStore::with_shards(PLENTY, 1);
    (0..5000).for_each(|number| _ = store.insert(object(&format!("/{number}"), number % 7)));
    for number in 0..5000 {
        assert_eq!(found(&store, &format!("/{number}"))[0].body.len(), number % 7);
    }
}

#[test]
fn removal_takes_all_variants_or_just_the_one_object() {
    let store = MemoryStore::new(PLENTY);
    let variant = |language| Arc::new(Object::new(in_language(parts("h", "/a", 10), language)));
    let (first, second) = (variant("de"), variant("en"));
    store.insert(first.clone());
    store.insert(second);
    assert!(store.remove_object(&first));
    assert!(!store.remove_object(&first));
    assert_eq!(found(&store, "/a").len(), 1);
    assert_eq!(store.remove(key("h", "/a").as_ref()), 1);
    assert!(found(&store, "/a").is_empty());
    assert_balanced(&store);
}

#[test]
fn an_object_as_large_as_many_shards_is_stored() {
    let store = MemoryStore::with_shards(4 << 20, 16);
    (0..2000).for_each(|number| _ = store.insert(object(&format!("/{number}"), 1000)));
    assert_eq!(store.insert(object("/large", 3 << 20)), Insertion::Stored);
    assert_eq!(found(&store, "/large")[0].body.len(), 3 << 20);
    assert_eq!(store.insert(object("/too-large", 4 << 20)), Insertion::Refused);
    assert_balanced(&store);
}

#[test]
fn a_confirmed_object_pushes_nothing_out() {
    let store = MemoryStore::with_shards(1 << 20, 1);
    let large = object("/large", 500_000);
    store.insert(large.clone());
    (0..300).for_each(|number| _ = store.insert(object(&format!("/{number}"), 1000)));
    let before = store.stats();
    assert_eq!((before.evicted, found(&store, "/large").len()), (0, 1));
    let confirmed = Arc::new(Object::new(large.parts().clone()));
    assert_eq!(store.insert(confirmed), Insertion::Replaced);
    let after = store.stats();
    assert_eq!((after.evicted, after.bytes, after.objects), (0, before.bytes, before.objects));
}

#[test]
fn a_large_object_makes_room_in_steps() {
    let store = MemoryStore::with_shards(4 << 20, 4);
    (0..3000).for_each(|number| _ = store.insert(object(&format!("/{number}"), 1000)));
    let mut insertion = Box::pin(store.insert_in_steps(object("/large", 2 << 20)));
    let mut cx = Context::from_waker(Waker::noop());
    let mut steps = 0;
    let mut evicted = store.stats().evicted;
    while insertion.as_mut().poll(&mut cx).is_pending() {
        let now = store.stats().evicted;
        assert!(now - evicted <= EVICTIONS_PER_STEP as u64);
        (steps, evicted) = (steps + 1, now);
        assert!(store.stats().bytes <= 4 << 20);
    }
    drop(insertion);
    assert!(steps > 10, "{steps}");
    assert_eq!(found(&store, "/large").len(), 1);
    assert_balanced(&store);
}

#[test]
fn an_insertion_that_is_given_up_gives_its_room_back() {
    let store = MemoryStore::with_shards(4 << 20, 4);
    (0..3000).for_each(|number| _ = store.insert(object(&format!("/{number}"), 1000)));
    let mut insertion = Box::pin(store.insert_in_steps(object("/large", 2 << 20)));
    assert!(insertion.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(insertion);
    assert!(found(&store, "/large").is_empty());
    assert_balanced(&store);
}

#[test]
fn shards_share_the_capacity_evenly() {
    let store = MemoryStore::with_shards(4 << 20, 16);
    (0..20_000).for_each(|number| _ = store.insert(object(&format!("/{number}"), 500)));
    let lens: Vec<usize> = store.shards.iter().map(|shard| shard.len.load(Ordering::Relaxed)).collect();
    let (low, high) = (*lens.iter().min().unwrap(), *lens.iter().max().unwrap());
    assert!(high <= low + low / 4, "{lens:?}");
    assert!(store.stats().bytes > (4 << 20) - 10_000);
}

#[test]
fn a_hundred_thousand_small_objects_stay_within_their_memory() {
    let per_object = object("/some/path/of/ordinary/length.html?x=1234", 1024).weight() + SLOT_BYTES;
    assert!(per_object <= 1024 + 1000, "{per_object} bytes");
}

#[test]
fn many_threads_never_see_a_wrong_object_nor_pass_the_capacity() {
    let store = MemoryStore::with_shards(256 << 10, 4);
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let store = &store;
            scope.spawn(move || {
                for step in 0..4000usize {
                    let number = (step * 7 + thread * 13) % 300;
                    let target = format!("/{number}");
                    for candidate in found(store, &target) {
                        assert_eq!(candidate.body.len(), number as u64 * 10);
                    }
                    match step % 5 {
                        0 => _ = store.remove(key("h", &target).as_ref()),
                        _ => _ = store.insert(object(&target, number * 10)),
                    }
                    assert!(store.stats().bytes <= 256 << 10);
                }
            });
        }
    });
    assert_balanced(&store);
    (0..300).for_each(|number| _ = store.remove(key("h", &format!("/{number}")).as_ref()));
    assert_eq!(store.stats().objects, 0);
    assert_balanced(&store);
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, u8, usize),
    Lookup(u8),
    Remove(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..40u8, 0..3u8, 0..4000usize).prop_map(|(target, language, bytes)| Step::Insert(target, language, bytes)),
        4 => (0..40u8).prop_map(Step::Lookup),
        1 => (0..40u8).prop_map(Step::Remove),
    ]
}

proptest! {
    /// The model forgets nothing; the store may, but what it gives is what the model has. Without pressure they agree.
    #[test]
    fn the_store_gives_what_the_model_has(
        steps in proptest::collection::vec(step(), 1..300), small in any::<bool>(), shards in 0..3u32,
    ) {
        let store = MemoryStore::with_shards(if small { 60_000 } else { PLENTY }, 1 << shards);
        let mut model: HashMap<(u8, u8), Arc<Object>> = HashMap::new();
        for step in steps {
            match step {
                Step::Insert(target, language, bytes) => {
                    let variant = in_language(parts("h", &format!("/{target}"), bytes), &format!("l{language}"));
                    let object = Arc::new(Object::new(variant));
                    prop_assert_ne!(store.insert(object.clone()), Insertion::Refused);
                    model.insert((target, language), object);
                }
                Step::Lookup(target) => {
                    let candidates = found(&store, &format!("/{target}"));
                    let known: Vec<_> = (0..3).filter_map(|language| model.get(&(target, language))).collect();
                    prop_assert!(candidates.iter().all(|held| known.iter().any(|object| Arc::ptr_eq(held, object))));
                    prop_assert!(small || candidates.len() == known.len());
                }
                Step::Remove(target) => {
                    store.remove(key("h", &format!("/{target}")).as_ref());
                    model.retain(|&(held, _), _| held != target);
                    let left = found(&store, &format!("/{target}"));
                    prop_assert!(left.is_empty());
                }
            }
            prop_assert_eq!(store.stats().bytes, store.audit());
            prop_assert!(store.stats().bytes <= store.stats().capacity_bytes);
        }
    }
}
