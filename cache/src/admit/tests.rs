//! What is stored and what is refused, case by case (RFC 9111 section 3), and that noise never makes anything more
//! cacheable.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::DeltaSeconds;
use crate::fixtures::{Lines, NOW, admit_at_once, date, get, secs};

fn refusal(status: u16, lines: &[(&str, &str)]) -> Option<Refusal> {
    admit_at_once(&Policy::plain(), status, lines).err()
}

fn refusal_for(request: &[(&str, &str)], policy: &Policy, lines: &[(&str, &str)]) -> Option<Refusal> {
    let (request, response) = (Lines::of(request), Lines::of(lines));
    admit(&get(&request), policy, 200, &response, NOW, NOW).err()
}

const FRESH: (&str, &str) = ("Cache-Control", "max-age=60");

#[test]
fn only_the_answer_to_a_get_is_stored() {
    let response = Lines::of(&[FRESH]);
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "QUERY", "PURGE", "get"] {
        let method = http::Method::from_bytes(method.as_bytes()).unwrap();
        let found = admit(&RequestFacts::plain(&method), &Policy::plain(), 200, &response, NOW, NOW).err();
        assert_eq!(found, (method != http::Method::GET).then_some(Refusal::Method), "{method}");
    }
    for name in ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override"] {
        assert_eq!(refusal_for(&[(name, "DELETE")], &Policy::plain(), &[FRESH]), Some(Refusal::Method), "{name}");
    }
}

#[test]
fn with_explicit_freshness_any_final_status_is_stored_unless_it_is_due_to_the_request() {
    let stored = [200, 201, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 451, 499];
    for status in stored.into_iter().chain(500..=505).chain([599]) {
        assert_eq!(refusal(status, &[FRESH]), None, "{status}");
    }
    for status in [206, 304] {
        assert_eq!(refusal(status, &[FRESH]), Some(Refusal::Partial), "{status}");
    }
    let refused = [0, 100, 101, 103, 199, 600, 999];
    let due = [401, 407, 408, 412, 413, 416, 417, 421, 425, 426, 428, 429, 431, 511];
    for status in refused.into_iter().chain(due) {
        assert_eq!(refusal(status, &[FRESH]), Some(Refusal::Status), "{status}");
    }
}

#[test]
fn without_a_word_only_what_is_cacheable_by_itself_is_stored() {
    let modified = date(-1000);
    let lines = [("Last-Modified", modified.as_str()), ("ETag", "\"1\"")];
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert_eq!(refusal(status, &lines), None, "{status}");
    }
    for status in [201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599] {
        let expected = if status < 400 { Refusal::Zero } else { Refusal::Status };
        assert_eq!(refusal(status, &lines), Some(expected), "{status}");
    }
    assert_eq!(refusal(599, &[lines[0], ("Cache-Control", "public")]), None);
}

#[test]
fn must_understand_lifts_no_store_for_a_status_that_is_understood() {
    let lines = [("Cache-Control", "must-understand, no-store, max-age=60")];
    assert_eq!(refusal(200, &lines), None);
    assert_eq!(refusal(404, &lines), None);
    assert_eq!(refusal(299, &lines), Some(Refusal::Status));
    assert_eq!(refusal(599, &lines), Some(Refusal::Status));
    let malformed = [("Cache-Control", "must-understand=1, no-store, max-age=60")];
    assert_eq!(refusal(200, &malformed), Some(Refusal::NoStore));
}

#[test]
fn no_store_and_private_are_obeyed_however_fresh() {
    let later = date(1000);
    for (value, expected) in [
        ("no-store", Some(Refusal::NoStore)),
        ("max-age=60, No-Store", Some(Refusal::NoStore)),
        ("public, no-store, s-maxage=60", Some(Refusal::NoStore)),
        ("private", Some(Refusal::Private)),
        ("private, max-age=60", Some(Refusal::Private)),
        ("public, private", Some(Refusal::Private)),
        ("private=\"x", Some(Refusal::Private)),
        ("private=\"x-user\", max-age=60", None),
        ("max-age=60", None),
    ] {
        let lines = [("Cache-Control", value), ("Expires", later.as_str()), ("ETag", "\"1\"")];
        assert_eq!(refusal(200, &lines), expected, "{value}");
        let split = [("Cache-Control", "x"), lines[0], lines[1]];
        assert_eq!(refusal(200, &split), expected, "{value} on its own line");
    }
}

#[test]
fn force_changes_lifetimes_but_not_who_may_share() {
    let force = Policy { mode: Mode::Force, ttl: Some(secs(60)), ..Policy::plain() };
    let verdict = |lines: &[(&str, &str)]| admit_at_once(&force, 200, lines).err();
    assert_eq!(verdict(&[]), None);
    assert_eq!(verdict(&[("Cache-Control", "no-cache, max-age=0, must-revalidate"), ("Expires", "0")]), None);
    assert_eq!(verdict(&[("Cache-Control", "no-store")]), Some(Refusal::NoStore));
    assert_eq!(verdict(&[("Cache-Control", "private")]), Some(Refusal::Private));
    assert_eq!(verdict(&[("Set-Cookie", "a=b")]), Some(Refusal::SetCookie));
    assert_eq!(verdict(&[("Vary", "*")]), Some(Refusal::VaryStar));
    assert_eq!(refusal_for(&[("Authorization", "x")], &force, &[]), Some(Refusal::Authorization));
    let bypass = Policy { mode: Mode::Bypass, ..Policy::plain() };
    assert_eq!(admit_at_once(&bypass, 200, &[FRESH]).err(), Some(Refusal::Policy));
}

#[test]
fn a_rule_keeps_errors_only_by_their_status() {
    let by_status: Arc<[_]> = Arc::new([(404..=404, secs(5)), (429..=429, secs(1)), (500..=599, secs(2))]);
    let policy = Policy { ttl: Some(secs(60)), ttl_by_status: by_status, ..Policy::plain() };
    let table = [(200, Some(60)), (302, Some(60)), (404, Some(5)), (429, Some(1)), (503, Some(2)), (403, None)];
    for (status, expected) in table {
        let found = admit_at_once(&policy, status, &[]).ok().map(|found| found.freshness.lifetime().as_secs());
        assert_eq!(found, expected, "{status}");
    }
}

#[test]
fn authorization_needs_permission_to_share() {
    for (value, expected) in [
        ("max-age=60", Some(Refusal::Authorization)),
        ("max-age=60, s-maxage=x", Some(Refusal::Authorization)),
        ("max-age=60, public=1", Some(Refusal::Authorization)),
        ("max-age=60, proxy-revalidate", Some(Refusal::Authorization)),
        ("max-age=60, public", None),
        ("max-age=60, must-revalidate", None),
        ("s-maxage=60", None),
    ] {
        let found = refusal_for(&[("Authorization", "x")], &Policy::plain(), &[("Cache-Control", value)]);
        assert_eq!(found, expected, "{value}");
    }
    let targeted = [("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "public")];
    let found = refusal_for(&[("Authorization", "x")], &Policy::plain(), &targeted);
    assert_eq!(found, Some(Refusal::Authorization), "the permission has to stand in the field that is obeyed");
}

#[test]
fn set_cookie_needs_a_sign_that_sharing_is_meant() {
    for (line, expected) in [
        (FRESH, Some(Refusal::SetCookie)),
        (("Cache-Control", "max-age=60, s-maxage=x"), Some(Refusal::SetCookie)),
        (("Cache-Control", "max-age=60, public"), None),
        (("Cache-Control", "s-maxage=60"), None),
        (("Cache-Control", "max-age=60, private=\"Set-Cookie\""), None),
        (("Cache-Control", "max-age=60, no-cache=set-cookie"), None),
        (("Cache-Control", "max-age=60, private=\"Set-Cookie\"x"), Some(Refusal::Private)),
        (("CDN-Cache-Control", "max-age=60"), None),
        (("Surrogate-Control", "max-age=60"), None),
    ] {
        let lines = [("Set-Cookie", "a=b"), line];
        assert_eq!(refusal(200, &lines), expected, "{line:?}");
        let (response, none) = (Lines::of(&lines), FieldNames::new());
        let kept = crate::stored_fields::storable(&response, &none).any(|(name, _)| name == b"Set-Cookie");
        assert!(!kept, "the cookie itself is never stored");
    }
}

#[test]
fn a_request_with_no_store_stores_nothing_unless_clients_are_ignored() {
    let request = [("Cache-Control", "no-store")];
    assert_eq!(refusal_for(&request, &Policy::plain(), &[FRESH]), Some(Refusal::Request));
    let deaf = Policy { honour_client_directives: false, ..Policy::plain() };
    assert_eq!(refusal_for(&request, &deaf, &[FRESH]), None);
}

#[test]
fn what_can_never_be_used_is_not_stored() {
    let (modified, soon) = (date(-1000), date(10));
    for (lines, expected) in [
        (&[][..], Some(Refusal::Zero)),
        (&[("Cache-Control", "max-age=0")], Some(Refusal::Zero)),
        (&[("Cache-Control", "no-cache, max-age=60")], Some(Refusal::Zero)),
        (&[("Cache-Control", "max-age=60"), ("Age", "60")], Some(Refusal::Zero)),
        (&[("Cache-Control", "must-revalidate, max-age=0, stale-while-revalidate=60")], Some(Refusal::Zero)),
        (&[("Cache-Control", "max-age=0, stale-while-revalidate=60"), ("Age", "60")], Some(Refusal::Zero)),
        (&[("Expires", "0")], Some(Refusal::Zero)),
        (&[("Pragma", "no-cache"), ("Last-Modified", modified.as_str())], None),
        (&[("Cache-Control", "max-age=60"), ("Age", "59")], None),
        (&[("Cache-Control", "max-age=0"), ("ETag", "\"1\"")], None),
        (&[("Cache-Control", "no-cache"), ("Last-Modified", modified.as_str())], None),
        (&[("ETag", "W/\"1\"")], None),
        (&[("Cache-Control", "max-age=0, stale-while-revalidate=60")], None),
        (&[("Cache-Control", "max-age=0, stale-if-error=60")], None),
        (&[("Expires", soon.as_str())], None),
    ] {
        assert_eq!(refusal(200, lines), expected, "{lines:?}");
    }
    let rule = Policy { grace: Some(secs(60)), stale_if_error: Some(secs(60)), ..Policy::plain() };
    assert_eq!(admit_at_once(&rule, 200, &[]).err(), Some(Refusal::Zero), "silence is no consent");
    assert_eq!(admit_at_once(&rule, 200, &[("Expires", "0")]).err(), Some(Refusal::Zero), "neither is garbage");
    assert_eq!(admit_at_once(&rule, 200, &[("Cache-Control", "max-age=0")]).err(), None, "for when the origin fails");
}

#[test]
fn vary_decides_whether_anyone_else_can_match() {
    let many = (0..=crate::vary::VARY_NAMES_MAX).map(|number| format!("h{number}")).collect::<Vec<_>>().join(", ");
    for (lines, expected) in [
        (&[("Vary", "*")][..], Some(Refusal::VaryStar)),
        (&[("Vary", "a, *")], Some(Refusal::VaryStar)),
        (&[("Vary", ""), ("Vary", "*")], Some(Refusal::VaryStar)),
        (&[("Vary", "a b")], Some(Refusal::VaryStar)),
        (&[("Vary", &many)], Some(Refusal::Vary)),
        (&[("Vary", "Accept-Encoding"), ("Content-Encoding", "foo")], Some(Refusal::Vary)),
        (&[("Vary", "Accept-Encoding"), ("Content-Encoding", "br, foo")], Some(Refusal::Vary)),
        (&[("Vary", "Accept-Encoding"), ("Content-Encoding", "X-Gzip")], None),
        (&[("Vary", "Origin"), ("Content-Encoding", "foo")], None),
        (&[("Vary", "Accept-Encoding, Origin")], None),
    ] {
        let mut all = vec![FRESH];
        all.extend_from_slice(lines);
        assert_eq!(refusal(200, &all), expected, "{lines:?}");
    }
}

#[test]
fn fields_of_qualified_directives_are_withheld() {
    let lines = [("Cache-Control", "private=\"X-A\", no-cache=\"x-b, X-C\", max-age=9")];
    let found = admit_at_once(&Policy::plain(), 200, &lines).unwrap();
    let withheld: Vec<&[u8]> = found.withheld.iter().map(|name| &**name).collect();
    assert_eq!(withheld, [&b"x-a"[..], b"x-b", b"x-c"]);
}

#[test]
fn targeted_fields_override_even_no_store_and_can_forbid_what_cache_control_allows() {
    let later = date(1000);
    let expires = ("Expires", later.as_str());
    let never = ("Cache-Control", "no-store");
    for (lines, expected) in [
        (&[never, ("CDN-Cache-Control", "max-age=60")][..], None),
        (&[("Cache-Control", "private"), ("Surrogate-Control", "max-age=60")], None),
        (&[FRESH, expires, ("CDN-Cache-Control", "private")], Some(Refusal::Private)),
        (&[FRESH, expires, ("CDN-Cache-Control", "no-store")], Some(Refusal::NoStore)),
        (&[FRESH, expires, ("CDN-Cache-Control", "no-cache")], Some(Refusal::Zero)),
        (&[FRESH, expires, ("CDN-Cache-Control", "max-age=0")], Some(Refusal::Zero)),
        (&[never, ("CDN-Cache-Control", "max-age=60, &")], Some(Refusal::NoStore)),
        (&[never, ("CDN-Cache-Control", "max-age=\"60\"")], Some(Refusal::Zero)),
    ] {
        assert_eq!(refusal(200, lines), expected, "{lines:?}");
    }
}

#[test]
fn every_refusal_has_its_own_word() {
    let all = [
        Refusal::Method,
        Refusal::Status,
        Refusal::Partial,
        Refusal::NoStore,
        Refusal::Request,
        Refusal::Private,
        Refusal::Authorization,
        Refusal::SetCookie,
        Refusal::VaryStar,
        Refusal::Vary,
        Refusal::Zero,
        Refusal::Policy,
    ];
    let words: std::collections::BTreeSet<&str> = all.iter().map(|refusal| refusal.word()).collect();
    assert_eq!((words.len(), all.len()), (Refusal::WORDS.len(), Refusal::WORDS.len()));
}

#[test]
fn what_one_request_can_cause_does_not_spoil_its_key() {
    let modified = date(-1000);
    let policy = Policy::plain();
    for request in [("Cache-Control", "no-store"), ("Authorization", "x"), ("X-HTTP-Method", "PUT")] {
        assert_eq!(refusal_for(&[request], &policy, &[FRESH]).map(Refusal::is_lasting), Some(false), "{request:?}");
    }
    let lines = [("Last-Modified", modified.as_str())];
    for status in [206, 304, 400, 403, 412, 413, 416, 431, 500, 502, 503] {
        assert_eq!(refusal(status, &lines).map(Refusal::is_lasting), Some(false), "{status}");
    }
    for lines in [&[("Cache-Control", "no-store")][..], &[("Cache-Control", "private")], &[("Set-Cookie", "a")], &[]] {
        assert_eq!(refusal(200, lines).map(Refusal::is_lasting), Some(true), "{lines:?}");
    }
    assert_eq!(refusal(302, &[]).map(Refusal::is_lasting), Some(true));
}

/// How much use a cache can make of a response, for a request without credentials and one with: stored at all and
/// seconds fresh, seconds of grace, of grace on error, and whether the client may have it stale.
fn usefulness(lines: &[(&str, &str)]) -> [[u64; 4]; 2] {
    let policy = Policy { grace: Some(secs(30)), stale_if_error: Some(secs(300)), ..Policy::plain() };
    [&[][..], &[("Authorization", "x")]].map(|request| {
        let (request, response) = (Lines::of(request), Lines::of(lines));
        match admit(&get(&request), &policy, 200, &response, NOW, NOW) {
            Err(_) => [0; 4],
            Ok(found) if found.freshness.no_cache() => [1, 0, 0, 0],
            Ok(Admitted { freshness, .. }) => [
                1 + freshness.lifetime().as_secs(),
                freshness.grace(&policy),
                freshness.error_grace(&policy),
                u64::from(freshness.may_be_stale()),
            ],
        }
    })
}

/// Directive texts none of which parses.
fn malformed() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "max-age",
        "Max-Age",
        "s-maxage",
        "public",
        "PUBLIC",
        "must-revalidate",
        "proxy-revalidate",
        "must-understand",
        "private",
        "no-cache",
        "no-store",
        "stale-while-revalidate",
        "stale-if-error",
        "immutable",
        "foo",
    ]);
    let argument = prop::sample::select(vec![
        "=", "= 1", " =1", "=\"", "=\"1", "=\"1\"x", "=-1", "=1.5", "='1'x y", "=x y", ";1", ";", " 1", "=\"a, b",
        "=\"\\\"",
    ]);
    (name, argument).prop_map(|(name, argument)| format!("{name}{argument}"))
}

fn well_formed() -> impl Strategy<Value = String> {
    let directive = prop::sample::select(vec![
        "max-age=60",
        "max-age=0",
        "s-maxage=90",
        "public",
        "private",
        "no-cache",
        "no-store",
        "must-revalidate",
        "must-understand",
        "stale-while-revalidate=9",
        "stale-if-error=99",
        "immutable",
        "private=\"x-a\"",
        "foo=\"a, b\"",
    ]);
    prop::collection::vec(directive, 0..5).prop_map(|directives| directives.join(", "))
}

fn assert_not_more_useful(with: &[(&str, &str)], without: &[(&str, &str)]) {
    for (noisy, plain) in usefulness(with).iter().flatten().zip(usefulness(without).iter().flatten()) {
        assert!(noisy <= plain, "{with:?} is of more use than {without:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_directive_that_does_not_parse_makes_nothing_more_cacheable(
        before in well_formed(),
        noise in malformed(),
        after in well_formed(),
        modified in any::<bool>(),
        etag in any::<bool>(),
    ) {
        let modified_at = date(-1000);
        let with = |value| {
            let mut lines = vec![("Cache-Control", value)];
            lines.extend(modified.then_some(("Last-Modified", modified_at.as_str())));
            lines.extend(etag.then_some(("ETag", "\"1\"")));
            lines
        };
        let plain = format!("{before}, {after}");
        let noisy = format!("{before}, {noise}, {after}");
        assert_not_more_useful(&with(&noisy), &with(&plain));
        let mut apart = with(&plain);
        apart.push(("Cache-Control", &noise));
        assert_not_more_useful(&apart, &with(&plain));
    }

    #[test]
    fn no_response_panics_and_none_lives_longer_than_the_largest_lifetime(
        lines in prop::collection::vec((prop::sample::select(vec![
            "cache-control", "expires", "age", "date", "vary", "last-modified", "etag", "pragma", "surrogate-control",
            "cdn-cache-control", "headland-cdn-cache-control", "content-encoding", "set-cookie",
        ]), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        status in any::<u16>(),
    ) {
        let response = Lines(lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        let request = RequestFacts::plain(&http::Method::GET);
        if let Ok(found) = admit(&request, &Policy::plain(), status, &response, NOW, NOW) {
            assert!(found.freshness.lifetime() <= DeltaSeconds::MAX);
        }
    }
}
