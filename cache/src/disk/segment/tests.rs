//! Segments that are whole, and such as were torn.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::Epoch;
use crate::disk::record::{Draft, tests::first_version};
use crate::fixtures::{NOW, parts};
use crate::object::Parts;

/// A directory of its own that goes with the value.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("headland-{}-{name}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn record(layout: Layout, object: &Parts) -> Vec<u8> {
    let meta = codec::encode(object);
    let variant = object.vary.hash() as u32;
    let draft = Draft { kind: Kind::Response, key_hash: object.key.hash(), variant, meta: &meta };
    let mut bytes = Vec::new();
    draft.write(layout, [&object.body.at(0)[..]].into_iter(), &mut bytes);
    bytes
}

fn numbered(number: u64) -> Parts {
    Parts { born: Epoch(number), ..parts("h", &format!("/{number}"), 100) }
}

/// Three records, one behind the other; where each ends.
fn filled(scratch: &Scratch) -> (Segment, Listing, Vec<u64>) {
    let segment = Segment::create(&scratch.0, 1, NOW).unwrap();
    let mut listing = Listing::new(segment.begin());
    let mut ends = Vec::new();
    for number in 0..3_u64 {
        let object = numbered(number);
        let bytes = record(segment.layout, &object);
        segment.write_at(&bytes, listing.end).unwrap();
        listing.add(&Label::of(&object), listing.end, bytes.len() as u64);
        listing.born(object.born);
        listing.end += bytes.len() as u64;
        ends.push(listing.end);
    }
    (segment, listing, ends)
}

#[test]
fn a_footer_says_what_a_scan_finds() {
    let scratch = Scratch::new("footer");
    let (segment, listing, _) = filled(&scratch);
    assert_eq!(segment.listing().unwrap(), listing);
    segment.finish(&listing).unwrap();
    assert_eq!(Segment::open(&scratch.0, 1).unwrap().listing().unwrap(), listing);
}

#[test]
fn wherever_a_segment_is_cut_the_whole_records_before_are_found() {
    let scratch = Scratch::new("cut");
    let (segment, listing, ends) = filled(&scratch);
    let path = scratch.0.join(Segment::name(1));
    let whole = std::fs::read(&path).unwrap();
    for length in segment.begin()..whole.len() as u64 {
        for tail in [0, 7, 500] {
            let mut torn = whole[..length as usize].to_vec();
            torn.resize(torn.len() + tail, if tail == 7 { 0xff } else { 0 });
            std::fs::write(&path, &torn).unwrap();
            let found = Segment::open(&scratch.0, 1).unwrap().listing().unwrap();
            let expected = ends.iter().filter(|end| **end <= length).count();
            // Padding that was cut off and reads as zeros again makes a record whole.
            assert!(found.records.len() == expected || found.records.len() == expected + 1, "cut at {length}");
            assert_eq!(found.records, listing.records[..found.records.len()]);
        }
    }
}

#[test]
fn a_footer_with_a_flipped_bit_is_not_believed() {
    let scratch = Scratch::new("flip");
    let (segment, listing, _) = filled(&scratch);
    segment.finish(&listing).unwrap();
    let path = scratch.0.join(Segment::name(1));
    let whole = std::fs::read(&path).unwrap();
    for at in listing.end as usize..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        let found = Segment::open(&scratch.0, 1).unwrap().listing().unwrap();
        assert_eq!(found.records, listing.records, "byte {at}");
    }
}

#[test]
fn another_version_is_refused() {
    let scratch = Scratch::new("version");
    let (segment, _, _) = filled(&scratch);
    segment.write_at(&[VERSION + 1], 7).unwrap();
    assert_eq!(Segment::open(&scratch.0, 1).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(Segment::id_of(&Segment::name(7)), Some(7));
    assert_eq!(Segment::id_of("7.segment"), None);
}

#[test]
fn what_was_damaged_is_left_out_and_what_follows_is_found() {
    let scratch = Scratch::new("damaged-middle");
    let (segment, listing, ends) = filled(&scratch);
    let path = scratch.0.join(Segment::name(1));
    let whole = std::fs::read(&path).unwrap();
    for at in ends[0]..ends[0] + HEADER_BYTES as u64 {
        let mut flipped = whole.clone();
        flipped[at as usize] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        let found = Segment::open(&scratch.0, 1).unwrap().listing().unwrap();
        assert_eq!(found.records, [listing.records[0], listing.records[2]], "byte {at}");
    }
    drop(segment);
}

#[test]
fn a_body_that_holds_a_record_does_not_pass_for_one() {
    let scratch = Scratch::new("forged");
    let (segment, listing, _) = filled(&scratch);
    let forged = record(Layout { seed: 0, ..segment.layout }, &numbered(7));
    let mut object = numbered(8);
    object.body = Body::copy_of(&forged);
    let mut bytes = record(segment.layout, &object);
    bytes[0] ^= 1;
    segment.write_at(&bytes, listing.end).unwrap();
    assert_eq!(segment.listing().unwrap().records, listing.records);
}

/// A segment as the version before wrote it: two records and a tombstone, with or without a footer.
fn of_the_first_version(scratch: &Scratch, closed: bool) -> Vec<u64> {
    let mut file = b"HLSEG\0\0\x01".to_vec();
    let (mut entries, mut ends) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let object = numbered(number);
        let kind = if number == 2 { Kind::Tombstone } else { Kind::Response };
        let (meta, body) = match kind {
            Kind::Response => (codec::encode(&object), object.body.at(0)),
            Kind::Tombstone => {
                let mut meta = Vec::new();
                codec::put_text(&mut meta, object.key.as_ref().bytes());
                meta.extend_from_slice(&[0; 8]);
                (meta, bytes::Bytes::new())
            }
        };
        let bytes = first_version(kind, object.key.hash(), &meta, &body);
        entries.extend_from_slice(&(object.key.hash() as u64).to_le_bytes());
        for field in [0, file.len() as u32 / 8, bytes.len() as u32 / 8, u32::from(kind == Kind::Tombstone)] {
            entries.extend_from_slice(&field.to_le_bytes());
        }
        file.extend_from_slice(&bytes);
        ends.push(file.len() as u64);
    }
    if closed {
        let end = file.len() as u64;
        for field in [end, 3, 1, 0] {
            entries.extend_from_slice(&field.to_le_bytes());
        }
        let sum = Layout::FIRST.sum(&entries);
        entries.extend_from_slice(&sum.to_le_bytes());
        entries.extend_from_slice(b"HLFOOTER");
        file.extend_from_slice(&entries);
    }
    std::fs::write(scratch.0.join(Segment::name(1)), file).unwrap();
    ends
}

#[test]
fn a_segment_of_the_version_before_is_read() {
    for closed in [true, false] {
        let scratch = Scratch::new("before");
        let ends = of_the_first_version(&scratch, closed);
        let listing = Segment::open(&scratch.0, 1).unwrap().listing().unwrap();
        let found: Vec<_> = listing.records.iter().map(|record| (record.kind, record.offset + record.length)).collect();
        let expected = [(Kind::Response, ends[0]), (Kind::Response, ends[1]), (Kind::Tombstone, ends[2])];
        assert_eq!(found, expected, "closed: {closed}");
        assert_eq!((listing.newest_birth, listing.oldest_birth), (Epoch(1), Epoch(0)));
    }
}
