//! Several directories.
#![allow(clippy::unwrap_used)]

use super::*;

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
