//! What is written, and how much of it is kept.
#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn the_size_is_kept_and_what_is_asked_for_stays() {
    let scratch = Scratch::new("size");
    let tier = open(&scratch);
    let popular = object("/popular", 1000);
    tier.stored(&popular, Admission::Always);
    for number in 0..2000 {
        tier.stored(&object(&format!("/{number}"), 1000), Admission::Always);
        if number % 20 == 0 {
            settle(&tier);
            assert!(read(&tier, &popular.key).is_some(), "{number}");
            assert!(usage(&tier).1 <= SIZE_BYTES);
        }
    }
    settle(&tier);
    assert!(counters(&tier).reclaimed.load(Relaxed) > 5);
    assert!(read(&tier, &key("h", "/0")).is_none());
    assert!(read(&tier, &key("h", "/1990")).is_some());
    let files = std::fs::read_dir(&scratch.0).unwrap();
    let segments = files.filter(|file| Segment::id_of(file.as_ref().unwrap().file_name().to_str().unwrap()).is_some());
    assert!(segments.count() <= (SIZE_BYTES / LIMITS.segment_bytes) as usize);
    tier.close(LONG);
    drop(tier);
    assert!(read(&open(&scratch), &popular.key).is_some());
}

#[test]
fn what_is_too_large_is_not_written_and_outdates_what_is() {
    let scratch = Scratch::new("large");
    let tier = open(&scratch);
    tier.stored(&object("/a", 10), Admission::Always);
    settle(&tier);
    tier.stored(&object("/a", LIMITS.segment_bytes as usize), Admission::Always);
    assert!(read(&tier, &key("h", "/a")).is_none());
}

#[test]
fn only_what_was_asked_for_again_is_written_on_second_hit() {
    let scratch = Scratch::new("second");
    let tier = open(&scratch);
    tier.stored(&object("/a", 10), Admission::SecondHit);
    tier.evicted(&object("/b", 10), false, Admission::SecondHit);
    tier.evicted(&object("/c", 10), true, Admission::SecondHit);
    settle(&tier);
    let there = |target| read(&tier, &key("h", target)).is_some();
    assert_eq!([there("/a"), there("/b"), there("/c")], [false, false, true]);
    // What memory has anew takes the place of what is here.
    tier.stored(&object("/c", 99), Admission::SecondHit);
    settle(&tier);
    assert_eq!(read(&tier, &key("h", "/c")).unwrap().body.len(), 99);
}

#[test]
fn what_is_fetched_again_soon_after_it_left_is_written_on_second_hit() {
    let scratch = Scratch::new("ghosts");
    let tier = open(&scratch);
    tier.evicted(&object("/a", 10), false, Admission::SecondHit);
    tier.stored(&object("/a", 10), Admission::SecondHit);
    tier.stored(&object("/b", 10), Admission::SecondHit);
    settle(&tier);
    assert!(read(&tier, &key("h", "/a")).is_some() && read(&tier, &key("h", "/b")).is_none());
}

#[test]
fn the_index_keeps_its_bound() {
    let scratch = Scratch::new("index-bound");
    let tier = try_open(&[&scratch], DiskLimits { index_bytes_max: 32 * 100, ..LIMITS }).unwrap();
    for number in 0..500 {
        tier.stored(&object(&format!("/{number}"), 500), Admission::Always);
    }
    settle(&tier);
    assert!(usage(&tier).0 <= 100, "{} records", usage(&tier).0);
    assert!(read(&tier, &key("h", "/499")).is_some() && read(&tier, &key("h", "/0")).is_none());
}

#[test]
fn writing_keeps_its_pace_until_the_node_ends() {
    let scratch = Scratch::new("pace");
    let tier = try_open(&[&scratch], DiskLimits { write_bytes_per_s: Some(30_000), ..LIMITS }).unwrap();
    // The clock of these tests stands: nothing is written after the first second's worth.
    (0..20).for_each(|number| tier.stored(&object(&format!("/{number}"), 10_000), Admission::Always));
    while counters(&tier).written.load(Relaxed) < 3 {
        std::thread::yield_now();
    }
    assert!(counters(&tier).written.load(Relaxed) < 6);
    tier.close(LONG);
    assert_eq!(counters(&tier).written.load(Relaxed), 20);
}

#[test]
fn of_a_segment_that_goes_the_wanted_stays_within_a_bound_and_nothing_expired_or_purged() {
    let scratch = Scratch::new("carried");
    // Purged are those whose target says so; the time is when those have expired that last a minute.
    let later = NOW.plus(secs(100));
    let judge =
        move |parts: &Parts| !parts.key.as_ref().target().starts_with(b"/purged") && parts.freshness.is_fresh(later);
    let surroundings = Surroundings { is_worth_keeping: Arc::new(judge), ..surroundings() };
    let volumes = [VolumeSettings { path: scratch.0.clone(), size_bytes: SIZE_BYTES }];
    let tier = DiskTier::open(&volumes, LIMITS, &surroundings).unwrap();
    let lasting = |target: &str| {
        let admitted = admit_at_once(&crate::Policy::plain(), 200, &[("cache-control", "max-age=600")]).unwrap();
        Arc::new(Object::new(Parts { freshness: admitted.freshness, ..parts("h", target, 1000) }))
    };
    let wanted: Vec<_> = (0..60).map(|number| lasting(&format!("/wanted/{number}"))).collect();
    let gone = [lasting("/purged/1"), object("/expired/1", 1000), lasting("/unwanted")];
    gone.iter().chain(&wanted).for_each(|object| tier.stored(object, Admission::Always));
    tier.settle();
    assert_eq!(shared(&tier).segments.read().len(), 1, "all in the first segment");
    gone[..2].iter().chain(&wanted).for_each(|object| assert!(read(&tier, &object.key).is_some()));
    let mut number = 0;
    while counters(&tier).reclaimed.load(Relaxed) == 0 {
        tier.stored(&object(&format!("/{number}"), 1000), Admission::Always);
        tier.settle();
        number += 1;
    }
    assert!(gone.iter().all(|object| read(&tier, &object.key).is_none()));
    let carried = wanted.iter().filter(|object| read(&tier, &object.key).is_some()).count() as u64;
    let bytes = carried * 1000;
    assert!(bytes <= LIMITS.segment_bytes / 4, "a quarter of a segment at most: {bytes}");
    assert!(bytes + 2000 > LIMITS.segment_bytes / 4 - 6000, "not much less: {bytes}");
}
