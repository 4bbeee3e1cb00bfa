"""The purge journal on a real disk: order, durability, group commit, refusal of whatever it did not write."""

from __future__ import annotations

import contextlib
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purge_api import journal as journal_module
from purge_api import sweep
from purge_api.errors import JournalBusy, JournalClosed, JournalDamaged, JournalFailed, JournalLocked
from purge_api.journal import Journal
from purge_api.record import Draft, PurgeRecord
from purge_api.sweep import swept
from tests.waiting import until

_headland = pytest.importorskip("_headland", reason="the extension is not built: make develop")

WAIT_S = 20
"""Seconds after which a future that nobody resolves fails its test."""


class SpyLedger:
    """The ledger of the core, and what was asked of it."""

    def __init__(self, epoch: int = 0) -> None:
        self.core = _headland.Ledger()
        self.applied: list[tuple[str, str, bool, int]] = []
        self.reserve = self.core.reserve
        self.held = self.core.held
        if epoch:
            self.core.apply("tag", "before", False, 0, epoch)

    def apply_all(
        self, kind: str, values: list[str], soft: bool, at_ms: int, first_epoch: int, *, headers: Any = None
    ) -> None:
        self.core.apply_all(kind, values, soft, at_ms, first_epoch, headers=headers)
        self.applied += [(kind, value, soft, first_epoch + index) for index, value in enumerate(values)]

    def epoch(self) -> int:
        return self.core.epoch()

    def __len__(self) -> int:
        return len(self.core)


class GatedLedger(SpyLedger):
    """Holds the first rule back until told, so that a queue builds up behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.gate = threading.Event()

    def apply_all(
        self, kind: str, values: list[str], soft: bool, at_ms: int, first_epoch: int, *, headers: Any = None
    ) -> None:
        self.entered.set()
        assert self.gate.wait(WAIT_S)
        super().apply_all(kind, values, soft, at_ms, first_epoch, headers=headers)


def draft(*items: str, kind: str = "url", soft: bool = False) -> Draft:
    return Draft(kind, items, soft, "ci", "192.0.2.1", 1_700_000_000_000)


@contextlib.contextmanager
def opened(directory: Path, ledger: SpyLedger | None = None):
    journal = Journal(directory, SpyLedger() if ledger is None else ledger)
    try:
        yield journal
    finally:
        journal.close()


def rows(directory: Path, statement: str, *arguments: object) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(directory / "cache.db")) as connection, connection:
        return connection.execute(statement, arguments).fetchall()


def test_an_answered_purge_is_in_force_and_is_there_again_after_reopening(tmp_path):
    with opened(tmp_path) as journal:
        record = journal.submit(draft("https://a.example/1", "https://a.example/2")).result(WAIT_S)
        journal.submit(draft("news", kind="tag", soft=True)).result(WAIT_S)
        assert journal._ledger.applied == [
            ("url", "https://a.example/1", False, 1),
            ("url", "https://a.example/2", False, 2),
            ("tag", "news", True, 3),
        ]
    ledger = SpyLedger()
    with opened(tmp_path, ledger) as journal:
        assert [rule[3] for rule in ledger.applied] == [1, 2, 3]
        assert [(kind, value, soft, epoch) for kind, value, soft, _, epoch, _ in ledger.core.rules()] == [
            ("url", "a.example/1", False, 1),
            ("url", "a.example/2", False, 2),
            ("tag", "news", True, 3),
        ]
        assert journal.counters.loaded == 3
        again = journal.find(record.id).result(WAIT_S)
        assert again is not None
        assert (again.items, again.actor, again.epoch) == (record.items, "ci", 1)
        assert journal.submit(draft("https://a.example/3")).result(WAIT_S).epoch == 4


def test_epochs_go_on_from_the_greater_of_disk_and_memory(tmp_path):
    with opened(tmp_path, SpyLedger(epoch=41)) as journal:
        assert journal.submit(draft("https://a.example/")).result(WAIT_S).epoch == 42


def test_a_purge_is_written_before_it_is_applied(tmp_path):
    ledger = GatedLedger()
    with opened(tmp_path, ledger) as journal:
        future = journal.submit(draft("https://a.example/"))
        assert ledger.entered.wait(WAIT_S)
        assert rows(tmp_path, "SELECT key FROM Cache") == [(1,)]
        assert not future.done()
        ledger.gate.set()
        future.result(WAIT_S)


def test_purges_that_wait_together_share_one_transaction(tmp_path):
    ledger = GatedLedger()
    with opened(tmp_path, ledger) as journal:
        first = journal.submit(draft("https://a.example/first"))
        assert ledger.entered.wait(WAIT_S)
        futures = [journal.submit(draft(f"https://a.example/{number}")) for number in range(200)]
        ledger.gate.set()
        epochs = [future.result(WAIT_S).epoch for future in futures]
        assert first.result(WAIT_S).epoch == 1
        assert epochs == list(range(2, 202))
        assert journal.counters.purges == 201
        assert journal.counters.commits == 2


def test_the_queue_before_the_disk_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "QUEUE_PURGES_MAX", 3)
    ledger = GatedLedger()
    with opened(tmp_path, ledger) as journal:
        journal.submit(draft("https://a.example/first"))
        assert ledger.entered.wait(WAIT_S)
        futures = [journal.submit(draft("https://a.example/")) for _ in range(3)]
        with pytest.raises(JournalBusy, match="3 purges wait"):
            journal.submit(draft("https://a.example/"))
        ledger.gate.set()
        for future in futures:
            future.result(WAIT_S)


def test_closing_finishes_what_waits_and_takes_nothing_more(tmp_path):
    ledger = GatedLedger()
    with opened(tmp_path, ledger) as journal:
        futures = [journal.submit(draft("https://a.example/")) for _ in range(5)]
        ledger.gate.set()
        journal.close()
        assert all(future.done() for future in futures)
        with pytest.raises(JournalClosed):
            journal.submit(draft("https://a.example/"))


def test_a_purge_that_cannot_be_written_is_not_applied(tmp_path, monkeypatch):
    ledger = SpyLedger()
    with opened(tmp_path, ledger) as journal:
        real = journal._rows.store

        def full(records):
            real(records)
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(journal._rows, "store", full)
        with pytest.raises(JournalFailed, match="disk is full"):
            journal.submit(draft("https://a.example/")).result(WAIT_S)
        assert ledger.applied == []
        assert rows(tmp_path, "SELECT key FROM Cache") == []
        monkeypatch.undo()
        assert journal.submit(draft("https://a.example/")).result(WAIT_S).epoch == 2


def test_a_directory_is_used_by_one_journal_at_a_time(tmp_path):
    with opened(tmp_path), pytest.raises(JournalLocked, match="in use"):
        Journal(tmp_path, SpyLedger())
    with opened(tmp_path):
        pass


def test_commits_are_synced(tmp_path):
    with opened(tmp_path) as journal:
        assert journal._rows._sql("PRAGMA synchronous").fetchone() == (2,)
        assert journal._rows._sql("PRAGMA journal_mode").fetchone() == ("wal",)


# -- damage -----------------------------------------------------------------------------------------------------------


def assert_everything_is_purged(directory: Path, salvaged: int | None = 0) -> None:
    """Of a damaged journal nothing is believed, now and after the next start; what can be read still has its id."""
    ledger = SpyLedger()
    with opened(directory, ledger) as journal:
        assert "is damaged" in journal.damage
        assert ledger.core.rules()[-1][:3] == ("all", "", False)
        assert ledger.epoch() > 1_700_000_000_000
        assert salvaged is None or len(journal.recent(10)) == salvaged + 1
        assert journal.submit(draft("https://a.example/after")).result(WAIT_S).epoch == ledger.epoch()
    again = SpyLedger()
    with opened(directory, again) as journal:
        assert not journal.damage
        assert ("all", "", False) in [rule[:3] for rule in again.core.rules()]
        assert journal.recent(1)[0].items == ("https://a.example/after",)


def test_a_recovery_that_was_broken_off_is_done_again(tmp_path):
    with opened(tmp_path) as journal:
        journal.submit(draft("https://a.example/")).result(WAIT_S)
    (tmp_path / "damaged").touch()  # as it is between setting the old aside and having the new
    assert_everything_is_purged(tmp_path, salvaged=1)


def test_what_cannot_be_set_aside_keeps_the_journal_closed(tmp_path, monkeypatch):
    (tmp_path / "cache.db").write_bytes(b"not a database " * 1000)
    monkeypatch.setattr(Path, "rename", lambda _self, _target: (_ for _ in ()).throw(PermissionError(13, "denied")))
    with pytest.raises(JournalDamaged, match="cannot be set aside"):
        Journal(tmp_path, SpyLedger())


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    ("key", "raw", "mode"), [("number", 1, 4), ("pickle", 0, 1)], ids=["a pickled value", "a pickled key"]
)
def test_a_pickle_is_refused_and_not_run(tmp_path, key, raw, mode):
    directory, trace = tmp_path / "purges", tmp_path / "trace"
    with opened(directory) as journal:
        journal.submit(draft("https://a.example/")).result(WAIT_S)
    pickled = pickle.dumps(Bomb(trace))
    rows(
        directory,
        "INSERT INTO Cache(key, raw, store_time, access_time, mode, value) VALUES (?, ?, 0, 0, ?, ?)",
        7 if key == "number" else pickled,
        raw,
        mode,
        pickled,
    )
    assert_everything_is_purged(directory, salvaged=1)
    assert not trace.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE Cache SET value = CAST(replace(CAST(value AS TEXT), 'a.example', 'b.example') AS BLOB)",
        "UPDATE Cache SET value = x'7b7d'",
        "UPDATE Cache SET value = x'00ff'",
        "UPDATE Cache SET value = 'text'",
        "UPDATE Cache SET filename = '/etc/hostname', mode = 2",
        "UPDATE Cache SET key = 99",
    ],
)
def test_a_row_that_was_changed_is_refused(tmp_path, statement):
    with opened(tmp_path) as journal:
        journal.submit(draft("https://a.example/")).result(WAIT_S)
    rows(tmp_path, statement)
    assert_everything_is_purged(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "cache.db").write_bytes(b"not a database " * 1000)
    assert_everything_is_purged(tmp_path)
    assert [path.read_bytes() for path in tmp_path.glob("damaged-*.db")] == [b"not a database " * 1000]


def test_pages_that_do_not_hold_together_are_refused(tmp_path):
    with opened(tmp_path) as journal:
        for number in range(200):
            journal.submit(draft(f"https://a.example/{number}" + "x" * 300)).result(WAIT_S)
    database = tmp_path / "cache.db"
    data = bytearray(database.read_bytes())
    for page in range(4096 * 4, len(data), 4096 * 3):
        data[page : page + 64] = b"\xff" * 64
    database.write_bytes(data)
    assert_everything_is_purged(tmp_path, salvaged=None)


# -- a crash ----------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from purge_api.journal import Journal
from purge_api.record import Draft

class Ledger:
    value = 0
    def apply_all(self, kind, values, soft, at_ms, first_epoch, headers=None):
        self.value = first_epoch + len(values) - 1
    def reserve(self, count):
        return self.value + 1
    def epoch(self):
        return self.value
    def held(self, first, last):
        return list(range(first, last + 1)), 0
    def __len__(self):
        return self.value

journal = Journal(Path({directory!r}), Ledger())
number = 0
while True:
    drafts = [Draft("url", ("https://a.example/%d" % (number + i),), False, "ci", "", 0) for i in range(8)]
    futures = [journal.submit(draft) for draft in drafts]
    number += 8
    for future in futures:
        print(future.result().id, flush=True)
"""


@pytest.mark.parametrize("answers", [1, 17, 150])
def test_kill_9_loses_no_answered_purge(tmp_path, answers):
    root = str(Path(__file__).parent.parent)
    program = WRITER.format(root=root, directory=str(tmp_path / "purges"))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ids = [process.stdout.readline().strip() for _ in range(answers)]
        process.send_signal(signal.SIGKILL)
        ids += process.stdout.read().split("\n")[:-1]
    ledger = SpyLedger()
    with opened(tmp_path / "purges", ledger) as journal:
        assert len(ids) >= answers
        for purge_id in ids:
            record = journal.find(purge_id).result(WAIT_S)
            assert record is not None, purge_id
            assert ("url", record.items[0], False, record.epoch) in ledger.applied


# -- sweeping ---------------------------------------------------------------------------------------------------------


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
