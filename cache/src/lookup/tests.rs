//! Stored responses against requests, case by case (RFC 9111 section 4, RFC 5861, RFC 8246).

use super::*;
use crate::fixtures::{Lines, NOW, admit_at_once, get, secs};
use Outcome::{Hit, StaleWhileRevalidate};
use Reuse::{OnlyIfCached504, Serve, Unusable, Validate};

/// A response with this Cache-Control (and a validator), so many seconds after it arrived.
struct Case {
    response: &'static str,
    policy: Policy,
    standing: Standing,
    after: u64,
}

impl Case {
    fn new(response: &'static str, after: u64) -> Self {
        Case { response, policy: Policy::plain(), standing: Standing::Clear, after }
    }

    fn freshness(&self) -> Freshness {
        let lines = [("Cache-Control", self.response), ("ETag", "\"1\"")];
        admit_at_once(&self.policy, 200, &lines).expect("storable").freshness
    }

    fn assess(&self, request: &[(&str, &str)]) -> Reuse {
        let now = NOW.plus(secs(self.after));
        assess(&get(&Lines::of(request)), &self.policy, &self.freshness(), self.standing, now)
    }

    fn on_error(&self, request: &[(&str, &str)]) -> bool {
        let now = NOW.plus(secs(self.after));
        may_serve_on_error(&get(&Lines::of(request)), &self.policy, &self.freshness(), self.standing, now)
    }
}

fn cc(value: &str) -> [(&str, &str); 1] {
    [("Cache-Control", value)]
}

#[test]
fn what_is_fresh_is_served_and_what_is_not_is_validated() {
    assert_eq!(Case::new("max-age=60", 0).assess(&[]), Serve(Hit));
    assert_eq!(Case::new("max-age=60", 59).assess(&[]), Serve(Hit));
    assert_eq!(Case::new("max-age=60", 60).assess(&[]), Validate(MissReason::Expired));
    assert_eq!(Case::new("max-age=60, must-revalidate", 59).assess(&[]), Serve(Hit));
    assert_eq!(Case::new("max-age=60, no-cache", 0).assess(&[]), Validate(MissReason::Expired));
    assert_eq!(Case::new("max-age=60, no-cache=\"x-a\"", 0).assess(&[]), Serve(Hit));
    assert_eq!(Case::new("", 0).assess(&[]), Validate(MissReason::Expired));
}

#[test]
fn request_directives_bound_what_is_accepted() {
    let request = MissReason::Request;
    for (response, after, directive, expected) in [
        ("max-age=60", 0, "no-cache", Validate(request)),
        ("max-age=60", 0, "no-store", Serve(Hit)),
        ("max-age=60", 0, "max-age=0", Serve(Hit)),
        ("max-age=60", 1, "max-age=0", Validate(request)),
        ("max-age=60", 10, "max-age=10", Serve(Hit)),
        ("max-age=60", 11, "max-age=10", Validate(request)),
        ("max-age=60", 50, "min-fresh=10", Serve(Hit)),
        ("max-age=60", 51, "min-fresh=10", Validate(request)),
        ("max-age=60", 61, "min-fresh=0", Validate(request)),
        ("max-age=60", 61, "max-age=100", Validate(MissReason::Expired)),
        ("max-age=60", 65, "max-stale", Serve(StaleWhileRevalidate)),
        ("max-age=60", 65, "max-stale=5", Serve(StaleWhileRevalidate)),
        ("max-age=60", 66, "max-stale=5", Validate(MissReason::Expired)),
        ("max-age=60", 65, "max-stale=x", Validate(MissReason::Expired)),
        ("max-age=60", 65, "max-stale, max-age=70", Serve(StaleWhileRevalidate)),
        ("max-age=60", 65, "max-stale, max-age=64", Validate(request)),
        ("max-age=60, must-revalidate", 65, "max-stale", Validate(MissReason::Expired)),
        ("max-age=60, proxy-revalidate", 65, "max-stale", Validate(MissReason::Expired)),
        ("s-maxage=60", 65, "max-stale", Validate(MissReason::Expired)),
        ("max-age=60, no-cache", 65, "max-stale", Validate(MissReason::Expired)),
    ] {
        assert_eq!(Case::new(response, after).assess(&cc(directive)), expected, "{response} {after} {directive}");
    }
    assert_eq!(Case::new("max-age=60", 0).assess(&[("Pragma", "no-cache")]), Validate(request));
}

#[test]
fn clients_can_be_ignored_except_for_only_if_cached() {
    let deaf = |after| Case {
        policy: Policy { honour_client_directives: false, ..Policy::plain() },
        ..Case::new("max-age=60", after)
    };
    for directive in ["no-cache", "max-age=0", "min-fresh=100", "max-age=1"] {
        assert_eq!(deaf(5).assess(&cc(directive)), Serve(Hit), "{directive}");
    }
    assert_eq!(deaf(5).assess(&[("Pragma", "no-cache")]), Serve(Hit));
    assert_eq!(deaf(65).assess(&cc("max-stale")), Validate(MissReason::Expired));
    assert_eq!(deaf(65).assess(&cc("only-if-cached")), OnlyIfCached504);
    assert!(!deaf(65).on_error(&cc("stale-if-error=60")));
}

#[test]
fn only_if_cached_never_reaches_the_origin() {
    assert_eq!(Case::new("max-age=60", 5).assess(&cc("only-if-cached")), Serve(Hit));
    assert_eq!(Case::new("max-age=60", 65).assess(&cc("only-if-cached")), OnlyIfCached504);
    assert_eq!(Case::new("max-age=60", 65).assess(&cc("only-if-cached, max-stale")), Serve(StaleWhileRevalidate));
    assert_eq!(Case::new("max-age=60", 5).assess(&cc("only-if-cached, no-cache")), OnlyIfCached504);
    let lines = Lines::of(&cc("only-if-cached"));
    assert_eq!(assess_absence(&get(&lines), MissReason::Absent), OnlyIfCached504);
    let lines = Lines::default();
    assert_eq!(assess_absence(&get(&lines), MissReason::Vary), Unusable(MissReason::Vary));
}

#[test]
fn immutable_withstands_a_reload_but_not_a_forced_one() {
    let immutable = "max-age=60, immutable";
    assert_eq!(Case::new(immutable, 5).assess(&cc("max-age=0")), Serve(Hit));
    assert_eq!(Case::new(immutable, 5).assess(&cc("no-cache")), Validate(MissReason::Request));
    assert_eq!(Case::new(immutable, 65).assess(&cc("max-age=0")), Validate(MissReason::Request));
    assert_eq!(Case::new(immutable, 65).assess(&[]), Validate(MissReason::Expired));
}

#[test]
fn within_its_window_a_stale_response_is_served_while_it_is_revalidated() {
    let swr = "max-age=60, stale-while-revalidate=10";
    assert_eq!(Case::new(swr, 59).assess(&[]), Serve(Hit));
    assert_eq!(Case::new(swr, 60).assess(&[]), Serve(StaleWhileRevalidate));
    assert_eq!(Case::new(swr, 69).assess(&[]), Serve(StaleWhileRevalidate));
    assert_eq!(Case::new(swr, 70).assess(&[]), Validate(MissReason::Expired));
    assert_eq!(Case::new(swr, 65).assess(&cc("max-age=100")), Validate(MissReason::Expired));
    assert_eq!(Case::new(swr, 65).assess(&cc("no-cache")), Validate(MissReason::Request));
    assert_eq!(Case::new("s-maxage=60, stale-while-revalidate=10", 65).assess(&[]), Serve(StaleWhileRevalidate));
    let strict = "max-age=60, stale-while-revalidate=10, must-revalidate";
    assert_eq!(Case::new(strict, 65).assess(&[]), Validate(MissReason::Expired));
}

#[test]
fn grace_of_a_rule_is_a_default() {
    let graced = |response, after| Case {
        policy: Policy { grace: Some(secs(10)), ..Policy::plain() },
        ..Case::new(response, after)
    };
    assert_eq!(graced("max-age=60", 65).assess(&[]), Serve(StaleWhileRevalidate));
    assert_eq!(graced("max-age=60", 70).assess(&[]), Validate(MissReason::Expired));
    assert_eq!(graced("max-age=60, stale-while-revalidate=0", 65).assess(&[]), Validate(MissReason::Expired));
    assert_eq!(graced("s-maxage=60", 65).assess(&[]), Validate(MissReason::Expired));
    assert_eq!(graced("", 0).assess(&[]), Validate(MissReason::Expired));
}

#[test]
fn a_soft_purge_makes_stale_and_a_hard_one_makes_gone() {
    let purged = |response, after, standing| Case { standing, ..Case::new(response, after) };
    assert_eq!(purged("max-age=60", 5, Standing::Soft).assess(&[]), Validate(MissReason::Purged));
    assert_eq!(purged("max-age=60", 5, Standing::Soft).assess(&cc("max-stale")), Validate(MissReason::Purged));
    let swr = "max-age=60, stale-while-revalidate=10, stale-if-error=20";
    assert_eq!(purged(swr, 5, Standing::Soft).assess(&[]), Serve(StaleWhileRevalidate));
    assert_eq!(purged(swr, 75, Standing::Soft).assess(&[]), Validate(MissReason::Purged));
    assert!(purged(swr, 5, Standing::Soft).on_error(&[]));
    assert!(!purged("max-age=60", 5, Standing::Soft).on_error(&[]));
    for after in [5, 65] {
        assert_eq!(purged(swr, after, Standing::Hard).assess(&[]), Unusable(MissReason::Purged));
        assert_eq!(purged(swr, after, Standing::Hard).assess(&cc("only-if-cached")), OnlyIfCached504);
        assert!(!purged(swr, after, Standing::Hard).on_error(&[]));
    }
}

#[test]
fn on_error_a_stale_response_needs_somebodys_permission() {
    let none = Policy::plain();
    let rule = Policy { stale_if_error: Some(secs(20)), ..Policy::plain() };
    for (response, policy, after, request, expected) in [
        ("max-age=60", &none, 65, "", false),
        ("max-age=60", &none, 65, "stale-if-error=10", true),
        ("max-age=60", &none, 70, "stale-if-error=10", false),
        ("max-age=60, stale-if-error=10", &none, 65, "", true),
        ("max-age=60, stale-if-error=10", &none, 70, "", false),
        ("max-age=60, stale-if-error=10", &none, 75, "stale-if-error=20", true),
        ("max-age=60", &rule, 79, "", true),
        ("max-age=60", &rule, 80, "", false),
        ("max-age=60, stale-if-error=0", &rule, 65, "", false),
        ("s-maxage=60", &rule, 65, "", false),
        ("s-maxage=60", &rule, 65, "stale-if-error=10", false),
        ("s-maxage=60, stale-if-error=10", &rule, 65, "", true),
        ("max-age=60, must-revalidate, stale-if-error=10", &rule, 65, "stale-if-error=10", false),
        ("max-age=60, proxy-revalidate", &rule, 65, "", false),
        ("max-age=60, no-cache, stale-if-error=10", &rule, 5, "", false),
        ("max-age=60, stale-while-revalidate=10", &none, 65, "", true),
        ("max-age=60", &none, 5, "no-cache", true),
        ("max-age=60, must-revalidate", &none, 5, "max-age=0", true),
    ] {
        let case = Case { policy: policy.clone(), ..Case::new(response, after) };
        assert_eq!(case.on_error(&cc(request)), expected, "{response} {after} {request}");
    }
}

#[test]
fn a_rule_that_says_bypass_uses_nothing() {
    let mut case = Case::new("max-age=60, stale-if-error=60", 65);
    let freshness = case.freshness();
    case.policy.mode = Mode::Bypass;
    let lines = Lines::default();
    let now = NOW.plus(secs(65));
    assert!(matches!(assess(&get(&lines), &case.policy, &freshness, Standing::Clear, now), Unusable(_)));
    assert!(!may_serve_on_error(&get(&lines), &case.policy, &freshness, Standing::Clear, now));
}

fn chosen(words: &'static [&'static str]) -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    prop::collection::vec(prop::sample::select(words), 0..4).prop_map(|chosen| chosen.join(", "))
}

const RESPONSE: &[&str] = &[
    "max-age=60",
    "max-age=5",
    "s-maxage=30",
    "no-cache",
    "must-revalidate",
    "proxy-revalidate",
    "immutable",
    "stale-while-revalidate=20",
    "stale-if-error=40",
    "public",
];
const REQUEST: &[&str] = &[
    "no-cache",
    "max-age=0",
    "max-age=20",
    "min-fresh=20",
    "max-stale",
    "max-stale=20",
    "only-if-cached",
    "stale-if-error=30",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4000))]

    #[test]
    fn the_rules_that_must_hold_hold_in_every_combination(
        response in chosen(RESPONSE),
        request in chosen(REQUEST),
        after in 0_u64..120,
        standing in proptest::sample::select(vec![Standing::Clear, Standing::Soft, Standing::Hard]),
        honour_client_directives in proptest::bool::ANY,
        window in proptest::option::of(0_u64..60),
    ) {
        let window = window.map(secs);
        let policy = Policy { grace: window, stale_if_error: window, honour_client_directives, ..Policy::plain() };
        let stored = admit_at_once(&policy, 200, &[("Cache-Control", response.as_str()), ("ETag", "\"1\"")]);
        let freshness = stored.expect("there is a validator").freshness;
        let lines = Lines::of(&cc(&request));
        let (facts, now) = (get(&lines), NOW.plus(secs(after)));
        let verdict = assess(&facts, &policy, &freshness, standing, now);
        let on_error = may_serve_on_error(&facts, &policy, &freshness, standing, now);
        let fresh = freshness.is_fresh(now) && standing == Standing::Clear;
        let strict = ["no-cache", "must-revalidate", "proxy-revalidate"].iter().any(|word| response.contains(word));

        // RFC 9111 section 4: fresh, or allowed to be served stale, or validated.
        assert!(verdict != Serve(Hit) || fresh && !freshness.no_cache());
        // RFC 9111 section 4.2.4: never stale against must-revalidate, proxy-revalidate and no-cache.
        assert!(!(strict && !fresh && (on_error || matches!(verdict, Serve(_)))));
        assert!(!(response.contains("no-cache") && (on_error || matches!(verdict, Serve(_)))));
        // RFC 9111 section 5.2.1.7.
        assert!(!facts.directives.only_if_cached || matches!(verdict, Serve(_) | OnlyIfCached504));
        // RFC 9111 section 5.2.1.4.
        assert!(!(honour_client_directives && facts.directives.no_cache && matches!(verdict, Serve(_))));
        // Purged is purged.
        assert!(standing != Standing::Hard || !on_error && matches!(verdict, Unusable(_) | OnlyIfCached504));
        assert!(standing == Standing::Clear || verdict != Serve(Hit));
        // Whatever is served while the origin is well is served when it fails.
        assert!(!matches!(verdict, Serve(_)) || on_error || facts.directives.max_stale.is_some());
    }
}
