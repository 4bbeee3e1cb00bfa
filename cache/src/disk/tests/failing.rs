//! What is damaged, lost or refused.
#![allow(clippy::unwrap_used)]

use super::*;

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
