//! Dictionaries of RFC 9651, right and wrong.

use super::*;
use crate::fixtures::secs;

fn parses(text: &str) -> bool {
    dictionary(text.as_bytes(), Argument::None, Cursor::member).is_some()
}

#[test]
fn every_type_of_value_parses() {
    for text in [
        "a",
        "  a  ",
        "a=1",
        "a=-1",
        "a=1.5, b",
        "a=\"s \\\" \\\\ t\"",
        "a=tok/en:x*",
        "a=*tok",
        "a=:cHJldGVuZA==:",
        "a=::",
        "a=?1, b=?0",
        "a=@1659578233",
        "a=@-1",
        "a=%\"f%c3%bc\"",
        "a=()",
        "a=( )",
        "a=(1 2)",
        "a=( \"x\"  b;p )",
        "a=(1;p=2 2);q",
        "a;p;q=1;r=\"x\", b;  p",
        "*a_-.*1=1",
        "a=1\t,\tb=2",
        "a=999999999999999",
        "a=123456789012.123",
    ] {
        assert!(parses(text), "{text}");
    }
}

#[test]
fn one_error_anywhere_spoils_the_field() {
    for text in [
        ",",
        "a,",
        "a,,b",
        ",a",
        "a b",
        "A=1",
        "1=1",
        "a=",
        "a= 1",
        "a =1",
        "a=1 2",
        "a=-",
        "a=1.",
        "a=.5",
        "a=1.2345",
        "a=1000000000000000",
        "a=1234567890123.1",
        "a=--1",
        "a=\"x",
        "a=\"x\\y\"",
        "a=\"\u{7f}\"",
        "a=\"\u{e9}\"",
        "a=?2",
        "a=?",
        "a=:a",
        "a=:a b:",
        "a=@1.5",
        "a=@",
        "a=%x",
        "a=%\"%C3\"",
        "a=%\"%c\"",
        "a=(1",
        "a=(1,2)",
        "a=(1\"x\")",
        "a=((1))",
        "a=1;",
        "a=1;P",
        "a=1;p=",
        "a=&",
        "a\u{0}",
        "max-age=10000, &&&&&",
    ] {
        assert!(!parses(text), "{text}");
    }
}

#[test]
fn directives_take_integers_and_flags_and_nothing_else() {
    let of = |text: &str| targeted_directives(&[text.as_bytes()]);
    for (text, expected) in [
        ("max-age=60", 60),
        ("max-age=60;x=1", 60),
        ("max-age=10, max-age=60", 60), // RFC 9651 section 3.2: the last one of a key
        ("max-age=2147483649", 1 << 31),
        ("max-age=-60", 0),
        ("max-age=60.0", 0),
        ("max-age=\"60\"", 0),
        ("max-age", 0),
        ("max-age=?1", 0),
        ("max-age=(60)", 0),
        ("max-age=a60", 0),
    ] {
        assert_eq!(of(text).and_then(|found| found.max_age), Some(secs(expected)), "{text}");
    }
    let flags = of("no-store, must-revalidate=?1, public;x").unwrap_or_default();
    assert!(flags.no_store && flags.must_revalidate && flags.public);
    assert!(of("no-store=?0").is_some_and(|found| found.no_store), "what restricts is not withdrawn");
    assert!(of("public=?0").is_some_and(|found| !found.public));
    let fields = of("private=\"x-a, x-b\", no-cache=x-c").unwrap_or_default();
    assert_eq!((fields.private, fields.private_fields.len()), (false, 2));
    assert_eq!((fields.no_cache, fields.no_cache_fields.len()), (false, 1));
}

#[test]
fn absent_and_empty_fields_count_as_absent_and_lines_join() {
    assert_eq!(targeted_directives(&[]), None);
    assert_eq!(targeted_directives(&[b""]), None);
    assert_eq!(targeted_directives(&[b"   "]), None);
    let joined = targeted_directives(&[b"max-age=1", b"no-store"]);
    assert!(joined.is_some_and(|found| found.no_store && found.max_age == Some(secs(1))));
    assert_eq!(targeted_directives(&[b"max-age=1", b"&"]), None);
}

#[test]
fn more_members_than_the_bound_count_as_unparsable() {
    let text = |count: usize| (0..count).map(|number| format!("a{number}")).collect::<Vec<_>>().join(", ");
    assert!(parses(&text(MEMBERS_MAX)));
    assert!(!parses(&text(MEMBERS_MAX + 1)));
}
