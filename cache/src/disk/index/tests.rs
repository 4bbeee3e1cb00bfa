//! The index beside a map that holds the same.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn place(segment: u32, offset: u64) -> Place {
    Place { segment, offset, length: 64 }
}

#[test]
fn an_entry_is_small() {
    const { assert!(ENTRY_BYTES <= 24) }
}

#[test]
fn the_newest_comes_first_and_each_variant_has_one_place() {
    let index = Index::default();
    index.insert(1, 7, place(0, 8));
    index.insert(1, 8, place(1, 8));
    index.insert(1, 7, place(2, 8));
    assert_eq!(index.find(1).as_slice(), [place(2, 8), place(1, 8)]);
    assert_eq!(index.find(2).as_slice(), []);
    assert_eq!(index.len(), 2);
}

#[test]
fn a_place_that_was_taken_over_is_not_forgotten() {
    let index = Index::default();
    index.insert(1, 0, place(0, 8));
    index.insert(1, 0, place(1, 8));
    assert!(!index.remove_at(1, place(0, 8)));
    assert!(index.contains(1));
    assert!(index.remove(1));
    assert!(!index.remove(1) && index.len() == 0);
}

#[test]
fn what_was_asked_for_is_wanted() {
    let index = Index::default();
    index.insert(1, 0, place(0, 8));
    assert!(!index.is_wanted(1, place(0, 8)));
    index.find(1);
    assert!(index.is_wanted(1, place(0, 8)));
    assert!(!index.is_wanted(1, place(0, 16)));
}

#[test]
fn a_record_takes_32_bytes_at_most_and_ten_million_fit_into_400_mib() {
    let index = Index::default();
    for number in 0..400_000_u64 {
        // Hashes spread evenly, as those of keys do.
        index.insert(xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes()), 0, place(1, number * 8));
        if number > 300_000 && number % 10_000 == 0 {
            let each = index.bytes() as f64 / index.len() as f64;
            assert!(each <= RECORD_BYTES_MAX as f64 + 1.0, "{each} bytes a record");
        }
    }
    const { assert!(RECORD_BYTES_MAX as u64 * 10_000_000 < 400 << 20) }
}

proptest! {
    #[test]
    fn it_holds_what_a_map_holds(steps in prop::collection::vec((0_u8..3, 0_u64..40, 0_u32..2, 1_u64..50), 1..400)) {
        let index = Index::default();
        let mut map: HashMap<(u64, u32), Place> = HashMap::new();
        for (what, key, variant, offset) in steps {
            // All in one shard, and many at one home place.
            let hash = (key % 8) << 61 | (key * SHARDS as u64);
            let place = place(1, offset * 8);
            match what {
                0 => {
                    index.insert(hash, variant, place);
                    map.insert((hash, variant), place);
                }
                1 => {
                    let there = map.keys().any(|(known, _)| *known == hash);
                    prop_assert_eq!(index.remove(hash), there);
                    map.retain(|(known, _), _| *known != hash);
                }
                _ => {
                    let there = map.iter().any(|((known, _), at)| *known == hash && *at == place);
                    prop_assert_eq!(index.remove_at(hash, place), there);
                    map.retain(|(known, _), at| *known != hash || *at != place);
                }
            }
            prop_assert_eq!(index.len(), map.len());
            for ((hash, _), place) in &map {
                prop_assert!(index.is_at(*hash, *place));
            }
        }
    }
}
