//! Snapshots that are whole, and such as must not be believed.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::disk::index::Place;
use crate::disk::segment::tests::Scratch;

const HOME: u64 = 77;
const ENTRIES: u64 = BLOCK_ENTRIES as u64 + 10;

fn described() -> Described {
    Described { id: 3, seed: 9, file_bytes: 5000, end: 4000, oldest_birth: Epoch(2) }
}

fn there() -> BTreeMap<u32, (u64, u64)> {
    BTreeMap::from([(3, (9, 5000))])
}

fn place(number: u64) -> Place {
    Place { segment: 3, offset: number * 8, length: 800 }
}

/// Hashes are spread.
fn hash(number: u64) -> u64 {
    number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn written(scratch: &Scratch) {
    let index = Index::default();
    (0..ENTRIES).for_each(|number| index.insert(hash(number), 1, place(number)));
    index.find(hash(5));
    write(&scratch.0, HOME, Epoch(7), &[described()], &index).unwrap();
}

/// The index that is read back; none where the snapshot was not believed to its end.
fn read(scratch: &Scratch) -> Option<Index> {
    let snapshot = take(&scratch.0, HOME, &there()).ok()?;
    let index = Index::default();
    snapshot.each(&mut |kept| index.restore(kept)).then_some(index)
}

#[test]
fn what_is_written_is_read_back_once() {
    let scratch = Scratch::new("snapshot");
    written(&scratch);
    let snapshot = take(&scratch.0, HOME, &there()).ok().unwrap();
    assert_eq!((snapshot.newest_birth, snapshot.entries), (Epoch(7), ENTRIES));
    assert_eq!(snapshot.segments, [described()]);
    let index = Index::default();
    assert!(snapshot.each(&mut |kept| index.restore(kept)));
    assert!((0..ENTRIES).all(|number| index.is_at(hash(number), place(number))));
    assert!(index.is_wanted(hash(5), place(5)) && !index.is_wanted(hash(6), place(6)));
    assert_eq!(take(&scratch.0, HOME, &there()).err(), Some(Unfit::Missing));
}

#[test]
fn one_of_other_segments_or_of_another_home_is_not_believed() {
    let scratch = Scratch::new("snapshot-others");
    let others = [
        BTreeMap::from([(3, (8, 5000))]),
        BTreeMap::from([(3, (9, 4999))]),
        BTreeMap::from([(4, (9, 5000))]),
        BTreeMap::from([(3, (9, 5000)), (4, (1, 1))]),
        BTreeMap::new(),
    ];
    for segments in others {
        written(&scratch);
        assert_eq!(take(&scratch.0, HOME, &segments).err(), Some(Unfit::Untrue), "{segments:?}");
    }
    written(&scratch);
    assert_eq!(take(&scratch.0, HOME + 1, &there()).err(), Some(Unfit::Untrue));
}

#[test]
fn one_that_was_cut_or_changed_anywhere_is_not_believed() {
    let scratch = Scratch::new("snapshot-damaged");
    written(&scratch);
    let path = scratch.0.join(NAME);
    let whole = std::fs::read(&path).unwrap();
    let head = OPENING_BYTES + SEGMENT_BYTES;
    let second = head + 16 + BLOCK_ENTRIES * ENTRY_BYTES;
    let places =
        [0, 9, 17, 25, 33, head - 1, head, head + 8, head + 20, second, second + 8, second + 30, whole.len() - 1];
    for at in places {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(read(&scratch).is_none(), "byte {at}");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert!(read(&scratch).is_none(), "cut at {at}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert!(read(&scratch).is_some());
}
