//! Which requests select the same stored response.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::fixtures::Lines;

fn spec(lines: &[&str]) -> Result<Vec<String>, VaryError> {
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    VarySpec::parse(&lines).map(|spec| spec.names().map(str::to_owned).collect())
}

/// Whether a request with `second` selects what one with `first` has stored; the hashes must agree.
fn same(vary: &str, first: &[(&str, &str)], second: &[(&str, &str)]) -> bool {
    let spec = VarySpec::parse(&[vary.as_bytes()]).unwrap();
    let (first, second) = (Lines::of(first), Lines::of(second));
    let stored = VaryFacts::of(&spec, &first);
    let other = VaryFacts::of(&spec, &second);
    assert!(stored.matches(&first));
    assert_eq!(stored.matches(&second), stored == other);
    assert_eq!(stored.matches(&second), stored.hash() == other.hash());
    stored.matches(&second)
}

#[test]
fn names_are_folded_sorted_and_counted_once() {
    assert_eq!(spec(&[]).unwrap(), Vec::<String>::new());
    assert_eq!(spec(&["", " , "]).unwrap(), Vec::<String>::new());
    let expected = ["accept-encoding", "origin", "x"];
    assert_eq!(spec(&["Origin,accept-encoding, ORIGIN", "\tX ,Accept-Encoding"]).unwrap(), expected);
    assert_eq!(spec(&["X, Accept-Encoding", "origin"]).unwrap(), expected);
}

#[test]
fn a_star_or_a_broken_name_matches_nobody() {
    for lines in [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["*, a"], &["a, *"], &["a b"], &["a;b"]] {
        assert_eq!(spec(lines), Err(VaryError::Star), "{lines:?}");
    }
    let many = |count: usize| (0..count).map(|number| format!("h{number}")).collect::<Vec<_>>().join(",");
    assert_eq!(spec(&[&many(VARY_NAMES_MAX)]).map(|names| names.len()), Ok(VARY_NAMES_MAX));
    assert_eq!(spec(&[&many(VARY_NAMES_MAX + 1)]), Err(VaryError::TooMany));
    assert_eq!(spec(&[&many(VARY_NAMES_MAX), "h0, H1"]).map(|names| names.len()), Ok(VARY_NAMES_MAX));
}

#[test]
fn values_are_compared_whole_and_absence_counts() {
    let foo = |value| [("Foo", value)];
    assert!(same("Foo", &foo("1"), &[("foo", "1"), ("Other", "2")]));
    assert!(!same("Foo", &foo("1"), &foo("2")));
    assert!(!same("Foo", &foo("1"), &foo("12")));
    assert!(!same("Foo", &foo("a"), &foo("A")));
    assert!(!same("Foo", &foo("1"), &[]));
    assert!(!same("Foo", &foo(""), &[]));
    assert!(same("Foo", &[], &[]));
    assert!(same("Foo, Bar", &[("Foo", "1"), ("Bar", "2")], &[("Bar", "2"), ("Foo", "1")]));
    assert!(!same("Foo, Bar", &[("Foo", "1"), ("Bar", "2")], &[("Foo", "1")]));
    assert!(!same("Foo, Bar", &[("Foo", "12")], &[("Foo", "1"), ("Bar", "2")]));
    assert!(!same("Foo, Bar", &[("Foo", "1")], &[("Bar", "1")]));
    assert!(same("", &foo("1"), &foo("2")));
}

#[test]
fn white_space_empty_members_and_line_breaks_of_lists_mean_nothing() {
    for other in [&["1, 2"][..], &["1 ,2"], &[" 1,\t2 "], &["1", "2"], &["1,,2,"], &["", "1,2"]] {
        let lines: Vec<(&str, &str)> = other.iter().map(|value| ("Foo", *value)).collect();
        assert!(same("Foo", &[("Foo", "1,2")], &lines), "{other:?}");
    }
    for other in ["12", "2,1", "1 2", "1;2"] {
        assert!(!same("Foo", &[("Foo", "1,2")], &[("Foo", other)]), "{other}");
    }
    assert!(!same("Foo", &[("Foo", "\"1, 2\"")], &[("Foo", "\"1,2\"")]));
    assert!(!same("Foo", &[("Foo", "\"\\\"1, 2\"")], &[("Foo", "\"\\\"1,2\"")]));
    assert!(same("Foo", &[("Foo", "\"a\\\\\", 2")], &[("Foo", "\"a\\\\\",2")]));
}

#[test]
fn languages_have_no_case_and_cookies_are_no_list() {
    assert!(same("Accept-Language", &[("Accept-Language", "en-GB, de")], &[("Accept-Language", "EN-gb,DE")]));
    for (one, other, alike) in [
        ("en, de", "de, en", true),
        ("en, de;q=0.9", "de;q=0.9,EN", true),
        ("en;q=1.0, de;q=0.5", "de;q=0.5, en;q=1.0", true),
        ("en, de;q=0.9", "de, en;q=0.9", false),
        ("en;q=0.8, de;q=0.9", "en;q=0.9, de;q=0.8", false),
        ("en", "en, de", false),
        ("", "en", false),
    ] {
        let found = same("Accept-Language", &[("Accept-Language", one)], &[("Accept-Language", other)]);
        assert_eq!(found, alike, "{one:?} {other:?}");
    }
    assert!(same("Cookie", &[("Cookie", "a=1; b=2")], &[("Cookie", "a=1"), ("Cookie", "b=2")]));
    assert!(!same("Cookie", &[("Cookie", "a=1,b=2")], &[("Cookie", "a=1"), ("Cookie", "b=2")]));
    assert!(!same("Cookie", &[("Cookie", "a=1, 2")], &[("Cookie", "a=1,2")]));
    assert!(!same("Cookie", &[("Cookie", "")], &[]));
}

#[test]
fn accept_encoding_is_the_set_of_what_it_allows() {
    let groups: [&[&str]; 8] = [
        &["", "identity", "foo", "gzip;q=0", "br;q=0.0, gzip;q=0.000", "identity;q=0.5", "*;q=0, identity"],
        &["gzip", "GZIP", "x-gzip", "gzip;q=0.5", "gzip, identity", "gzip , foo", "br;q=0, gzip", "gzip;q=1.000,,"],
        &["gzip, deflate, br, zstd", "zstd,br,deflate,gzip", "br;q=1.0, gzip;q=0.8, deflate, zstd;q=0.1"],
        &["gzip, deflate", "deflate,gzip;q=0.1"],
        &["*", "*;q=0.1", "identity, *"],
        &["*, identity;q=0", "identity;q=0, *;q=1"],
        &["gzip, identity;q=0", "gzip, *;q=0"],
        &["*;q=0", "identity;q=0", "identity;q=0, foo"],
    ];
    let field = |value| [("Accept-Encoding", value)];
    let all = || groups.iter().enumerate().flat_map(|(group, values)| values.iter().map(move |value| (group, *value)));
    for ((group, value), (other_group, other)) in all().flat_map(|first| all().map(move |second| (first, second))) {
        assert_eq!(same("Accept-Encoding", &field(value), &field(other)), group == other_group, "{value} / {other}");
    }
    let lines = [("Accept-Encoding", "br"), ("Accept-Encoding", "gzip")];
    assert!(same("Accept-Encoding", &field("gzip, br"), &lines));
    assert!(same("Accept-Encoding", &[], &field("identity")));
}

#[test]
fn no_spec_costs_nothing_on_the_heap() {
    let facts = VaryFacts::of(&VarySpec::default(), &Lines::of(&[("Foo", "1")]));
    assert_eq!((facts.heap_bytes(), facts.hash()), (0, 0));
}

proptest::proptest! {
    #[test]
    fn any_request_matches_itself(
        lines in proptest::collection::vec(("(foo|accept-encoding|cookie|bar)", "[ -~]{0,40}"), 0..6),
    ) {
        let lines = Lines(lines.into_iter().map(|(name, value)| (name, value.into_bytes())).collect());
        let spec = VarySpec::parse(&[b"foo, accept-encoding, cookie, accept-language"]).unwrap();
        assert!(VaryFacts::of(&spec, &lines).matches(&lines));
    }

    #[test]
    fn no_client_makes_more_than_a_few_variants_of_accept_encoding(value in "[a-z*;=q0-9., -]{0,60}") {
        let lines = Lines::of(&[("accept-encoding", &value)]);
        let spec = VarySpec::parse(&[b"accept-encoding"]).unwrap();
        assert_eq!(VaryFacts::of(&spec, &lines).heap_bytes(), spec.heap_bytes() + 5);
    }
}
