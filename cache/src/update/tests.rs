//! What a 304 selects, changes and renews.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::fixtures::{Lines, NOW, date, get, secs};
use crate::{Mode, Policy};

fn validators<'a>(etag: Option<&'a str>, last_modified: Option<&'a str>) -> Validators<'a> {
    Validators { etag: etag.map(str::as_bytes), last_modified: last_modified.map(str::as_bytes), date: None }
}

#[test]
fn a_304_selects_the_response_that_it_names() {
    let lm = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (stored, fresh, expected) in [
        ((Some("\"1\""), None), (Some("\"1\""), None), true),
        ((Some("\"1\""), None), (Some("\"2\""), None), false),
        ((Some("W/\"1\""), None), (Some("\"1\""), None), true),
        ((Some("\"1\""), None), (Some("W/\"1\""), None), true),
        ((Some("W/\"1\""), None), (Some("W/\"1\""), None), true),
        ((None, Some(lm)), (Some("\"1\""), None), false),
        ((None, Some(lm)), (None, Some(lm)), true),
        ((None, Some(lm)), (None, Some("Sun, 06 Nov 1994 08:49:38 GMT")), false),
        ((Some("\"1\""), Some(lm)), (Some("\"1\""), Some("Sun, 06 Nov 1994 08:49:38 GMT")), true),
        ((Some("\"1\""), Some(lm)), (None, None), true),
    ] {
        let found = selects(&validators(stored.0, stored.1), &validators(fresh.0, fresh.1));
        assert_eq!(found, expected, "{stored:?} {fresh:?}");
    }
}

fn merged(stored: &[(&str, &str)], not_modified: &[(&str, &str)]) -> Vec<String> {
    let (stored, not_modified) = (Lines::of(stored), Lines::of(not_modified));
    let merged = merge(&stored, &not_modified, NOW);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut lines: Vec<String> = merged.lines().map(|(name, value)| text(name) + ": " + &text(value)).collect();
    lines.sort();
    lines
}

#[test]
fn fields_of_a_304_replace_all_stored_lines_of_their_name() {
    let found = merged(
        &[("date", "then"), ("a", "1"), ("a", "2"), ("b", "3"), ("age", "9")],
        &[("Date", "now"), ("A", "4"), ("C", "5"), ("C", "6")],
    );
    assert_eq!(found, ["A: 4", "C: 5", "C: 6", "Date: now", "b: 3"]);
}

#[test]
fn a_304_changes_neither_what_describes_the_stored_bytes_nor_anybodys_cookies() {
    let stored = [("content-type", "image/png"), ("content-encoding", "br"), ("etag", "\"1\"")];
    let found = merged(
        &stored,
        &[
            ("Date", "now"),
            ("Content-Type", "text/html"),
            ("Content-Encoding", "gzip"),
            ("Content-Length", "0"),
            ("Content-Range", "bytes 0-0/1"),
            ("ETag", "W/\"1\""),
            ("Set-Cookie", "a=b"),
            ("Content-Location", "/x"),
        ],
    );
    let expected =
        ["Content-Location: /x", "Content-Type: text/html", "Date: now", "content-encoding: br", "etag: \"1\""];
    assert_eq!(found, expected);
}

#[test]
fn a_304_without_date_is_dated_by_its_arrival() {
    assert_eq!(merged(&[("date", "then")], &[]), [format!("date: {}", date(0))]);
}

fn renewed(stored: &[(&str, &str)], not_modified: &[(&str, &str)], policy: &Policy) -> Result<Admitted, Refusal> {
    match renewal(&[], stored, not_modified, policy) {
        Renewal::Renewed(admitted) => Ok(admitted),
        Renewal::Withdrawn(refusal) => Err(refusal),
        Renewal::Untouched => panic!("a plain request does not forbid anything"),
    }
}

fn renewal(
    request: &[(&str, &str)],
    stored: &[(&str, &str)],
    not_modified: &[(&str, &str)],
    policy: &Policy,
) -> Renewal {
    let (plain, request) = (Lines::default(), Lines::of(request));
    let (first, second) = (Lines::of(stored), Lines::of(not_modified));
    let old = admit(&get(&plain), policy, 200, &first, NOW, NOW).expect("storable at first");
    let kept = Lines(
        crate::stored_fields::storable(&first, &old.withheld)
            .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec()))
            .collect(),
    );
    let later = NOW.plus(secs(100));
    let merged = merge(&kept, &second, later);
    renew(&get(&request), policy, 200, &old.freshness, &merged, &second, later, later)
}

#[test]
fn a_304_starts_the_age_anew_and_its_own_age_counts() {
    let stored = [("Cache-Control", "max-age=60"), ("ETag", "\"1\""), ("Age", "7")];
    let at = NOW.plus(secs(100));
    let found = renewed(&stored, &[("ETag", "\"1\"")], &Policy::plain()).unwrap();
    assert_eq!((found.freshness.age(at), found.freshness.ttl(at)), (0, 60));
    let found = renewed(&stored, &[("Age", "20"), ("Cache-Control", "max-age=50")], &Policy::plain()).unwrap();
    assert_eq!((found.freshness.age(at), found.freshness.ttl(at)), (20, 30));
}

#[test]
fn a_304_may_withdraw_what_allowed_storing() {
    let stored = [("Cache-Control", "max-age=60"), ("ETag", "\"1\"")];
    let verdict = |cache_control| renewed(&stored, &[("Cache-Control", cache_control)], &Policy::plain()).err();
    assert_eq!(verdict("no-store"), Some(Refusal::NoStore));
    assert_eq!(verdict("private"), Some(Refusal::Private));
    assert_eq!(verdict("max-age=1"), None);
}

#[test]
fn promises_of_a_targeted_field_outlive_a_304_that_does_not_repeat_it() {
    let at = NOW.plus(secs(100));
    for field in ["Surrogate-Control", "Headland-CDN-Cache-Control"] {
        let stored = [(field, "max-age=60"), ("Cache-Control", "private, no-store"), ("ETag", "\"1\"")];
        let found = renewed(&stored, &[("Age", "3")], &Policy::plain()).unwrap();
        assert_eq!(found.freshness.ttl(at), 57, "{field}");
        let found = renewed(&stored, &[(field, "max-age=9")], &Policy::plain()).unwrap();
        assert_eq!(found.freshness.ttl(at), 9, "{field}");
        assert_eq!(renewed(&stored, &[(field, "no-store")], &Policy::plain()).err(), Some(Refusal::NoStore), "{field}");
    }
}

#[test]
fn a_rules_lifetime_is_counted_from_the_304() {
    let policy = Policy { mode: Mode::Force, ttl: Some(secs(60)), ..Policy::plain() };
    let at = NOW.plus(secs(100));
    let stored = [("Surrogate-Control", "max-age=1"), ("ETag", "\"1\""), ("Age", "1000")];
    let found = renewed(&stored, &[("Age", "5")], &policy).unwrap();
    assert_eq!((found.freshness.age(at), found.freshness.ttl(at)), (5, 60));
}

#[test]
fn no_client_throws_out_what_is_stored_for_all() {
    let policy = Policy::plain();
    let stored = [("Cache-Control", "max-age=60"), ("ETag", "\"1\"")];
    for request in [("Cache-Control", "no-store"), ("Authorization", "Basic YQ==")] {
        assert!(matches!(renewal(&[request], &stored, &[], &policy), Renewal::Untouched), "{request:?}");
    }
    assert!(matches!(renewal(&[("X-HTTP-Method", "PUT")], &stored, &[], &policy), Renewal::Renewed(_)));
    let deaf = Policy { honour_client_directives: false, ..policy.clone() };
    assert!(matches!(renewal(&[("Cache-Control", "no-store")], &stored, &[], &deaf), Renewal::Renewed(_)));
    let shared = [("Cache-Control", "max-age=60, public"), ("ETag", "\"1\"")];
    assert!(matches!(renewal(&[("Authorization", "x")], &shared, &[], &policy), Renewal::Renewed(_)));
}

#[test]
fn a_guessed_lifetime_survives_validation_by_a_request_with_a_cookie() {
    let modified = date(-100_000);
    let stored = [("Last-Modified", modified.as_str())];
    let Renewal::Renewed(admitted) = renewal(&[("Cookie", "a=b")], &stored, &[], &Policy::plain()) else {
        panic!("still storable")
    };
    assert_eq!(admitted.freshness.source(), LifetimeSource::Heuristic);
}
