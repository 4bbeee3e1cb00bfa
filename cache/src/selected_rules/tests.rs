//! Purges of single variants, as the ledger applies them.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::fixtures::{in_language, parts};
use crate::ledger::{Ledger, LedgerLimits};
use crate::object::{Object, Parts};
use crate::purge_rule::{PurgeKind, PurgeRule};
use crate::time::Time;

/// The hard purge of the variant of `/x` that a request with this Accept-Language gets.
fn variant(language: &str) -> PurgeRule {
    selected(PurgeMode::Hard, &[("Accept-Language", language)])
}

fn selected(mode: PurgeMode, fields: &[(&str, &str)]) -> PurgeRule {
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    whole(mode).for_request(&fields).unwrap()
}

fn whole(mode: PurgeMode) -> PurgeRule {
    PurgeRule::new(PurgeKind::Url, "h.example/x", mode, Time::ZERO).unwrap()
}

fn stored(target: &str, language: &str) -> Object {
    Object::new(in_language(parts("h.example", target, 1), language))
}

#[test]
fn only_the_variant_that_the_request_would_get_is_purged() {
    let ledger = Ledger::default();
    ledger.apply(variant("DE , en;q=0.5"));
    let fresh = |mut parts: Parts| {
        parts.born = ledger.epoch();
        Object::new(parts)
    };
    for (object, standing) in [
        (stored("/x", "de, en;q=0.5"), Standing::Hard),
        (stored("/x", "en"), Standing::Clear),
        (stored("/y", "de, en;q=0.5"), Standing::Clear),
        (Object::new(parts("h.example", "/x", 1)), Standing::Hard),
        (fresh(in_language(parts("h.example", "/x", 1), "de, en;q=0.5")), Standing::Clear),
    ] {
        assert_eq!(ledger.check(&object), standing, "{:?}", object.vary);
    }
}

#[test]
fn a_field_that_is_not_named_is_absent_and_one_that_vary_does_not_name_is_nothing() {
    let ledger = Ledger::default();
    ledger.apply(selected(PurgeMode::Soft, &[("x-other", "1")]));
    assert_eq!(ledger.check(&stored("/x", "de")), Standing::Clear);
    assert_eq!(ledger.check(&Object::new(parts("h.example", "/x", 1))), Standing::Soft);
}

#[test]
fn header_fields_select_variants_of_urls_alone() {
    for (kind, value) in [(PurgeKind::Path, "h.example/x"), (PurgeKind::Host, "h.example"), (PurgeKind::All, "")] {
        let rule = PurgeRule::new(kind, value, PurgeMode::Hard, Time::ZERO).unwrap();
        assert!(rule.for_request(&[("a".to_owned(), "b".to_owned())]).is_err(), "{kind:?}");
    }
}

#[test]
fn what_a_later_purge_covers_is_not_kept() {
    let at = |rule: PurgeRule, epoch| rule.with_epoch(Epoch(epoch));
    let soft = selected(PurgeMode::Soft, &[("accept-language", "de")]);
    for (rules, kept) in [
        (vec![at(variant("de"), 1), at(variant("de"), 2)], vec![2]),
        (vec![at(soft.clone(), 1), at(variant("de"), 2)], vec![2]),
        (vec![at(variant("de"), 1), at(soft.clone(), 2)], vec![1, 2]),
        (vec![at(variant("de"), 1), at(variant("en"), 2)], vec![1, 2]),
        (vec![at(variant("de"), 1), at(whole(PurgeMode::Hard), 2)], vec![2]),
        (vec![at(variant("de"), 1), at(whole(PurgeMode::Soft), 2)], vec![1, 2]),
        (vec![at(whole(PurgeMode::Hard), 2), at(variant("de"), 1)], vec![2]),
        (vec![at(variant("de"), 2), at(variant("de"), 1)], vec![2]),
    ] {
        let ledger = Ledger::default();
        let told = format!("{rules:?}");
        for rule in rules {
            ledger.apply(rule);
        }
        let held: Vec<u64> = ledger.held(Epoch(0), Epoch(9)).0.iter().map(|epoch| epoch.0).collect();
        assert_eq!(held, kept, "{told}");
        assert_eq!(ledger.check(&stored("/x", "de")), Standing::Hard, "{told}");
    }
}

#[test]
fn what_a_ledger_tells_makes_the_same_ledger() {
    let ledger = Ledger::default();
    ledger.apply(variant("de"));
    let other = Ledger::default();
    for rule in ledger.rules() {
        other.apply(rule);
    }
    assert_eq!(other.rules(), ledger.rules());
    assert_eq!(other.check(&stored("/x", "en")), Standing::Clear);
    assert_eq!(other.check(&stored("/x", "de")), Standing::Hard);
    other.forget_until(Epoch(1));
    assert_eq!((other.stats().rules, other.check(&stored("/x", "de"))), (0, Standing::Clear));
}

#[test]
fn beyond_its_bounds_a_rule_takes_every_variant_along() {
    let ledger = Ledger::default();
    for number in 0..URL_SELECTIONS_MAX {
        ledger.apply(variant(&format!("a{number}")));
    }
    assert_eq!(ledger.check(&stored("/x", "de")), Standing::Clear);
    ledger.apply(variant("b"));
    assert_eq!(ledger.check(&stored("/x", "de")), Standing::Hard, "the oldest is one for the URL now");
    assert_eq!(ledger.stats().folded, 1);

    let ledger = Ledger::new(LedgerLimits { selected_rules_max: 1, ..LedgerLimits::default() });
    ledger.apply(variant("a"));
    assert_eq!(ledger.check(&stored("/x", "de")), Standing::Clear);
    let other = PurgeRule::new(PurgeKind::Url, "h.example/y", PurgeMode::Hard, Time::ZERO).unwrap();
    ledger.apply(other.for_request(&[("accept-language".to_owned(), "a".to_owned())]).unwrap());
    assert_eq!(ledger.check(&stored("/x", "de")), Standing::Hard);
    assert_eq!(ledger.check(&stored("/y", "de")), Standing::Clear);
}
