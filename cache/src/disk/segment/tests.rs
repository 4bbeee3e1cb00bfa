//! Segments that are whole, and such as were torn.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::fixtures::parts;
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

fn record(object: &Parts) -> Vec<u8> {
    let meta = codec::encode(object);
    let header = Header::of(Kind::Response, object.key.hash(), &meta, object.body.chunks().iter().map(|c| &**c));
    let mut bytes = [header.bytes().as_slice(), &meta, &object.body.at(0)].concat();
    bytes.resize(header.record_bytes().unwrap() as usize, 0);
    bytes
}

/// Three records, one behind the other; where each ends.
fn filled(scratch: &Scratch) -> (Segment, Listing, Vec<u64>) {
    let segment = Segment::create(&scratch.0, 1).unwrap();
    let mut listing = Listing::new();
    let mut ends = Vec::new();
    for number in 0..3_u64 {
        let object = Parts { born: Epoch(number), ..parts("h", &format!("/{number}"), 100) };
        let bytes = record(&object);
        segment.write_at(&bytes, listing.end).unwrap();
        listing.records.push(Listed {
            kind: Kind::Response,
            hash: object.key.hash() as u64,
            variant: 0,
            offset: listing.end,
            length: bytes.len() as u64,
        });
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
    for length in OPENING_BYTES..whole.len() as u64 {
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
    drop(segment);
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
