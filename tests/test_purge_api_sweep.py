"""The sweep of the purge journal: what it drops, what it keeps, and when it runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purge_api import journal as journal_module
from purge_api import sweep
from purge_api.record import PurgeRecord
from purge_api.sweep import swept
from tests.journals import WAIT_S, SpyLedger, draft, opened, rows
from tests.waiting import until

_headland = pytest.importorskip("_headland", reason="the extension is not built: make develop")


@pytest.fixture
def eager(monkeypatch):
    """Sweeps begin as soon as there is anything to do, and leave the newest purge alone."""
    monkeypatch.setattr(journal_module, "COMMITS_PER_LOOK", 1)
    monkeypatch.setattr(journal_module, "NEWEST_PURGES_KEPT", 1)
    return monkeypatch


def test_many_rows_are_packed_and_ids_still_lead_to_their_purges(tmp_path, eager):
    eager.setattr(sweep, "UNPACKED_ROWS_MIN", 11)
    eager.setattr(journal_module, "RECENT_PURGES_MAX", 1)
    with opened(tmp_path) as journal:
        records = [journal.submit(draft(f"https://a.example/{n}")).result(WAIT_S) for n in range(10)]
        journal.submit(draft("https://a.example/last")).result(WAIT_S)
        until(lambda: rows(tmp_path, "SELECT key FROM Cache ORDER BY key") == [(1,), (11,)])
        for record in records:
            assert journal.find(record.id).result(WAIT_S) is not None
        assert journal.find("5-0000000000000000").result(WAIT_S) is None
        assert journal.find("nonsense").result(WAIT_S) is None
    ledger = SpyLedger()
    with opened(tmp_path, ledger):
        assert len(ledger.applied) == 11


def test_a_purge_of_another_node_is_found_by_its_id_for_as_long_as_it_is_kept(tmp_path, eager):
    eager.setattr(journal_module, "RECENT_PURGES_MAX", 1)
    eager.setattr(sweep, "SUPERFLUOUS_RULES_MIN", 3)
    foreign = [replace(draft(f"https://a.example/{n}"), id=f"{n + 70}-x", origin="pop2") for n in range(3)]
    ledger = SpyLedger()
    with opened(tmp_path, ledger) as journal:
        for each in foreign:
            journal.submit(each).result(WAIT_S)
        journal.submit(draft("https://a.example/own")).result(WAIT_S)
    with opened(tmp_path, ledger) as journal:
        for each in foreign:
            found = journal.find(each.id).result(WAIT_S)
            assert (found.id, found.items, found.origin) == (each.id, each.items, "pop2")
        ledger.core.forget_until(ledger.epoch())
        journal.submit(draft("https://a.example/last")).result(WAIT_S)
        # A sweep waits for a pause, so nothing is asked of the journal meanwhile.
        until(lambda: rows(tmp_path, "SELECT * FROM Foreigners") == [])
        assert journal.find(foreign[0].id).result(WAIT_S) is None


def test_a_sweep_waits_for_a_pause_until_it_is_behind(tmp_path, eager):
    eager.setattr(sweep, "UNPACKED_ROWS_MIN", 4)
    eager.setattr(journal_module, "PAUSE_S", 3_600.0)
    eager.setattr(journal_module, "COMMITS_PER_STEP", 1)
    with opened(tmp_path) as journal:

        def purge(count):
            for number in range(count):
                journal.submit(draft(f"https://a.example/{count}/{number}")).result(WAIT_S)

        purge(20)
        assert journal.counters.steps == 0
        eager.setattr(sweep, "BACKLOG_ROWS_MAX", 20)
        purge(8)
        assert journal.counters.steps > 0
        before = journal.counters.steps
        eager.setattr(sweep, "BACKLOG_ROWS_MAX", 2**62)
        purge(9)
        eager.setattr(journal_module, "PAUSE_S", 0.0)
        purge(1)
        until(lambda: journal.counters.steps > before)


def test_purges_that_later_ones_cover_are_dropped_unless_others_still_have_to_hear_of_them(tmp_path, eager):
    eager.setattr(sweep, "SUPERFLUOUS_RULES_MIN", 4)
    with opened(tmp_path) as journal:
        journal.keep_from(3)
        for _ in range(5):
            journal.submit(draft("https://a.example/same")).result(WAIT_S)
        journal.submit(draft("https://a.example/other")).result(WAIT_S)
        until(lambda: journal.counters.rules == 3)
    ledger = SpyLedger()
    with opened(tmp_path, ledger):
        assert [rule[3] for rule in ledger.applied] == [4, 5, 6]


def test_rules_that_concern_nothing_any_more_leave_the_disk(tmp_path, eager):
    eager.setattr(sweep, "SUPERFLUOUS_RULES_MIN", 5)
    ledger = SpyLedger()
    with opened(tmp_path, ledger) as journal:
        for number in range(5):
            journal.submit(draft(f"https://a.example/{number}")).result(WAIT_S)
        # Answered after the thread has looked whether a sweep is due.
        journal.find("9-0000000000000000").result(WAIT_S)
        ledger.core.forget_until(5)
        journal.submit(draft("https://a.example/last")).result(WAIT_S)
        until(lambda: journal.counters.rules == 1)


VALUES = ["a", "b", "c"]
purges = st.lists(
    st.tuples(
        st.sampled_from(["url", "tag", "all"]), st.lists(st.sampled_from(VALUES), min_size=1, max_size=3), st.booleans()
    ),
    max_size=12,
)


def numbered(asked: list[tuple[str, list[str], bool]]) -> list[PurgeRecord]:
    records, epoch = [], 1
    for kind, values, soft in asked:
        items = ("",) if kind == "all" else tuple(dict.fromkeys(values))
        records.append(PurgeRecord(f"{epoch}-0", epoch, kind, items, soft, "", "", 0, 0))
        epoch += len(items)
    return records


def standing(records: list[PurgeRecord], born: int, url: str, tag: str) -> int:
    """2 gone, 1 stale, 0 clear: what the rules say of an object."""
    worst = 0
    for record in records:
        for epoch, value in enumerate(record.items, record.epoch):
            matches = record.kind == "all" or (record.kind, value) in {("url", url), ("tag", tag)}
            if matches and epoch > born:
                worst = max(worst, 1 if record.soft else 2)
    return worst


@settings(max_examples=300, deadline=None)
@given(purges, st.sampled_from([8, 1_000]), st.integers(1, 5), st.none() | st.integers(0, 20))
def test_a_sweep_never_purges_less_and_without_folding_never_more(asked, rules_max, size, kept_from):
    before = numbered(asked)
    ledger = _headland.Ledger(rules_max=rules_max)
    for record in before:
        ledger.apply_all(record.kind, list(record.items), record.soft, 0, record.epoch)
    after = []
    for first in range(0, len(before), size):
        step = before[first : first + size]
        held, folded = ledger.held(step[0].epoch, step[-1].last_epoch)
        after += swept(step, frozenset(held), folded, kept_from)
    epochs = [epoch for record in after for epoch in (record.epoch, record.last_epoch)]
    assert epochs == sorted(epochs)
    assert len({record.epoch for record in after}) == len(after)
    if kept_from is not None:
        assert [each for each in after if each.last_epoch > kept_from] == [
            each for each in before if each.last_epoch > kept_from
        ]
    for born in range(sum(len(record.items) for record in before) + 1):
        for url in VALUES:
            for tag in VALUES:
                was, now = standing(before, born, url, tag), standing(after, born, url, tag)
                assert now >= was
                assert ledger.stats()[2] or now == was
