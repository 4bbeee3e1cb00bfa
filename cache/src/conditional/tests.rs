//! Tables over preconditions, in the order of RFC 9110 section 13.2.2.

use super::*;
use crate::fixtures::{Lines, NOW, date, get};

const ETAG: &str = "\"v1\"";

fn verdict(request: &[(&str, &str)], etag: Option<&str>, modified: Option<i64>) -> Precondition {
    verdict_on(200, request, etag, modified, Some(-10))
}

fn verdict_on(
    status: u16,
    request: &[(&str, &str)],
    etag: Option<&str>,
    modified: Option<i64>,
    sent: Option<i64>,
) -> Precondition {
    let (modified, sent) = (modified.map(date), sent.map(date));
    let stored = Validators {
        etag: etag.map(str::as_bytes),
        last_modified: modified.as_deref().map(str::as_bytes),
        date: sent.as_deref().map(str::as_bytes),
    };
    precondition(&get(&Lines::of(request)), status, &stored, NOW)
}

#[test]
fn if_none_match_compares_weakly_and_over_several_lines() {
    use Precondition::{NotModified, Pass};
    for (lines, stored, expected) in [
        (&["\"v1\""][..], Some("\"v1\""), NotModified),
        (&["W/\"v1\""], Some("\"v1\""), NotModified),
        (&["\"v1\""], Some("W/\"v1\""), NotModified),
        (&["\"v0\", \"v1\""], Some("\"v1\""), NotModified),
        (&["\"v0\"", "\"v1\""], Some("\"v1\""), NotModified),
        (&["\"a,b\""], Some("\"a,b\""), NotModified),
        (&["*"], Some("\"v1\""), NotModified),
        (&["*"], None, NotModified),
        (&["v1"], Some("v1"), NotModified),
        (&["\"v2\""], Some("\"v1\""), Pass),
        (&["\"v1\""], None, Pass),
        (&["*, \"v2\""], Some("\"v1\""), Pass),
        (&["\"v"], Some("\"v1\""), Pass),
        (&[""], Some("\"v1\""), Pass),
        (&["v1"], Some("\"v1\""), Pass),
    ] {
        let request: Vec<(&str, &str)> = lines.iter().map(|line| ("If-None-Match", *line)).collect();
        assert_eq!(verdict(&request, stored, None), expected, "{lines:?} {stored:?}");
    }
}

#[test]
fn if_none_match_takes_precedence_over_if_modified_since() {
    let (old, new) = (date(-7200), date(0));
    let matching = [("If-None-Match", ETAG), ("If-Modified-Since", old.as_str())];
    assert_eq!(verdict(&matching, Some(ETAG), Some(-3600)), Precondition::NotModified);
    let other = [("If-None-Match", "\"v0\""), ("If-Modified-Since", new.as_str())];
    assert_eq!(verdict(&other, Some(ETAG), Some(-3600)), Precondition::Pass);
    // Present but unusable, it still keeps the date from counting: sending the whole is never wrong.
    let empty = [("If-None-Match", ""), ("If-Modified-Since", new.as_str())];
    assert_eq!(verdict(&empty, Some(ETAG), Some(-3600)), Precondition::Pass);
}

#[test]
fn if_modified_since_is_compared_with_last_modified_then_date_then_arrival() {
    use Precondition::{NotModified, Pass};
    for (since, modified, sent, expected) in [
        (-3600, Some(-3600), Some(-10), NotModified),
        (-3599, Some(-3600), Some(-10), NotModified),
        (-3601, Some(-3600), Some(-10), Pass),
        (-10, None, Some(-10), NotModified),
        (-11, None, Some(-10), Pass),
        (0, None, None, NotModified),
        (-1, None, None, Pass),
    ] {
        let since = date(since);
        let found = verdict_on(200, &[("If-Modified-Since", &since)], None, modified, sent);
        assert_eq!(found, expected, "{since} {modified:?} {sent:?}");
    }
}

#[test]
fn a_date_that_is_none_or_comes_twice_is_ignored() {
    let now = date(0);
    for lines in [&["yesterday"][..], &["0"], &[""], &[now.as_str(), now.as_str()]] {
        for name in ["If-Modified-Since", "If-Unmodified-Since"] {
            let request: Vec<(&str, &str)> = lines.iter().map(|line| (name, *line)).collect();
            assert_eq!(verdict(&request, None, Some(-3600)), Precondition::Pass, "{name} {lines:?}");
        }
    }
}

#[test]
fn if_match_compares_strongly_and_comes_first() {
    use Precondition::{Failed, Pass};
    for (tag, stored, expected) in [
        ("\"v1\"", Some("\"v1\""), Pass),
        ("\"v0\", \"v1\"", Some("\"v1\""), Pass),
        ("*", Some("\"v1\""), Pass),
        ("*", None, Pass),
        ("W/\"v1\"", Some("\"v1\""), Failed),
        ("W/\"v1\"", Some("W/\"v1\""), Failed),
        ("\"v1\"", Some("W/\"v1\""), Failed),
        ("\"v2\"", Some("\"v1\""), Failed),
        ("\"v1\"", None, Failed),
    ] {
        assert_eq!(verdict(&[("If-Match", tag)], stored, None), expected, "{tag} {stored:?}");
    }
    let both = [("If-Match", "\"v0\""), ("If-None-Match", ETAG)];
    assert_eq!(verdict(&both, Some(ETAG), None), Failed);
    // If-Match being there, If-Unmodified-Since does not count.
    let old = date(-7200);
    let both = [("If-Match", ETAG), ("If-Unmodified-Since", old.as_str())];
    assert_eq!(verdict(&both, Some(ETAG), Some(-3600)), Pass);
}

#[test]
fn if_unmodified_since_fails_on_what_changed_later() {
    for (limit, modified, expected) in [
        (-3600, Some(-3600), Precondition::Pass),
        (-3601, Some(-3600), Precondition::Failed),
        (-3601, None, Precondition::Pass),
    ] {
        let limit = date(limit);
        assert_eq!(verdict(&[("If-Unmodified-Since", &limit)], None, modified), expected, "{limit} {modified:?}");
    }
}

#[test]
fn preconditions_count_for_successes_and_for_get_and_head_only() {
    for status in [301, 404, 500] {
        assert_eq!(verdict_on(status, &[("If-None-Match", "*")], None, None, None), Precondition::Pass);
    }
    let lines = Lines::of(&[("If-None-Match", "*")]);
    let stored = Validators::default();
    let head = RequestFacts::gather(&Method::HEAD, &lines);
    assert_eq!(precondition(&head, 200, &stored, NOW), Precondition::NotModified);
    let post = RequestFacts::gather(&Method::POST, &lines);
    assert_eq!(precondition(&post, 200, &stored, NOW), Precondition::Pass);
}

#[test]
fn a_validation_request_carries_both_validators_and_nothing_of_the_clients_conditions() {
    let stored = Lines::of(&[("ETag", "W/\"v1\""), ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"), ("ETag", "x")]);
    let mut request = HeaderMap::new();
    for name in ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range", "accept"]
    {
        request.insert(name, HeaderValue::from_static("\"client\""));
    }
    Validators::of(&stored).apply(&mut request);
    assert_eq!(request.len(), 3);
    assert_eq!(request["if-none-match"], "W/\"v1\"");
    assert_eq!(request["if-modified-since"], "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(request["accept"], "\"client\"");
}

#[test]
fn a_304_carries_what_rfc_9110_names_and_no_other_representation_metadata() {
    for name in [
        "Content-Location",
        "Date",
        "ETag",
        "Vary",
        "Cache-Control",
        "Expires",
        "Age",
        "Via",
        "Content-Security-Policy",
        "Content-Security-Policy-Report-Only",
        "Access-Control-Allow-Origin",
    ] {
        assert!(belongs_in_304(name.as_bytes(), true), "{name}");
    }
    for name in ["Content-Type", "Content-Length", "Content-Encoding", "content-range", "Content-Language", "Trailer"] {
        assert!(!belongs_in_304(name.as_bytes(), true), "{name}");
    }
    assert!(!belongs_in_304(b"Last-Modified", true));
    assert!(belongs_in_304(b"Last-Modified", false));
}
