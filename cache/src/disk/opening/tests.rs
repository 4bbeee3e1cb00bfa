//! Starts: from the snapshot, from listings, and while keys are made invalid.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::super::segment::tests::Scratch;
use super::super::{Admission, DiskTier, Patience, VolumeSettings};
use super::*;
use crate::fixtures::{NOW, key, parts};
use crate::object::{Object, Parts};
use crate::{CacheKey, Epoch};

const SIZE_BYTES: u64 = 1 << 20;
const LIMITS: DiskLimits = DiskLimits {
    segment_bytes: 1 << 17,
    write_bytes_per_s: None,
    keeps_page_cache: true,
    readers: 1,
    index_bytes_max: 1 << 20,
};
const SNAPSHOT: &str = "index";

fn surroundings(tell: impl Fn(&str) + Send + Sync + 'static) -> Surroundings {
    Surroundings {
        stopwatch: Arc::new(|| 0),
        now: Arc::new(|| NOW),
        is_worth_keeping: Arc::new(|_| true),
        tell: Arc::new(tell),
    }
}

fn settings(scratch: &Scratch) -> VolumeSettings {
    VolumeSettings { path: scratch.0.clone(), size_bytes: SIZE_BYTES }
}

fn open(scratch: &Scratch) -> DiskTier {
    let tier = DiskTier::open(&[settings(scratch)], LIMITS, &surroundings(|_| ())).unwrap();
    tier.settle();
    tier
}

fn object(target: &str, bytes: usize) -> Arc<Object> {
    Arc::new(Object::new(Parts { born: Epoch(9), ..parts("h", target, bytes) }))
}

fn length(tier: &DiskTier, key: &CacheKey) -> Option<u64> {
    Some(tier.read(key.as_ref(), |_| true, Patience::Waits).unwrap()?.length())
}

/// `/0` to `/299` of 1,000 bytes, in a few segments; `/7` was removed.
fn filled(scratch: &Scratch) {
    let tier = open(scratch);
    (0..300).for_each(|number| tier.stored(&object(&format!("/{number}"), 1000), Admission::Always));
    tier.remove(key("h", "/7").as_ref());
    tier.settle();
    tier.close(Duration::from_secs(10));
}

fn flip(path: &Path, from_end: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Everything is there but what was removed.
fn is_all_there(tier: &DiskTier) -> bool {
    (0..300).all(|number| length(tier, &key("h", &format!("/{number}"))).is_some() == (number != 7))
}

#[test]
fn an_orderly_end_leaves_a_snapshot_and_the_next_start_takes_it() {
    let scratch = Scratch::new("takes-snapshot");
    filled(&scratch);
    assert!(scratch.0.join(SNAPSHOT).exists());
    let home = Home { spread: Arc::new(super::super::Spread::over(&[settings(&scratch)])), number: 0 };
    let opening = Opening::begin(&settings(&scratch), LIMITS, home, surroundings(|_| ())).unwrap();
    assert!(opening.load.snapshot.is_some() && !scratch.0.join(SNAPSHOT).exists());
    drop(opening);
    // It was taken, and nobody came to its end: what the segments list is as good.
    let tier = open(&scratch);
    assert!(is_all_there(&tier) && tier.newest_birth() == Epoch(9) && tier.oldest_birth() == Epoch(9));
    let report = tier.report().next().unwrap();
    let (records, bytes) = (report.records, report.bytes);
    tier.close(Duration::from_secs(10));
    drop(tier);
    let tier = open(&scratch);
    assert!(is_all_there(&tier) && tier.newest_birth() == Epoch(9) && tier.oldest_birth() == Epoch(9));
    let report = tier.report().next().unwrap();
    assert_eq!((report.records, report.bytes, report.is_loading), (records, bytes, false));
}

#[test]
fn a_snapshot_that_is_not_true_changes_nothing() {
    let scratch = Scratch::new("untrue-snapshot");
    filled(&scratch);
    let snapshot = scratch.0.join(SNAPSHOT);
    let old = std::fs::read(&snapshot).unwrap();
    for harm in ["flipped at its end", "flipped at its beginning", "cut", "of other segments"] {
        match harm {
            "flipped at its end" => flip(&snapshot, 9),
            "flipped at its beginning" => flip(&snapshot, std::fs::read(&snapshot).unwrap().len() - 30),
            "cut" => std::fs::write(&snapshot, &old[..old.len() / 2]).unwrap(),
            _ => std::fs::write(&snapshot, &old).unwrap(),
        }
        let tier = open(&scratch);
        assert!(is_all_there(&tier), "{harm}");
        assert_eq!(tier.newest_birth(), Epoch(9), "{harm}");
        // Another segment, so that the first snapshot is not of these any more.
        tier.stored(&object("/more", 1000), Admission::Always);
        tier.close(Duration::from_secs(10));
    }
}

#[test]
fn a_segment_with_records_younger_than_its_end_told_is_left_out() {
    let scratch = Scratch::new("younger");
    filled(&scratch);
    std::fs::remove_file(scratch.0.join(SNAPSHOT)).unwrap();
    let mut paths: Vec<_> = std::fs::read_dir(&scratch.0).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "segment"));
    // The newest birth, which is 9, in all of them.
    for path in paths {
        flip(&path, 32);
    }
    let tier = open(&scratch);
    assert_eq!(tier.newest_birth(), Epoch(8));
    assert!((0..300).all(|number| length(&tier, &key("h", &format!("/{number}"))).is_none()));
}

/// A tier that is still being looked over: it goes on when the sender says so.
fn held_up(scratch: &Scratch) -> (DiskTier, std::sync::mpsc::Sender<()>) {
    // The last block of the snapshot is damaged: the thread that reads it says so, and waits here.
    flip(&scratch.0.join(SNAPSHOT), 9);
    let (go_on, wait) = channel::<()>();
    let (told, is_held) = channel::<()>();
    let (wait, told): (Mutex<Receiver<()>>, _) = (Mutex::new(wait), Mutex::new(told));
    let tell = move |_: &str| {
        told.lock().send(()).unwrap();
        // Ended when the sender is dropped.
        let _ = wait.lock().recv();
    };
    let tier = DiskTier::open(&[settings(scratch)], LIMITS, &surroundings(tell)).unwrap();
    is_held.recv().unwrap();
    (tier, go_on)
}

#[test]
fn what_is_not_in_the_index_yet_is_a_miss_and_comes() {
    let scratch = Scratch::new("comes");
    filled(&scratch);
    let (tier, go_on) = held_up(&scratch);
    assert!(tier.report().next().unwrap().is_loading && tier.oldest_birth() == Epoch(0));
    assert_eq!(tier.newest_birth(), Epoch(9));
    assert!(length(&tier, &key("h", "/1")).is_none() && !tier.contains(key("h", "/1").as_ref()));
    drop(go_on);
    tier.settle();
    assert!(is_all_there(&tier) && tier.oldest_birth() == Epoch(9));
}

#[test]
fn what_was_made_invalid_meanwhile_does_not_come_back_now_or_later() {
    let scratch = Scratch::new("meanwhile");
    filled(&scratch);
    let (tier, go_on) = held_up(&scratch);
    tier.remove(key("h", "/1").as_ref());
    // Newer ones: not to be written, written, and removed before it was.
    tier.stored(&object("/2", 10), Admission::SecondHit);
    tier.stored(&object("/3", 10), Admission::Always);
    tier.stored(&object("/4", 10), Admission::Always);
    tier.remove(key("h", "/4").as_ref());
    tier.remove(key("h", "/5").as_ref());
    tier.stored(&object("/5", 10), Admission::Always);
    drop(go_on);
    tier.settle();
    let expected = [None, None, Some(10), None, Some(10), Some(1000)];
    let lengths = |tier: &DiskTier| [1, 2, 3, 4, 5, 6].map(|number| length(tier, &key("h", &format!("/{number}"))));
    assert_eq!(lengths(&tier), expected);
    tier.close(Duration::from_secs(10));
    drop(tier);
    std::fs::remove_file(scratch.0.join(SNAPSHOT)).unwrap();
    assert_eq!(lengths(&open(&scratch)), expected, "by what the segments list");
}

#[test]
fn keys_that_are_marked_are_left_out_and_told() {
    let scratch = Scratch::new("marked");
    filled(&scratch);
    let home = Home { spread: Arc::new(super::super::Spread::over(&[settings(&scratch)])), number: 0 };
    let load = Opening::begin(&settings(&scratch), LIMITS, home, surroundings(|_| ())).unwrap().into_load();
    let (shared, marked) = (load.shared.clone(), key("h", "/1").as_ref().short_hash());
    shared.loading.mark(marked);
    shared.loading.mark(key("h", "/nothing").as_ref().short_hash());
    assert!(load.run().contains(&marked));
    assert!(!shared.index.contains(marked) && shared.index.contains(key("h", "/2").as_ref().short_hash()));
}
