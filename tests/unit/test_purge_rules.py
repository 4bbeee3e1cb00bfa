"""Purge rules as values, against the ledger of the core."""

import pytest

_headland = pytest.importorskip("_headland", reason="the extension is not built: make develop")

from cache.purge import PurgeRule, apply, canonical, rules  # noqa: E402


def test_rules_restore_another_ledger():
    first, second = _headland.Ledger(), _headland.Ledger()
    for rule in (
        PurgeRule("url", "HTTP://H.example:80/a/../b", soft=False, at_ms=1),
        PurgeRule("tag", "Article-7", soft=True, at_ms=2),
        PurgeRule("prefix", "h.example/img/", soft=False, at_ms=3),
        PurgeRule("url", "h.example/c", soft=False, at_ms=4, headers=(("accept-language", "de"),)),
    ):
        apply(first, rule)
    for rule in rules(first):
        assert apply(second, rule) == rule
    assert rules(second) == rules(first)
    assert [(rule.value, rule.epoch) for rule in rules(second)] == [
        ("h.example/b", 1),
        ("Article-7", 2),
        ("h.example/img/", 3),
        ("h.example/c", 4),
    ]
    assert second.epoch() == 4


def test_a_reserved_epoch_is_used_once_the_rule_is_durable():
    ledger = _headland.Ledger()
    reserved = ledger.reserve()
    later = apply(ledger, PurgeRule("all", "", soft=True, at_ms=0))
    assert apply(ledger, PurgeRule("host", "h", soft=False, at_ms=0, epoch=reserved)).epoch == reserved
    assert later.epoch == reserved + 1


def test_rules_beyond_the_bound_are_folded():
    ledger = _headland.Ledger(rules_max=10)
    for number in range(100):
        apply(ledger, PurgeRule("url", f"h/{number}", soft=False, at_ms=0))
    kept, applied, folded = ledger.stats()
    assert kept == len(ledger) <= 10
    assert (applied, rules(ledger)[0].kind) == (100, "all")
    assert folded > 0


@pytest.mark.parametrize(
    ("kind", "value"), [("url", "ftp://h/"), ("host", "a b"), ("tag", "a,b"), ("all", "x"), ("regex", ".*")]
)
def test_a_value_that_names_nothing_is_refused(kind, value):
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        canonical(PurgeRule(kind, value, soft=False, at_ms=0))
