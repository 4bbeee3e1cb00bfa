"""A damaged purge journal: whatever it did not write so is refused, nothing is run, and everything stored is purged."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from purge_api.errors import JournalDamaged
from purge_api.journal import Journal
from tests.journals import WAIT_S, SpyLedger, draft, opened, rows


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
