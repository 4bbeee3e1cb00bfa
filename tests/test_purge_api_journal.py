"""The purge journal on a real disk: order, durability, group commit, what kill -9 leaves."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from purge_api import journal as journal_module
from purge_api.errors import JournalBusy, JournalClosed, JournalFailed, JournalLocked
from purge_api.journal import Journal
from purge_api.rows import LOG_PAGES_MAX
from tests.journals import WAIT_S, GatedLedger, SpyLedger, draft, opened, rows
from tests.waiting import until


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


def test_the_log_of_the_database_is_emptied_in_pauses_and_bounded_without(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "COMMITS_PER_CHECKPOINT", 3)
    monkeypatch.setattr(journal_module, "PAUSE_S", 3_600.0)
    with opened(tmp_path) as journal:
        assert journal._rows._sql("PRAGMA wal_autocheckpoint").fetchone() == (LOG_PAGES_MAX,)
        for number in range(10):
            journal.submit(draft(f"https://a.example/{number}")).result(WAIT_S)
        assert journal.counters.checkpoints == 0
        monkeypatch.setattr(journal_module, "PAUSE_S", 0.0)
        journal.submit(draft("https://a.example/last")).result(WAIT_S)
        until(lambda: journal.counters.checkpoints == 1)
        # What was in the log alone stands in the database now.
        database = f"file:{tmp_path / 'cache.db'}?immutable=1"
        with contextlib.closing(sqlite3.connect(database, uri=True)) as connection:
            assert connection.execute("SELECT count(*) FROM Cache").fetchone() == (11,)


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


def test_the_log_of_the_database_is_as_long_as_it_gets_from_the_start(tmp_path):
    with opened(tmp_path) as journal:
        log = tmp_path / "cache.db-wal"
        length = log.stat().st_size
        for number in range(50):
            journal.submit(draft(f"https://a.example/{number}")).result(WAIT_S)
        assert log.stat().st_size == length >= LOG_PAGES_MAX * 4_096
        # As after a crash: the log is all there is of the newest purges.
        (tmp_path / "crashed").mkdir()
        for name in ("cache.db", "cache.db-wal"):
            (tmp_path / "crashed" / name).write_bytes((tmp_path / name).read_bytes())
    ledger = SpyLedger()
    with opened(tmp_path / "crashed", ledger) as journal:
        assert not journal.damage
        assert [rule[3] for rule in ledger.applied] == list(range(1, 51))


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
