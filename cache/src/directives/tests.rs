//! Directive texts, well formed and not, one case a line.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::fixtures::{Lines, directives, get, secs};

fn request(lines: &[(&str, &str)]) -> RequestDirectives {
    get(&Lines::of(lines)).directives
}

fn cc(value: &str) -> ResponseDirectives {
    directives(&[("Cache-Control", value)])
}

fn names(fields: &FieldNames) -> Vec<&str> {
    fields.iter().map(|name| std::str::from_utf8(name).unwrap()).collect()
}

#[test]
fn request_directives_are_read_in_any_case_and_over_several_lines() {
    let found = request(&[
        ("Cache-Control", "No-Cache, NO-STORE,,"),
        ("cache-control", "only-if-cached , max-age=5 ,min-fresh=7"),
        ("Cache-Control", "max-stale=9, stale-if-error=11"),
    ]);
    let expected = RequestDirectives {
        no_cache: true,
        no_store: true,
        only_if_cached: true,
        max_age: Some(secs(5)),
        min_fresh: Some(secs(7)),
        max_stale: Some(MaxStale::Within(secs(9))),
        stale_if_error: Some(secs(11)),
        any: true,
    };
    assert_eq!(found, expected);
}

#[test]
fn of_two_request_directives_the_more_demanding_counts() {
    let found = request(&[("Cache-Control", "max-age=5, max-age=3, min-fresh=1, min-fresh=2, max-stale, max-stale=4")]);
    assert_eq!(found.max_age, Some(secs(3)));
    assert_eq!(found.min_fresh, Some(secs(2)));
    assert_eq!(found.max_stale, Some(MaxStale::Within(secs(4))));
    let found = request(&[("Cache-Control", "max-stale=4, max-stale=6, max-stale")]);
    assert_eq!(found.max_stale, Some(MaxStale::Within(secs(4))));
}

#[test]
fn a_request_directive_that_does_not_parse_asks_nothing() {
    for value in
        ["max-age=x", "max-age=-1", "max-age= 1", "max-age", "min-fresh=", "max-stale=x", "max-stale =1", "foo"]
    {
        let found = request(&[("Cache-Control", value)]);
        assert_eq!(RequestDirectives { any: false, ..found }, RequestDirectives::default(), "{value}");
    }
}

#[test]
fn pragma_counts_only_without_cache_control() {
    assert!(request(&[("Pragma", "no-cache")]).no_cache);
    assert!(request(&[("Pragma", "foo, No-Cache")]).no_cache);
    assert!(!request(&[("Pragma", "no-cache"), ("Cache-Control", "max-age=9")]).no_cache);
    assert!(!request(&[("Cache-Control", ""), ("Pragma", "no-cache")]).no_cache);
    assert!(!request(&[("Pragma", "no-store")]).no_cache);
}

#[test]
fn lifetimes_are_digits_and_what_is_not_means_stale() {
    for (value, expected) in [
        ("max-age=0", Some(0)),
        ("max-age=60", Some(60)),
        ("MAX-AGE=60", Some(60)),
        ("max-age=\"60\"", Some(60)), // RFC 9111 section 5.2: accept both forms
        ("max-age=003600", Some(3600)),
        ("max-age=2147483648", Some(1 << 31)),
        ("max-age=99999999999", Some(1 << 31)),
        ("max-age=99999999999999999999999999999999999999", Some(1 << 31)),
        ("max-age=60 , foo", Some(60)),
        ("foo=\"a, max-age=9, \\\" b\", max-age=60", Some(60)),
        ("max-age=60;no-store", Some(0)),
        ("max-age='60'", Some(0)),
        ("max-age=-60", Some(0)),
        ("max-age=+60", Some(0)),
        ("max-age=6e1", Some(0)),
        ("max-age=60.0", Some(0)),
        ("max-age=60s", Some(0)),
        ("max-age=a60", Some(0)),
        ("max-age=0x3c", Some(0)),
        ("max-age=6 0", Some(0)),
        ("max-age= 60", Some(0)),
        ("max-age =60", Some(0)),
        ("max-age 60", Some(0)),
        ("max-age=\"60", Some(0)),
        ("max-age=\"60\"x", Some(0)),
        ("max-age=\" 60\"", Some(0)),
        ("max-age=", Some(0)),
        ("max-age=\"\"", Some(0)),
        ("max-age", Some(0)),
        ("max-age=60, max-age=60", Some(60)),
        ("max-age=60, max-age=30", Some(30)),
        ("max-age=30, max-age=60", Some(30)),
        ("max-age=60, max-age=x", Some(0)),
        ("max-age:60", Some(0)),
        ("xmax-age=60", None),
        ("max-agex=60", None),
        ("max_age=60", None),
        ("", None),
        (", ,", None),
    ] {
        assert_eq!(cc(value).max_age, expected.map(secs), "{value}");
        let (shared, value) = (expected.map(secs), value.to_lowercase().replace("max-age", "s-maxage"));
        if !value.contains("xs-") {
            assert_eq!(cc(&value).s_maxage, shared, "{value}");
        }
    }
}

#[test]
fn restrictions_hold_in_whatever_shape_they_come() {
    for value in [
        "no-store",
        "No-Store",
        "no-store=1",
        "no-store=\"x\"",
        "no-store; max-age=5",
        "a, no-store",
        "no-store =\"",
        "no-store ,",
    ] {
        assert!(cc(value).no_store, "{value}");
    }
    for value in ["must-revalidate", "must-revalidate=0", "Must-Revalidate;x"] {
        assert!(cc(value).must_revalidate, "{value}");
    }
    assert!(cc("proxy-revalidate").proxy_revalidate);
    for value in ["no-stor", "no-storex", "\"no-store\"", "x=no-store", "x=\"no-store\"", "x=\", no-store,\""] {
        assert!(!cc(value).no_store, "{value}");
    }
}

#[test]
fn an_open_quote_swallows_nothing() {
    for value in ["x=\"a, no-store", "x=\"a\"b, no-store", "x=\"a, no-store, y=\"b\"z", "x=\"\\\", no-store"] {
        assert!(cc(value).no_store, "{value}");
    }
}

#[test]
fn permissions_need_to_be_well_formed() {
    for value in ["public", "PUBLIC", "public ,x"] {
        assert!(cc(value).public && cc(value).permits_authorization, "{value}");
    }
    for value in ["public=1", "public;", "public=\"x\"", "x=public"] {
        assert!(!cc(value).public && !cc(value).permits_authorization, "{value}");
    }
    for (value, expected) in [
        ("s-maxage=0", true),
        ("s-maxage=x", false),
        ("must-revalidate", true),
        ("must-revalidate=1", false),
        ("max-age=60", false),
        ("proxy-revalidate", false),
    ] {
        assert_eq!(cc(value).permits_authorization, expected, "{value}");
    }
    assert!(cc("immutable").immutable && !cc("immutable=1").immutable);
    assert!(cc("must-understand=1").must_understand && !cc("must-understand=1").must_understand_well_formed);
}

#[test]
fn qualified_forms_name_fields_and_any_flaw_makes_them_cover_everything() {
    for (value, whole, expected) in [
        ("private", true, &[][..]),
        ("private=\"X-A\"", false, &["x-a"]),
        ("private=\"X-A, x-b\"", false, &["x-a", "x-b"]),
        ("private=x-a", false, &["x-a"]),
        ("private=\"x-a\", private=\"x-b\"", false, &["x-a", "x-b"]),
        ("private=\"\"", true, &[]),
        ("private=\" , \"", true, &[]),
        ("private=", true, &[]),
        ("private=\"x a\"", true, &[]),
        ("private=\"x-a\\\"\"", true, &[]),
        ("private=\"x-a", true, &[]),
        ("private=\"x-a\"y", true, &[]),
        ("private;x", true, &[]),
        ("private=\"x-a, Content-Encoding\"", true, &[]),
        ("private=vary", true, &[]),
    ] {
        let found = cc(value);
        assert_eq!(found.private, whole, "{value}");
        if !whole {
            assert_eq!(names(&found.private_fields), expected, "{value}");
        }
        let found = cc(&value.replace("private", "no-cache"));
        assert_eq!(found.no_cache, whole, "{value}");
    }
    let many: Vec<String> = (0..=FIELD_NAMES_MAX).map(|number| format!("x{number}")).collect();
    assert!(cc(&format!("private=\"{}\"", many.join(","))).private);
    assert!(!cc(&format!("private=\"{}\"", many[1..].join(","))).private);
}

#[test]
fn the_field_for_this_cache_is_obeyed_and_the_others_ignored() {
    let own = ("Headland-CDN-Cache-Control", "max-age=1");
    let cdn = ("CDN-Cache-Control", "max-age=2");
    let surrogate = ("Surrogate-Control", "max-age=3");
    let everyone = ("Cache-Control", "no-store, max-age=4");
    for (lines, expected) in [
        (&[everyone, surrogate, cdn, own][..], 1),
        (&[everyone, surrogate, cdn], 2),
        (&[everyone, surrogate], 3),
        (&[everyone], 4),
        (&[everyone, surrogate, cdn, (own.0, "")], 2),
        (&[everyone, surrogate, cdn, (own.0, "max-age=1,")], 2),
        (&[everyone, surrogate, cdn, (own.0, "Max-Age=1")], 2),
        (&[everyone, surrogate, (cdn.0, "max-age=\"2")], 3),
        (&[everyone, (surrogate.0, "content=\"ESI/1.0\""), (cdn.0, "&&&")], 4),
    ] {
        let found = directives(lines);
        assert_eq!(found.max_age, Some(secs(expected)), "{lines:?}");
        assert_eq!(found.no_store, expected == 4, "{lines:?}");
        assert_eq!(found.source == DirectiveSource::Targeted, expected != 4, "{lines:?}");
    }
}

#[test]
fn surrogate_control_has_its_three_additions() {
    let of = |value| directives(&[("Surrogate-Control", value), ("Cache-Control", "max-age=9")]);
    let found = of("max-age=3600+600, content=\"ESI/1.0\"");
    assert_eq!((found.max_age, found.stale_while_revalidate), (Some(secs(3600)), Some(secs(600))));
    assert!(of("no-store-remote").no_store);
    assert!(of("no-store").no_store);
    assert_eq!(of("max-age=60;other").max_age, Some(secs(0)));
    assert_eq!(of("max-age=60+x").stale_while_revalidate, Some(secs(0)));
    assert_eq!(of("content=\"ESI/1.0\"").max_age, Some(secs(9)));
    assert_eq!(of("max-age =100").max_age, Some(secs(0)));
    assert_eq!(of("foobar, MaX-aGe=3600").max_age, Some(secs(3600)));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
        let mut request = RequestDirectives::default();
        request.add_line(&text);
        request.add_pragma(&text);
        let mut response = ResponseDirectives::default();
        response.add_line(&text);
        crate::structured::targeted_directives(&[&text]);
        crate::surrogate::directives(&[&text]);
    }
}
