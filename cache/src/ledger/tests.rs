#![allow(clippy::unwrap_used)]
use super::*;
use crate::fixtures::{key, parts};
use crate::object::Parts;
use crate::purge_rule::{PurgeKind, PurgeMode};
use crate::time::Time;
use proptest::prelude::*;

fn rule(kind: PurgeKind, value: &str, mode: PurgeMode) -> PurgeRule {
    PurgeRule::new(kind, value, mode, Time::ZERO).unwrap()
}

fn hard(kind: PurgeKind, value: &str) -> PurgeRule {
    rule(kind, value, PurgeMode::Hard)
}

fn soft(kind: PurgeKind, value: &str) -> PurgeRule {
    rule(kind, value, PurgeMode::Soft)
}

/// An object of `h.example` with the tags `a` and `b`.
fn object(target: &str, born: Epoch) -> Object {
    let tags = Tags::from_list([&b"a"[..], b"b"]);
    Object::new(Parts { tags, born, ..parts("h.example", target, 1) })
}

#[test]
fn every_kind_matches_what_it_names_and_nothing_else() {
    for (kind, value, matches, misses) in [
        (PurgeKind::Url, "http://h.example/x/y?q", "/x/y?q", "/x/y"),
        (PurgeKind::Prefix, "https://h.example/x/", "/x/y", "/xy"),
        (PurgeKind::Prefix, "https://h.example/", "/x/y", ""),
        (PurgeKind::Host, "H.example", "/x", ""),
        (PurgeKind::Tag, "b", "/x", ""),
        (PurgeKind::Path, "h.example/x", "/x?q", "/x/y"),
        (PurgeKind::Wildcard, "h.example/*.png", "/x/a.png?v", "/a.jpg"),
        (PurgeKind::Wildcard, "*/x", "/x", "/y"),
        (PurgeKind::Regex, "h.example~y$", "/x/y", "/y/x"),
        (PurgeKind::Site, "h.example", "/x", ""),
        (PurgeKind::Site, "*.example", "/x", ""),
        (PurgeKind::All, "", "/x", ""),
    ] {
        let ledger = Ledger::default();
        ledger.apply(hard(kind, value));
        assert_eq!(ledger.check(&object(matches, Epoch(0))), Standing::Hard, "{kind:?} {value}");
        if !misses.is_empty() {
            assert_eq!(ledger.check(&object(misses, Epoch(0))), Standing::Clear, "{kind:?} {value}");
        }
    }
    let ledger = Ledger::default();
    for (kind, value) in [
        (PurgeKind::Url, "i.example/x"),
        (PurgeKind::Prefix, "i.example/"),
        (PurgeKind::Host, "i.example"),
        (PurgeKind::Tag, "c"),
        (PurgeKind::Path, "i.example/x"),
        (PurgeKind::Path, "h.example/xy"),
        (PurgeKind::Wildcard, "i.example/*"),
        (PurgeKind::Regex, "i.example~."),
        (PurgeKind::Site, "example"),
        (PurgeKind::Site, "*.h.example"),
    ] {
        ledger.apply(hard(kind, value));
    }
    // A tag that reads like a host, and the other way round, is not one.
    ledger.apply(hard(PurgeKind::Tag, "h.example"));
    ledger.apply(hard(PurgeKind::Host, "a"));
    assert_eq!(ledger.check(&object("/x", Epoch(0))), Standing::Clear);
}

#[test]
fn a_rule_matches_only_what_was_born_before_it() {
    let ledger = Ledger::default();
    let epoch = ledger.apply(hard(PurgeKind::Host, "h.example"));
    assert_eq!(ledger.check(&object("/", Epoch(epoch.0 - 1))), Standing::Hard);
    assert_eq!(ledger.check(&object("/", ledger.epoch())), Standing::Clear);
}

#[test]
fn hard_wins_over_soft_in_any_order() {
    for modes in [[PurgeMode::Soft, PurgeMode::Hard], [PurgeMode::Hard, PurgeMode::Soft]] {
        let ledger = Ledger::default();
        for mode in modes {
            ledger.apply(rule(PurgeKind::Url, "h.example/", mode));
        }
        assert_eq!(ledger.check(&object("/", Epoch(0))), Standing::Hard);
    }
}

#[test]
fn soft_stays_soft_until_the_object_is_confirmed() {
    let ledger = Ledger::default();
    let purged = object("/", ledger.epoch());
    ledger.apply(soft(PurgeKind::Tag, "a"));
    assert_eq!(ledger.check(&purged), Standing::Soft);
    ledger.apply(hard(PurgeKind::Host, "other.example"));
    assert_eq!(ledger.check(&purged), Standing::Soft);
    let confirmed = Object::new(Parts { born: ledger.epoch(), ..purged.parts().clone() });
    assert_eq!(ledger.check(&confirmed), Standing::Clear);
}

#[test]
fn a_checked_object_is_checked_again_after_the_next_purge() {
    let ledger = Ledger::default();
    let held = object("/", ledger.epoch());
    assert_eq!(ledger.check(&held), Standing::Clear);
    ledger.apply(hard(PurgeKind::All, ""));
    assert_eq!(ledger.check(&held), Standing::Hard);
}

#[test]
fn a_rule_with_an_old_epoch_reaches_objects_that_were_checked_before() {
    let ledger = Ledger::default();
    ledger.apply(hard(PurgeKind::Host, "other.example").with_epoch(Epoch(50)));
    let held = object("/", Epoch(10));
    assert_eq!(ledger.check(&held), Standing::Clear);
    ledger.apply(hard(PurgeKind::Host, "h.example").with_epoch(Epoch(20)));
    assert_eq!(ledger.check(&held), Standing::Hard);
    assert_eq!(ledger.epoch(), Epoch(50));
}

#[test]
fn a_fill_that_began_before_a_purge_learns_of_it() {
    let ledger = Ledger::default();
    let (key, born, tags) = (key("h.example", "/"), ledger.epoch(), Tags::default());
    assert_eq!(ledger.standing_of(key.as_ref(), &tags, &VaryFacts::default(), born), Standing::Clear);
    ledger.apply(soft(PurgeKind::Url, "h.example/"));
    assert_eq!(ledger.standing_of(key.as_ref(), &tags, &VaryFacts::default(), born), Standing::Soft);
    assert_eq!(ledger.standing_of(key.as_ref(), &tags, &VaryFacts::default(), ledger.epoch()), Standing::Clear);
}

#[test]
fn a_reserved_epoch_is_newer_than_everything_before() {
    let ledger = Ledger::default();
    let before = ledger.epoch();
    let reserved = ledger.reserve(1);
    let meanwhile = ledger.apply(hard(PurgeKind::Host, "other.example"));
    assert!(before < reserved && reserved < meanwhile);
    ledger.apply(hard(PurgeKind::Url, "h.example/").with_epoch(reserved));
    assert_eq!(ledger.check(&object("/", before)), Standing::Hard);
}

#[test]
fn rules_restore_a_ledger() {
    let ledger = Ledger::default();
    ledger.apply(soft(PurgeKind::Host, "h.example"));
    ledger.apply(hard(PurgeKind::Prefix, "h.example/x/"));
    let restored = Ledger::default();
    ledger.rules().into_iter().for_each(|rule| _ = restored.apply(rule));
    assert_eq!(restored.rules(), ledger.rules());
    assert_eq!(restored.epoch(), ledger.epoch());
    assert_eq!(restored.check(&object("/x/1", Epoch(1))), Standing::Hard);
    assert_eq!(restored.check(&object("/", Epoch(1))), Standing::Clear);
}

#[test]
fn a_rule_that_another_covers_is_dropped() {
    let ledger = Ledger::default();
    for _ in 0..100 {
        ledger.apply(soft(PurgeKind::Url, "h.example/"));
    }
    assert_eq!(ledger.stats().rules, 1);
    ledger.apply(hard(PurgeKind::Url, "h.example/"));
    assert_eq!(ledger.stats().rules, 1);
    ledger.apply(soft(PurgeKind::All, ""));
    ledger.apply(soft(PurgeKind::All, ""));
    assert_eq!(ledger.stats().rules, 2);
    ledger.apply(hard(PurgeKind::All, ""));
    assert_eq!(ledger.stats().rules, 1);
}

#[test]
fn too_many_rules_are_folded_so_that_too_much_is_purged() {
    let ledger = Ledger::new(LedgerLimits {
        rules_max: 100,
        prefix_rules_max: 10,
        pattern_rules_max: 4,
        ..LedgerLimits::default()
    });
    for number in 0..1000 {
        ledger.apply(hard(PurgeKind::Url, &format!("h.example/{number}")));
        assert!(ledger.stats().rules <= 100);
    }
    for number in 0..1000 {
        assert_eq!(ledger.check(&object(&format!("/{number}"), Epoch(0))), Standing::Hard);
    }
    assert_eq!(ledger.check(&object("/", ledger.epoch())), Standing::Clear);
    assert!(ledger.stats().folded > 800);
}

#[test]
fn too_many_prefixes_become_rules_for_their_hosts() {
    let ledger = Ledger::new(LedgerLimits {
        rules_max: 100,
        prefix_rules_max: 10,
        pattern_rules_max: 4,
        ..LedgerLimits::default()
    });
    for number in 0..11 {
        ledger.apply(soft(PurgeKind::Prefix, &format!("h.example/{number}/")));
    }
    let kinds: Vec<_> = ledger.rules().iter().map(PurgeRule::kind).collect();
    assert_eq!(kinds.iter().filter(|&&kind| kind == PurgeKind::Prefix).count(), 5, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|&&kind| kind == PurgeKind::Host).count(), 1);
    assert_eq!(ledger.check(&object("/other", Epoch(0))), Standing::Soft);
    assert_eq!(ledger.check(&object("/other", Epoch(6))), Standing::Clear);
    assert_eq!(ledger.check(&object("/10/x", Epoch(6))), Standing::Soft);
}

#[test]
fn too_many_patterns_become_rules_for_their_hosts() {
    let ledger = Ledger::new(LedgerLimits {
        rules_max: 100,
        prefix_rules_max: 10,
        pattern_rules_max: 4,
        ..LedgerLimits::default()
    });
    for number in 0..5 {
        ledger.apply(soft(PurgeKind::Wildcard, &format!("h.example/{number}*")));
    }
    assert_eq!(ledger.check(&object("/other", Epoch(0))), Standing::Soft);
    assert_eq!(ledger.check(&object("/other", Epoch(3))), Standing::Clear);
    assert_eq!(ledger.check(&object("/4x", Epoch(3))), Standing::Soft);
    for number in 0..5 {
        ledger.apply(hard(PurgeKind::Regex, &format!("*~{number}$")));
    }
    assert!(ledger.rules().iter().any(|rule| rule.kind() == PurgeKind::All), "one for all hosts becomes everything");
}

#[test]
fn rules_that_nothing_is_older_than_can_be_forgotten() {
    let ledger = Ledger::default();
    let first = ledger.apply(hard(PurgeKind::Prefix, "h.example/x"));
    ledger.apply(hard(PurgeKind::Prefix, "h.example/y"));
    ledger.forget_until(first);
    assert_eq!(ledger.rules().len(), 1);
    assert_eq!(ledger.check(&object("/x", Epoch(0))), Standing::Clear);
    assert_eq!(ledger.check(&object("/y", first)), Standing::Hard);
}

#[test]
fn a_purge_is_seen_by_every_thread_before_it_returns() {
    let ledger = Ledger::default();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let ledger = &ledger;
            scope.spawn(move || {
                for step in 0..2000 {
                    let (target, born) = (format!("/{thread}/{step}"), ledger.epoch());
                    let held = object(&target, born);
                    ledger.check(&held);
                    ledger.apply(hard(PurgeKind::Url, &format!("h.example{target}")));
                    assert_eq!(ledger.check(&held), Standing::Hard);
                }
            });
        }
    });
}

/// The rules as a list, every one kept and asked.
fn naive(rules: &[(Epoch, PurgeRule)], target: &str, born: Epoch) -> Standing {
    let matching = rules.iter().filter(|(epoch, rule)| {
        *epoch > born
            && match rule.kind() {
                PurgeKind::All => true,
                PurgeKind::Host => rule.value() == "h.example",
                PurgeKind::Tag => matches!(rule.value(), "a" | "b"),
                PurgeKind::Url | PurgeKind::Path => rule.host_and_target() == ("h.example", target),
                PurgeKind::Prefix => {
                    let (host, prefix) = rule.host_and_target();
                    host == "h.example" && target.starts_with(prefix)
                }
                PurgeKind::Site => matches!(rule.value(), "h.example" | "*.example"),
                PurgeKind::Wildcard | PurgeKind::Regex => {
                    rule.pattern().is_some_and(|pattern| pattern.matches(key("h.example", target).as_ref()))
                }
            }
    });
    match matching.map(|(_, rule)| rule.mode).max() {
        Some(PurgeMode::Hard) => Standing::Hard,
        Some(PurgeMode::Soft) => Standing::Soft,
        None => Standing::Clear,
    }
}

fn any_rule() -> impl Strategy<Value = PurgeRule> {
    let kind_and_value = prop_oneof![
        4 => "(h|i)\\.example/[xy]{0,2}".prop_map(|value| (PurgeKind::Url, value)),
        4 => "(h|i)\\.example/[xy]{0,2}".prop_map(|value| (PurgeKind::Prefix, value)),
        2 => "(h|i)\\.example".prop_map(|value| (PurgeKind::Host, value)),
        2 => "[abcd]".prop_map(|value| (PurgeKind::Tag, value)),
        2 => "(h|i)\\.example/[xy]{0,2}".prop_map(|value| (PurgeKind::Path, value)),
        2 => "(h|i)\\.example/[x*]{0,2}".prop_map(|value| (PurgeKind::Wildcard, value)),
        2 => "(h\\.example|[*])~[xy]{1,2}".prop_map(|value| (PurgeKind::Regex, value)),
        1 => "([*]\\.)?(h\\.|i\\.)?example".prop_map(|value| (PurgeKind::Site, value)),
        1 => Just((PurgeKind::All, String::new())),
    ];
    (kind_and_value, any::<bool>(), proptest::option::weighted(0.2, 1..30u64)).prop_map(
        |((kind, value), is_hard, epoch)| {
            let mode = if is_hard { PurgeMode::Hard } else { PurgeMode::Soft };
            epoch.into_iter().fold(rule(kind, &value, mode), |rule, epoch| rule.with_epoch(Epoch(epoch)))
        },
    )
}

proptest! {
    #[test]
    fn the_ledger_says_what_the_list_of_all_rules_says(
        rules in proptest::collection::vec(any_rule(), 0..30), target in "/[xy]{0,2}", born in 0..30u64, small in any::<bool>(),
    ) {
        let limits = LedgerLimits { rules_max: 8, prefix_rules_max: 2, pattern_rules_max: 2, ..LedgerLimits::default() };
        let ledger = Ledger::new(if small { limits } else { LedgerLimits::default() });
        let held = object(&target, Epoch(born));
        let mut applied = Vec::new();
        for rule in rules {
            applied.push((ledger.apply(rule.clone()), rule));
            let (expected, got) = (naive(&applied, &target, Epoch(born)), ledger.check(&held));
            if small {
                // Folded rules may purge more, never less.
                prop_assert!(got as u8 >= expected as u8, "{:?} < {:?}", got, expected);
                prop_assert!(ledger.stats().rules <= 10);
            } else {
                prop_assert_eq!(got, expected);
            }
        }
    }
}

#[test]
fn a_purge_of_one_url_reaches_what_is_stored_for_an_equivalent_one() {
    let ledger = Ledger::default();
    let variance = crate::SearchVariance::of(&crate::fixtures::Lines::of(&[("no-vary-search", "params")]));
    let object = Object::new(parts("a.example", "/p?utm=1", 1));
    ledger.alternates.record(&object.key, variance.expect("it parses"));
    let rule = |url: &str| PurgeRule::new(PurgeKind::Url, url, PurgeMode::Hard, Time::ZERO).expect("it is a URL");
    ledger.apply(rule("https://a.example/q?utm=2"));
    ledger.apply(rule("https://b.example/p?utm=2"));
    assert_eq!(ledger.check(&object), Standing::Clear);
    ledger.apply(rule("https://a.example/p?utm=2"));
    assert_eq!(ledger.check(&object), Standing::Hard);
}

#[test]
fn tags_may_be_read_without_regard_to_case() {
    for (tags_ignore_case, standing) in [(false, Standing::Clear), (true, Standing::Hard)] {
        let ledger = Ledger::new(LedgerLimits { tags_ignore_case, ..LedgerLimits::default() });
        ledger.apply(hard(PurgeKind::Tag, "A"));
        assert_eq!(ledger.check(&object("/", Epoch(0))), standing);
    }
}

#[test]
fn a_durable_rule_stays_until_a_durable_one_covers_it() {
    let at = |kind, value: &str, epoch| hard(kind, value).with_epoch(Epoch(epoch));
    for covering in [
        vec![hard(PurgeKind::Tag, "a")],
        vec![soft(PurgeKind::All, ""), hard(PurgeKind::All, "")],
        vec![hard(PurgeKind::All, ""), at(PurgeKind::Host, "other.example", 7)],
    ] {
        let ledger = Ledger::default();
        ledger.apply(at(PurgeKind::Tag, "a", 5));
        for rule in covering {
            ledger.apply(rule);
        }
        assert!(ledger.held(Epoch(5), Epoch(5)).0.contains(&Epoch(5)));
        // Restored, or numbered before the others and applied after them.
        ledger.apply(at(PurgeKind::Tag, "a", 4));
        assert!(ledger.held(Epoch(4), Epoch(4)).0.contains(&Epoch(4)));
        ledger.apply(at(PurgeKind::All, "", 9));
        assert_eq!(ledger.held(Epoch(0), Epoch(8)), (vec![], Epoch(0)));
    }
}

#[test]
fn what_is_not_durable_drops_its_own_kind_so_that_it_never_piles_up() {
    let ledger = Ledger::default();
    ledger.apply(hard(PurgeKind::Tag, "a").with_epoch(Epoch(5)));
    for _ in 0..1_000 {
        ledger.apply(hard(PurgeKind::Tag, "a"));
    }
    assert_eq!(ledger.stats().rules, 2);
}

#[test]
fn the_journal_learns_up_to_where_rules_were_folded() {
    let ledger = Ledger::new(LedgerLimits { rules_max: 8, ..LedgerLimits::default() });
    for number in 1..=9 {
        ledger.apply(hard(PurgeKind::Tag, &format!("t{number}")).with_epoch(Epoch(number)));
    }
    let (held, folded) = ledger.held(Epoch(1), Epoch(9));
    assert_eq!((held, folded), ((5..=9).map(Epoch).collect(), Epoch(5)));
}
