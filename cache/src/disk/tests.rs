//! The tier on a real file system.
#![allow(clippy::unwrap_used)]

use super::segment::Segment;
use super::segment::tests::Scratch;
use super::*;
use crate::fixtures::{NOW, admit_at_once, in_language, key, parts, secs};
use crate::object::Parts;
use crate::{CacheKey, Object};

const SIZE_BYTES: u64 = 1 << 20;
const LIMITS: DiskLimits = DiskLimits {
    segment_bytes: 1 << 17,
    write_bytes_per_s: None,
    keeps_page_cache: true,
    readers: 1,
    index_bytes_max: 1 << 20,
};
const LONG: Duration = Duration::from_secs(10);

fn object(target: &str, body_bytes: usize) -> Arc<Object> {
    Arc::new(Object::new(parts("h", target, body_bytes)))
}

/// Of a node whose clock stands.
fn surroundings() -> Surroundings {
    Surroundings {
        stopwatch: Arc::new(|| 0),
        now: Arc::new(|| NOW),
        is_worth_keeping: Arc::new(|parts| parts.freshness.is_fresh(NOW)),
        tell: Arc::new(|_| ()),
    }
}

fn try_open(scratches: &[&Scratch], limits: DiskLimits) -> Result<DiskTier, String> {
    let volume = |scratch: &&Scratch| VolumeSettings { path: scratch.0.clone(), size_bytes: SIZE_BYTES };
    let volumes: Vec<_> = scratches.iter().map(volume).collect();
    let tier = DiskTier::open(&volumes, limits, &surroundings())?;
    tier.settle();
    Ok(tier)
}

fn open(scratch: &Scratch) -> DiskTier {
    try_open(&[scratch], LIMITS).unwrap()
}

fn read(tier: &DiskTier, key: &CacheKey) -> Option<Parts> {
    let found = tier.read(key.as_ref(), |_| true, Patience::Waits).unwrap()?;
    Some(Parts { body: found.whole_body()?, ..found.object.parts().clone() })
}

fn shared(tier: &DiskTier) -> &volume::Shared {
    &tier.volumes[0].shared
}

fn counters(tier: &DiskTier) -> &Counters {
    &shared(tier).counters
}

/// Records, and their bytes.
fn usage(tier: &DiskTier) -> (usize, u64) {
    (shared(tier).index.len(), shared(tier).bytes.load(Relaxed))
}

/// Waits until the writer has taken everything.
fn settle(tier: &DiskTier) {
    while shared(tier).queued_bytes.load(Relaxed) > 0 {
        std::thread::yield_now();
    }
}

/// Stores these, and ends the tier in an orderly way.
fn filled(scratch: &Scratch, objects: &[Arc<Object>]) {
    let tier = open(scratch);
    for object in objects {
        tier.stored(object, Admission::Always);
    }
    tier.close(LONG);
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let scratch = Scratch::new("restart");
    let objects = [object("/a", 10), object("/b", 0), object("/c", 20_000)];
    filled(&scratch, &objects);
    let tier = open(&scratch);
    for object in &objects {
        let found = read(&tier, &object.key).unwrap();
        assert_eq!(format!("{found:?}"), format!("{:?}", object.parts()));
    }
    assert_eq!(usage(&tier).0, 3);
    assert!(read(&tier, &key("h", "/d")).is_none());
    assert!(tier.first_generation() > 0);
}

#[test]
fn without_an_orderly_end_it_is_there_as_well() {
    let scratch = Scratch::new("crash");
    let tier = open(&scratch);
    tier.stored(&object("/a", 10), Admission::Always);
    settle(&tier);
    while !tier.contains(key("h", "/a").as_ref()) {
        std::thread::yield_now();
    }
    let copy = Scratch::new("crash-copy");
    for file in std::fs::read_dir(&scratch.0).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.0.join(file.file_name())).unwrap();
    }
    let again = open(&copy);
    assert!(read(&again, &key("h", "/a")).is_some());
}

#[test]
fn the_latest_of_a_key_wins_and_a_removed_one_stays_away() {
    let scratch = Scratch::new("latest");
    filled(&scratch, &[object("/a", 10), object("/a", 20), object("/b", 10)]);
    let tier = open(&scratch);
    assert_eq!(read(&tier, &key("h", "/a")).unwrap().body.len(), 20);
    tier.remove(key("h", "/b").as_ref());
    assert!(read(&tier, &key("h", "/b")).is_none());
    tier.close(LONG);
    drop(tier);
    let tier = open(&scratch);
    assert!(read(&tier, &key("h", "/b")).is_none());
    assert!(read(&tier, &key("h", "/a")).is_some());
}

#[test]
fn a_removal_reaches_what_still_waits_to_be_written() {
    let scratch = Scratch::new("waiting");
    for round in 0..50 {
        let tier = open(&scratch);
        let target = format!("/{round}");
        // Much before it, so that it waits.
        (0..20).for_each(|number| tier.stored(&object(&format!("/{round}/{number}"), 20_000), Admission::Always));
        tier.stored(&object(&target, 10), Admission::Always);
        tier.remove(key("h", &target).as_ref());
        assert!(!tier.contains(key("h", &target).as_ref()));
        settle(&tier);
        assert!(read(&tier, &key("h", &target)).is_none(), "round {round}");
        tier.close(LONG);
        drop(tier);
        assert!(read(&open(&scratch), &key("h", &target)).is_none(), "round {round}, after a restart");
    }
}

#[test]
fn what_waits_to_be_written_is_known_before_it_is_there() {
    let scratch = Scratch::new("known");
    // The clock of these tests stands: after the first second's worth, everything waits.
    let tier = try_open(&[&scratch], DiskLimits { write_bytes_per_s: Some(30_000), ..LIMITS }).unwrap();
    (0..20).for_each(|number| tier.stored(&object(&format!("/{number}"), 10_000), Admission::Always));
    let last = key("h", "/19");
    assert!(!tier.contains(last.as_ref()) && tier.is_known(last.as_ref()));
    tier.remove(last.as_ref());
    tier.close(LONG);
    drop(tier);
    assert!(read(&open(&scratch), &last).is_none());
}

#[test]
fn what_is_newer_follows_what_still_waits_to_be_written() {
    let scratch = Scratch::new("follows");
    let tier = open(&scratch);
    tier.evicted(&object("/a", 10), true, Admission::SecondHit);
    tier.stored(&object("/a", 20), Admission::SecondHit);
    settle(&tier);
    assert_eq!(read(&tier, &key("h", "/a")).unwrap().body.len(), 20);
}

#[test]
fn what_was_read_is_current_until_it_is_removed_or_replaced() {
    let scratch = Scratch::new("current");
    let tier = open(&scratch);
    let found = |target: &str| tier.read(key("h", target).as_ref(), |_| true, Patience::Waits).unwrap().unwrap();
    tier.stored(&object("/a", 10), Admission::Always);
    tier.stored(&object("/b", 10), Admission::Always);
    settle(&tier);
    let (a, b) = (found("/a"), found("/b"));
    assert!(a.is_current() && b.is_current());
    tier.remove(key("h", "/a").as_ref());
    tier.stored(&object("/b", 20), Admission::Always);
    assert!(!a.is_current() && !b.is_current());
}

#[test]
fn variants_are_told_apart() {
    let scratch = Scratch::new("variants");
    let variant = |language: &str, bytes| Arc::new(Object::new(in_language(parts("h", "/a", bytes), language)));
    filled(&scratch, &[variant("de", 10), variant("en", 20), variant("de", 30)]);
    let tier = open(&scratch);
    let length = |language: &str| {
        let wanted = variant(language, 0);
        let found = tier.read(wanted.key.as_ref(), |vary| *vary == wanted.vary, Patience::Waits);
        found.unwrap().map(|found| found.length())
    };
    assert_eq!([length("de"), length("en"), length("fr")], [Some(30), Some(20), None]);
    assert_eq!(usage(&tier).0, 2);
}

#[test]
fn a_damaged_record_is_a_miss_and_counted() {
    let scratch = Scratch::new("damaged");
    filled(&scratch, &[object("/a", 1000), object("/b", 1000)]);
    let path = scratch.0.join(Segment::name(1));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle_of_a_body = bytes.windows(100).position(|window| window == [b'x'; 100]).unwrap() + 50;
    bytes[middle_of_a_body] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let tier = open(&scratch);
    assert!(read(&tier, &key("h", "/a")).is_none());
    assert!(read(&tier, &key("h", "/b")).is_some());
    assert_eq!(counters(&tier).damaged.load(Relaxed), 1);
    assert!(!tier.contains(key("h", "/a").as_ref()), "it is not looked for again");
}

#[test]
fn a_segment_that_is_gone_is_a_miss() {
    let scratch = Scratch::new("gone");
    filled(&scratch, &[object("/a", 1000)]);
    let tier = open(&scratch);
    std::fs::remove_file(scratch.0.join(Segment::name(1))).unwrap();
    assert!(read(&tier, &key("h", "/a")).is_some(), "who has it open reads on");
    drop(tier);
    assert!(read(&open(&scratch), &key("h", "/a")).is_none());
}

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
    let files = std::fs::read_dir(&scratch.0).unwrap().count();
    assert!(files <= 1 + (SIZE_BYTES / LIMITS.segment_bytes) as usize, "{files} files");
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
fn a_large_body_is_read_piece_by_piece_and_a_lost_piece_ends_it() {
    let scratch = Scratch::new("pieces");
    let limits = DiskLimits { segment_bytes: 1 << 21, ..LIMITS };
    let tier = try_open(&[&scratch], limits).unwrap();
    let bytes: Vec<u8> = (0..500_000_u32).map(|at| (at / 3 % 251) as u8).collect();
    let large = Arc::new(Object::new(Parts { body: crate::Body::copy_of(&bytes), ..parts("h", "/large", 0) }));
    tier.stored(&large, Admission::Always);
    settle(&tier);
    let found = tier.read(large.key.as_ref(), |_| true, Patience::Waits).unwrap().unwrap();
    let FoundBody::Pieces(body) = &found.body else { panic!("it is large") };
    assert_eq!((body.len(), body.pieces(), body.piece_of(300_000)), (500_000, 4, (2, 300_000 - (2 << 17))));
    let piece = |number| body.piece(number, Patience::Waits);
    assert_eq!((0..4).map(|number| piece(number).unwrap()).collect::<Vec<_>>().concat(), bytes);
    // What was just written is in the page cache.
    assert_eq!(body.piece(3, Patience::None).unwrap(), bytes[3 << 17..]);
    let path = scratch.0.join(Segment::name(1));
    let mut file = std::fs::read(&path).unwrap();
    let at = file.len() - 1000;
    file[at] ^= 1;
    std::fs::write(&path, file).unwrap();
    assert!(piece(0).is_ok());
    assert_eq!(piece(3), Err(NoPiece::Lost));
    assert_eq!(counters(&tier).damaged.load(Relaxed), 1);
    assert!(!tier.contains(large.key.as_ref()) && found.whole_body().is_none());
}

#[test]
fn a_second_node_is_refused() {
    let scratch = Scratch::new("lock");
    let tier = open(&scratch);
    let error = try_open(&[&scratch], LIMITS).err().unwrap();
    assert!(error.ends_with("another node has it"), "{error}");
    drop(tier);
    open(&scratch);
}

#[test]
fn a_disk_that_fails_is_taken_out_of_service() {
    let scratch = Scratch::new("failing");
    let tier = open(&scratch);
    // The next segment's name is taken: it cannot be created.
    std::fs::write(scratch.0.join(Segment::name(1)), b"").unwrap();
    tier.stored(&object("/a", 10), Admission::Always);
    settle(&tier);
    while !shared(&tier).write_failed.load(Relaxed) {
        std::thread::yield_now();
    }
    assert_eq!(counters(&tier).write_errors.load(Relaxed), 1);
    tier.stored(&object("/b", 10), Admission::Always);
    assert!(read(&tier, &key("h", "/b")).is_none());
}

#[test]
fn births_go_on_where_they_were() {
    let scratch = Scratch::new("births");
    let late = Object::new(Parts { born: Epoch(42), ..parts("h", "/a", 10) });
    filled(&scratch, &[Arc::new(late), object("/b", 10)]);
    assert_eq!(open(&scratch).newest_birth(), Epoch(42));
}

#[test]
fn no_rule_is_needed_for_what_was_born_before_the_oldest_here() {
    let scratch = Scratch::new("oldest");
    let tier = open(&scratch);
    let born = |target, epoch| Arc::new(Object::new(Parts { born: Epoch(epoch), ..parts("h", target, 10) }));
    assert_eq!(tier.oldest_birth(), NO_BIRTH);
    tier.stored(&born("/a", 7), Admission::Always);
    tier.stored(&born("/b", 9), Admission::Always);
    settle(&tier);
    assert_eq!(tier.oldest_birth(), Epoch(7));
    tier.close(LONG);
    drop(tier);
    assert_eq!(open(&scratch).oldest_birth(), Epoch(7));
}

#[test]
fn keys_are_spread_over_the_volumes_and_found_there_again() {
    let (one, other) = (Scratch::new("one"), Scratch::new("other"));
    let tier = try_open(&[&one, &other], LIMITS).unwrap();
    let objects: Vec<_> = (0..60).map(|number| object(&format!("/{number}"), 100)).collect();
    for object in &objects {
        tier.stored(object, Admission::Always);
    }
    tier.close(LONG);
    assert!(tier.report().all(|volume| volume.records > 15), "each has about half");
    drop(tier);
    let tier = try_open(&[&one, &other], LIMITS).unwrap();
    assert!(objects.iter().all(|object| read(&tier, &object.key).is_some()));
}

#[test]
fn what_moved_to_another_volume_does_not_come_back_when_that_is_gone() {
    let (one, other) = (Scratch::new("stays"), Scratch::new("goes"));
    let objects: Vec<_> = (0..60).map(|number| object(&format!("/{number}"), 100)).collect();
    filled(&one, &objects);
    let tier = try_open(&[&one, &other], LIMITS).unwrap();
    let stay = objects.iter().filter(|object| read(&tier, &object.key).is_some()).count();
    assert!((15..45).contains(&stay), "{stay}");
    tier.close(LONG);
    drop(tier);
    assert_eq!(usage(&open(&one)).0, stay);
}

#[test]
fn a_volume_that_fails_leaves_the_others_alone() {
    let (one, other) = (Scratch::new("fails"), Scratch::new("goes-on"));
    let tier = try_open(&[&one, &other], LIMITS).unwrap();
    // The next segment's name is taken: it cannot be created.
    std::fs::write(one.0.join(Segment::name(1)), b"").unwrap();
    let objects: Vec<_> = (0..60).map(|number| object(&format!("/{number}"), 100)).collect();
    for object in &objects {
        tier.stored(object, Admission::Always);
    }
    tier.close(LONG);
    assert_eq!(tier.report().map(|volume| volume.is_written).collect::<Vec<_>>(), [false, true]);
    assert!(tier.report().nth(1).unwrap().records > 15);
}

#[test]
fn removals_that_find_the_queue_full_are_done_all_the_same() {
    let scratch = Scratch::new("late");
    let tier = open(&scratch);
    tier.stored(&object("/a", 10), Admission::Always);
    settle(&tier);
    let removed = key("h", "/a");
    shared(&tier).moving.begin_burial(removed.hash() as u64);
    tier.volumes[0].bury_late(removed.as_ref().short_hash());
    assert!(!tier.contains(removed.as_ref()));
    tier.stored(&object("/b", 10), Admission::Always);
    while shared(&tier).moving.is_hidden(removed.hash() as u64) {
        std::thread::yield_now();
    }
    assert!(!tier.contains(removed.as_ref()));
    tier.close(LONG);
    drop(tier);
    assert!(read(&open(&scratch), &key("h", "/a")).is_none());
}

#[test]
fn after_a_removal_that_could_not_be_written_nothing_is_found() {
    let scratch = Scratch::new("distrusted");
    filled(&scratch, &[object("/a", 10), object("/b", 10)]);
    let tier = open(&scratch);
    // The next segment's name is taken: it cannot be created.
    std::fs::create_dir(scratch.0.join(Segment::name(2))).unwrap();
    tier.remove(key("h", "/a").as_ref());
    tier.close(LONG);
    drop(tier);
    std::fs::remove_dir(scratch.0.join(Segment::name(2))).unwrap();
    let tier = open(&scratch);
    assert!(["/a", "/b"].iter().all(|target| read(&tier, &key("h", target)).is_none()));
    tier.stored(&object("/c", 10), Admission::Always);
    tier.close(LONG);
    drop(tier);
    assert!(read(&open(&scratch), &key("h", "/c")).is_some(), "it is distrusted once");
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
