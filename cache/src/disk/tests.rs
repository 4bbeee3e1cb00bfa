//! The tier on a real file system.
#![allow(clippy::unwrap_used)]

use super::segment::Segment;
use super::segment::tests::Scratch;
use super::*;
use crate::fixtures::{NOW, admit_at_once, in_language, key, parts, secs};
use crate::object::Parts;
use crate::{CacheKey, Object};

mod failing;
mod room;
mod volumes;

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
