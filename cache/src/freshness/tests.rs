//! Age and lifetime, case by case (RFC 9111 section 4.2).

use super::*;
use crate::fixtures::{Lines, NOW, date, get, secs};

/// Freshness of a 200 that was asked for at `NOW` minus `delay` seconds and arrived at `NOW`.
fn of(policy: &Policy, delay: u64, lines: &[(&str, &str)]) -> Freshness {
    of_status(policy, 200, delay, lines)
}

fn of_status(policy: &Policy, status: u16, delay: u64, lines: &[(&str, &str)]) -> Freshness {
    let (request, response) = (Lines::default(), Lines::of(lines));
    let facts = ResponseFacts::gather(&response);
    let asked = Time::from_secs(NOW.as_secs() - delay);
    Freshness::of(&get(&request), &facts, policy, status, asked, NOW)
}

fn plain(lines: &[(&str, &str)]) -> Freshness {
    of(&Policy::plain(), 0, lines)
}

fn lifetime(lines: &[(&str, &str)]) -> (u64, LifetimeSource) {
    let found = plain(lines);
    (found.lifetime().as_secs(), found.source())
}

#[test]
fn the_lifetime_comes_from_s_maxage_then_max_age_then_expires() {
    let (now, soon) = (date(0), date(30));
    let expires = [("Date", now.as_str()), ("Expires", soon.as_str())];
    let with = |value| [("Cache-Control", value), expires[0], expires[1]];
    assert_eq!(lifetime(&with("max-age=60, s-maxage=90")), (90, LifetimeSource::SMaxAge));
    assert_eq!(lifetime(&with("s-maxage=9, max-age=60")), (9, LifetimeSource::SMaxAge));
    assert_eq!(lifetime(&with("max-age=60")), (60, LifetimeSource::MaxAge));
    assert_eq!(lifetime(&with("public")), (30, LifetimeSource::Expires));
    assert_eq!(lifetime(&expires), (30, LifetimeSource::Expires));
    assert_eq!(lifetime(&with("max-age=x")), (0, LifetimeSource::None));
    assert_eq!(lifetime(&with("s-maxage=x, max-age=60")), (0, LifetimeSource::None));
    assert_eq!(lifetime(&with("max-age=60, max-age=x")), (0, LifetimeSource::None));
    assert_eq!(lifetime(&[]), (0, LifetimeSource::None));
}

#[test]
fn expires_is_counted_from_date_and_what_is_no_date_is_past() {
    let (past, now, soon, later) = (date(-10), date(0), date(30), date(60));
    for (lines, expected) in [
        (&[("Expires", soon.as_str()), ("Date", past.as_str())][..], 40),
        (&[("Expires", soon.as_str())], 30),
        (&[("Expires", soon.as_str()), ("Date", "foo")], 30),
        (&[("Expires", now.as_str()), ("Date", now.as_str())], 0),
        (&[("Expires", past.as_str()), ("Date", now.as_str())], 0),
        (&[("Expires", soon.as_str()), ("Date", later.as_str())], 0),
        (&[("Expires", later.as_str()), ("Expires", soon.as_str())], 30),
        (&[("Expires", "Fri, 31 Dec 9999 23:59:59 GMT")], 1 << 31),
    ] {
        assert_eq!(lifetime(lines), (expected, LifetimeSource::Expires), "{lines:?}");
    }
    for invalid in ["0", "-1", "", "Thu, 18 Aug 2050 02:01:18 UTC"] {
        for lines in [&[("Expires", invalid)][..], &[("Expires", later.as_str()), ("Expires", invalid)]] {
            assert_eq!(lifetime(lines), (0, LifetimeSource::None), "{lines:?}");
        }
    }
}

#[test]
fn a_guess_is_a_tenth_of_the_time_since_modification_and_bounded() {
    let heuristic = LifetimeSource::Heuristic;
    for (ago, expected) in [(0, 0), (9, 0), (10, 1), (3600, 360), (10 * 86_400, 86_400), (1000 * 86_400, 86_400)] {
        let modified = date(-ago);
        assert_eq!(lifetime(&[("Last-Modified", &modified)]), (expected, heuristic), "{ago}");
    }
    let (modified, sent, future) = (date(-1000), date(-500), date(1000));
    assert_eq!(lifetime(&[("Last-Modified", &modified), ("Date", &sent)]), (50, heuristic));
    assert_eq!(lifetime(&[("Last-Modified", &future)]), (0, heuristic));
    for nothing in [
        &[("Last-Modified", "yesterday")][..],
        &[("Last-Modified", &modified), ("Pragma", "no-cache")],
        &[("ETag", "\"1\"")],
    ] {
        assert_eq!(lifetime(nothing), (0, LifetimeSource::None), "{nothing:?}");
    }
    // Pragma means nothing beside Cache-Control.
    let both = [("Last-Modified", modified.as_str()), ("Pragma", "no-cache"), ("Cache-Control", "x")];
    assert_eq!(lifetime(&both), (100, heuristic));
}

#[test]
fn a_guess_needs_a_status_that_allows_it_or_public() {
    let modified = date(-1000);
    let lines = [("Last-Modified", modified.as_str()), ("Cache-Control", "public")];
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        let found = of_status(&Policy::plain(), status, 0, &lines[..1]);
        assert_eq!(found.source(), LifetimeSource::Heuristic, "{status}");
    }
    for status in [201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599] {
        let found = of_status(&Policy::plain(), status, 0, &lines[..1]);
        assert_eq!(found.source(), LifetimeSource::None, "{status}");
        let found = of_status(&Policy::plain(), status, 0, &lines);
        assert_eq!(found.source(), LifetimeSource::Heuristic, "{status} public");
    }
}

#[test]
fn a_request_with_a_cookie_gets_no_guess() {
    let modified = date(-1000);
    let (request, response) = (Lines::of(&[("Cookie", "a=b")]), Lines::of(&[("Last-Modified", &modified)]));
    let facts = ResponseFacts::gather(&response);
    let found = Freshness::of(&get(&request), &facts, &Policy::plain(), 200, NOW, NOW);
    assert_eq!(found.source(), LifetimeSource::None);
}

#[test]
fn the_age_on_arrival_is_the_greater_of_two_estimates() {
    let (slow, fast) = (date(-10), date(10));
    for (delay, lines, expected) in [
        (0, &[][..], 0),
        (0, &[("Age", "30")], 30),
        (5, &[("Age", "30")], 35),
        (5, &[], 5),
        (5, &[("Date", slow.as_str())], 10),
        (5, &[("Date", slow.as_str()), ("Age", "2")], 10),
        (5, &[("Date", slow.as_str()), ("Age", "8")], 13),
        (0, &[("Date", fast.as_str())], 0),
        (0, &[("Date", fast.as_str()), ("Age", "15")], 15),
        (0, &[("Date", "foo")], 0),
    ] {
        assert_eq!(of(&Policy::plain(), delay, lines).age(NOW), expected, "{delay} {lines:?}");
    }
}

#[test]
fn the_first_member_of_age_counts_and_garbage_does_not() {
    for (values, expected) in [
        (&["0"][..], 0),
        (&["7200"], 7200),
        (&[" 7200 "], 7200),
        (&["7200,0"], 7200),
        (&["0,7200"], 0),
        (&["7200", "0"], 7200),
        (&["0", "7200"], 0),
        (&["abc"], 0),
        (&["-7200"], 0),
        (&["7200.0"], 0),
        (&[""], 0),
        (&["9223372036854775808"], 1 << 31),
        (&["99999999999999999999999999"], 1 << 31),
    ] {
        let lines: Vec<(&str, &str)> = values.iter().map(|value| ("Age", *value)).collect();
        assert_eq!(plain(&lines).age(NOW), expected, "{values:?}");
    }
}

#[test]
fn age_grows_with_the_time_spent_here_and_never_goes_back() {
    let found = plain(&[("Cache-Control", "max-age=60"), ("Age", "10")]);
    for (millis, age, ttl, fresh, staleness) in [
        (0, 10, 50, true, 0),
        (999, 10, 50, true, 0),
        (49_999, 59, 1, true, 0),
        (50_000, 60, 0, false, 0),
        (55_500, 65, -5, false, 5),
    ] {
        let now = NOW.plus_millis(millis);
        assert_eq!((found.age(now), found.ttl(now)), (age, ttl), "{millis}");
        assert_eq!((found.is_fresh(now), found.staleness(now)), (fresh, staleness), "{millis}");
    }
    assert_eq!(found.age(Time::ZERO), 10);
    assert!(found.ttl(Time::from_millis(u64::MAX)) < 0);
}

#[test]
fn a_rule_fills_in_or_wins_and_counts_from_arrival() {
    let honour = Policy { ttl: Some(secs(100)), ..Policy::plain() };
    let force = Policy { mode: Mode::Force, ..honour.clone() };
    let modified = date(-1000);
    for (policy, lines, expected) in [
        (&honour, &[][..], (100, LifetimeSource::Rule)),
        (&honour, &[("Last-Modified", modified.as_str())], (100, LifetimeSource::Rule)),
        (&honour, &[("Cache-Control", "max-age=5")], (5, LifetimeSource::MaxAge)),
        (&honour, &[("Expires", "0")], (0, LifetimeSource::None)),
        (&honour, &[("Pragma", "no-cache")], (0, LifetimeSource::None)),
        (&force, &[("Cache-Control", "max-age=5, no-cache")], (100, LifetimeSource::Rule)),
        (&force, &[("Expires", "0"), ("Pragma", "no-cache")], (100, LifetimeSource::Rule)),
        (&force, &[("Age", "1000")], (1100, LifetimeSource::Rule)),
    ] {
        let found = of(policy, 0, lines);
        assert_eq!((found.lifetime().as_secs(), found.source()), expected, "{lines:?}");
        assert_eq!(found.is_fresh(NOW), expected.0 > 0);
    }
    let strict = [("Cache-Control", "no-cache, must-revalidate, s-maxage=1")];
    assert!(of(&force, 0, &strict).may_be_stale() && !of(&honour, 0, &strict).may_be_stale());
    // A rule for successes leaves errors to the origin, even when it forces.
    assert_eq!(of_status(&force, 404, 0, &[]).source(), LifetimeSource::None);
}

#[test]
fn windows_come_from_the_origin_or_else_from_the_rule() {
    let rule = Policy { grace: Some(secs(7)), stale_if_error: Some(secs(70)), ..Policy::plain() };
    for (value, grace, error_grace) in [
        ("max-age=60", 7, 70),
        ("max-age=60, stale-while-revalidate=5", 5, 70),
        ("max-age=60, stale-if-error=50", 7, 50),
        ("max-age=60, stale-while-revalidate=0, stale-if-error=0", 0, 0),
        ("max-age=60, stale-while-revalidate=x, stale-if-error=", 0, 0),
        ("max-age=0", 0, 70),
        ("max-age=x", 0, 0),
        ("s-maxage=60", 0, 0),
        ("s-maxage=60, stale-while-revalidate=5, stale-if-error=50", 5, 50),
        ("max-age=60, must-revalidate, stale-while-revalidate=5", 0, 0),
        ("max-age=60, proxy-revalidate, stale-if-error=5", 0, 0),
        ("max-age=60, no-cache, stale-while-revalidate=5", 0, 0),
        ("stale-while-revalidate=5", 5, 0),
        ("", 0, 0),
    ] {
        let found = of(&rule, 0, &[("Cache-Control", value)]);
        assert_eq!((found.grace(&rule), found.error_grace(&rule)), (grace, error_grace), "{value}");
    }
}

proptest::proptest! {
    #[test]
    fn no_fields_and_no_times_overflow(
        age in "[0-9]{0,25}",
        max_age in "[0-9]{0,25}",
        asked in proptest::num::u64::ANY,
        arrived in proptest::num::u64::ANY,
        now in proptest::num::u64::ANY,
        ttl in proptest::num::u64::ANY,
    ) {
        let force = Policy { mode: Mode::Force, ttl: Some(DeltaSeconds::saturating(ttl)), ..Policy::plain() };
        let request = Lines::default();
        let response = Lines::of(&[("Age", &age), ("Cache-Control", &format!("max-age={max_age}"))]);
        let facts = ResponseFacts::gather(&response);
        for policy in [&force, &Policy::plain()] {
            let (asked, arrived, now) = (Time::from_millis(asked), Time::from_millis(arrived), Time::from_millis(now));
            let found = Freshness::of(&get(&request), &facts, policy, 200, asked, arrived);
            assert_eq!(found.is_fresh(now), found.ttl(now) > 0);
            assert!(found.staleness(now) == 0 || !found.is_fresh(now));
            let again = found.confirmed(&facts, asked, now);
            assert_eq!(again.is_fresh(now), again.ttl(now) > 0);
        }
    }
}
