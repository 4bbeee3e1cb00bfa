//! Tables over ranges, many of them hostile (`reference`: G3, G4 of the attack list; RFC 9110 section 14).

use super::*;
use crate::fixtures::{Lines, NOW, date, get};
use Selection::{Part, Unsatisfiable, Whole};

fn of(range: &str, length: u64) -> Selection {
    select(&get(&Lines::of(&[("Range", range)])), 200, &Validators::default(), NOW, length)
}

#[test]
fn one_range_is_cut_to_the_body() {
    for (range, expected) in [
        ("bytes=0-0", Part { first: 0, last: 0 }),
        ("bytes=0-", Part { first: 0, last: 99 }),
        ("bytes=10-19", Part { first: 10, last: 19 }),
        ("bytes=90-1000", Part { first: 90, last: 99 }),
        ("bytes=99-", Part { first: 99, last: 99 }),
        ("bytes=-1", Part { first: 99, last: 99 }),
        ("bytes=-100", Part { first: 0, last: 99 }),
        ("bytes=-1000", Part { first: 0, last: 99 }),
        ("Bytes= 5-6 ", Part { first: 5, last: 6 }),
        ("bytes=,5-6,", Part { first: 5, last: 6 }),
        ("bytes=007-0008", Part { first: 7, last: 8 }),
        ("bytes=0-18446744073709551615", Part { first: 0, last: 99 }),
        ("bytes=0-99999999999999999999999999", Part { first: 0, last: 99 }),
        ("bytes=-99999999999999999999999999", Part { first: 0, last: 99 }),
    ] {
        assert_eq!(of(range, 100), expected, "{range}");
    }
}

#[test]
fn what_lies_outside_the_body_is_unsatisfiable() {
    for range in
        ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=18446744073709551615-", "bytes=99999999999999999999999-"]
    {
        assert_eq!(of(range, 100), Unsatisfiable, "{range}");
    }
}

#[test]
fn invalid_and_foreign_ranges_are_ignored() {
    for range in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=--1",
        "bytes=5-2",
        "bytes=+1-2",
        "bytes=1 -2",
        "bytes=1- 2",
        "bytes=0x1-2",
        "bytes=1-2-3",
        "bytes=a-b",
        "bytes = 0-1",
        "items=0-1",
        "bytes=0-1,x",
        "bytes=1.0-2",
        "bytes:0-1",
    ] {
        assert_eq!(of(range, 100), Whole, "{range}");
    }
    assert_eq!(of(&format!("bytes={}-", "0".repeat(65_536)), 100), Part { first: 0, last: 99 });
    let twice = Lines::of(&[("Range", "bytes=0-1"), ("Range", "bytes=0-1")]);
    assert_eq!(select(&get(&twice), 200, &Validators::default(), NOW, 100), Whole);
}

#[test]
fn several_ranges_are_parts_in_their_order_and_those_that_meet_become_one() {
    let parts = |parts: &[(u64, u64)]| Selection::Parts(Parts::from_slice(parts));
    for (range, expected) in [
        ("bytes=0-1,5-6", parts(&[(0, 1), (5, 6)])),
        ("bytes=500-599, 0-99", parts(&[(500, 599), (0, 99)])),
        ("bytes=0-0,-1", parts(&[(0, 0), (9999, 9999)])),
        ("bytes=5000-,0-9", parts(&[(5000, 9999), (0, 9)])),
        ("bytes=0-9,10-19", Part { first: 0, last: 19 }),
        ("bytes=0-9,5-14,12-19", Part { first: 0, last: 19 }),
        ("bytes=50-59,0-9,5-14", parts(&[(0, 14), (50, 59)])),
        ("bytes=0-9,20000-", Part { first: 0, last: 9 }),
        ("bytes=20000-,30000-", Unsatisfiable),
        ("bytes=0-,0-,0-", Part { first: 0, last: 9999 }),
        ("bytes=0-4999,5100-", Whole),
        ("bytes=0-1,x", Whole),
    ] {
        assert_eq!(of(range, 10_000), expected, "{range}");
    }
    assert_eq!(of("bytes=0-1,5-6", 100), Whole, "parts would cost more than the whole");
}

#[test]
fn more_ranges_than_anybody_needs_are_ignored() {
    let many = |count: u64| (0..count).map(|at| format!("{}-{}", at * 1000, at * 1000)).collect::<Vec<_>>().join(",");
    let set = |count| of(&format!("bytes={}", many(count)), 1 << 20);
    assert!(matches!(set(RANGES_MAX as u64), Selection::Parts(parts) if parts.len() == RANGES_MAX));
    assert_eq!(set(RANGES_MAX as u64 + 1), Whole);
}

proptest::proptest! {
    /// Whatever is asked, the parts are exactly the bytes asked for, once each, and fewer than the whole.
    #[test]
    fn parts_cover_what_was_asked_once(asked in proptest::collection::vec((0_u64..3000, 0_u64..400), 1..12)) {
        let length = 2500;
        let list = asked.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect::<Vec<_>>().join(",");
        let wanted = |at: u64| asked.iter().any(|(first, more)| (*first..=first + more).contains(&at));
        let parts = match of(&format!("bytes={list}"), length) {
            Selection::Parts(parts) => parts,
            Part { first, last } => Parts::from_slice(&[(first, last)]),
            Unsatisfiable => Parts::new(),
            Whole => return Ok(()),
        };
        for at in 0..length {
            let sent = parts.iter().filter(|(first, last)| (*first..=*last).contains(&at)).count();
            proptest::prop_assert_eq!(sent, usize::from(wanted(at)), "{}", at);
        }
    }
}

#[test]
fn an_empty_body_has_no_parts() {
    assert_eq!(of("bytes=0-", 0), Unsatisfiable);
    assert_eq!(of("bytes=0-0", 0), Unsatisfiable);
    assert_eq!(of("bytes=-5", 0), Whole);
    assert_eq!(of("bytes=-0", 0), Unsatisfiable);
}

#[test]
fn only_a_get_answered_with_200_has_ranges() {
    let lines = Lines::of(&[("Range", "bytes=0-1")]);
    let head = RequestFacts::gather(&http::Method::HEAD, &lines);
    assert_eq!(select(&head, 200, &Validators::default(), NOW, 100), Whole);
    assert_eq!(select(&get(&lines), 404, &Validators::default(), NOW, 100), Whole);
}

#[test]
fn if_range_must_match_strongly_and_exactly() {
    let part = || Part { first: 0, last: 1 };
    let (modified, other) = (date(-3600), date(-3599));
    let rfc850 = "Friday, 15-Jan-27 07:00:00 GMT";
    for (condition, etag, last_modified, sent, expected) in [
        ("\"v1\"", Some("\"v1\""), None, 0, part()),
        ("\"v2\"", Some("\"v1\""), None, 0, Whole),
        ("W/\"v1\"", Some("W/\"v1\""), None, 0, Whole),
        ("\"v1\"", None, Some(-3600), 0, Whole),
        (modified.as_str(), None, Some(-3600), 0, part()),
        (modified.as_str(), Some("\"v1\""), Some(-3600), 0, part()),
        (rfc850, None, Some(-3600), 0, part()),
        (other.as_str(), None, Some(-3600), 0, Whole),
        // Modified in the second it was sent: another version may have followed in the same second.
        (modified.as_str(), None, Some(-3600), -3600, Whole),
        ("garbage", Some("\"v1\""), Some(-3600), 0, Whole),
        ("", Some("\"v1\""), Some(-3600), 0, Whole),
    ] {
        let lines = Lines::of(&[("Range", "bytes=0-1"), ("If-Range", condition)]);
        let (last_modified, sent) = (last_modified.map(date), date(sent));
        let stored = Validators {
            etag: etag.map(str::as_bytes),
            last_modified: last_modified.as_deref().map(str::as_bytes),
            date: Some(sent.as_bytes()),
        };
        assert_eq!(select(&get(&lines), 200, &stored, NOW, 100), expected, "{condition} {stored:?}");
    }
    // Without Range there is nothing for If-Range to condition.
    let lines = Lines::of(&[("If-Range", "\"v1\"")]);
    assert_eq!(select(&get(&lines), 200, &Validators::default(), NOW, 100), Whole);
}

proptest::proptest! {
    #[test]
    fn a_part_always_lies_inside_the_body(range in "(bytes=)?[0-9,\\- ]{0,44}", length in 0_u64..40) {
        if let Part { first, last } = of(&range, length) {
            assert!(first <= last && last < length);
        }
    }
}

#[test]
fn one_range_is_asked_for_in_one_spelling() {
    for (sent, asked) in [
        ("bytes=0-4", Some("bytes=0-4")),
        ("BYTES=, 007-08 ,", Some("bytes=7-8")),
        ("bytes=5-", Some("bytes=5-")),
        ("bytes=-5", Some("bytes=-5")),
        ("bytes=0-1,3-4", None),
        ("bytes=4-1", None),
        ("bytes=a-", None),
        ("lines=0-4", None),
        ("", None),
    ] {
        assert_eq!(single(sent.as_bytes()).as_deref(), asked, "{sent}");
    }
}
