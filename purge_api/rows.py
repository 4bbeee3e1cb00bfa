"""The journal's table: rows of purges in SQLite, by the epoch of their first rule.

A row's key is the epoch of its first rule; its value is JSON with a checksum (`JsonDisk`). Whatever was not written so
is `JournalDamaged`. The id of a purge of this node begins with its epoch, which leads to its row; for those of other
nodes there is a table of ids beside the rows, from which a purge goes with its row. Belongs to one thread at a time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import xxhash
from diskcache import Cache

from purge_api.disk import JsonDisk
from purge_api.errors import JournalDamaged
from purge_api.record import PurgeRecord

__all__ = ["DATABASE", "Rows", "sync_directory"]

DATABASE = "cache.db"
LOG = f"{DATABASE}-wal"
EPOCH_DIGITS_MAX = 19
"""Digits that no epoch has."""
ROW_RULES_MAX = 1_024
"""Rules in one packed row, unless a single purge has more."""
LOG_PAGES_MAX = 2_048
"""Pages of 4 KiB in the database's own log (WAL) before a commit empties it, if no pause does; a purge takes four."""
LOG_BYTES = LOG_PAGES_MAX * 4_120
"""Of that log as long as it gets; a page in it has a header."""
DATABASE_SETTINGS = {
    "eviction_policy": "none",  # nothing is ever dropped but by a sweep
    "cull_limit": 0,
    "size_limit": 2**62,
    "statistics": 0,
    "tag_index": 0,
    "sqlite_journal_mode": "wal",
    "sqlite_synchronous": 2,  # FULL: every commit is synced
    "sqlite_auto_vacuum": 0,
    "sqlite_wal_autocheckpoint": LOG_PAGES_MAX,
    "sqlite_mmap_size": 0,  # a torn page read through a mapping would be a signal instead of an error
}


class Rows:
    """The rows of one directory.

    Args:
        directory: Where the database is; must exist.
        check: Look over all pages first.

    Raises:
        JournalDamaged: The database does not hold together.
        OSError: It cannot be read or written.
    """

    def __init__(self, directory: Path, *, check: bool = True) -> None:
        try:
            if check and (directory / DATABASE).exists():
                _check(directory / DATABASE)
            self._cache = Cache(str(directory), disk=JsonDisk, **DATABASE_SETTINGS)
            if check:  # else it is damaged, and only read
                self._sql("CREATE TABLE IF NOT EXISTS Foreigners (id TEXT PRIMARY KEY, epoch INTEGER) WITHOUT ROWID")
                self._sql("CREATE INDEX IF NOT EXISTS Foreigners_epoch ON Foreigners (epoch)")
        except sqlite3.DatabaseError as error:
            raise JournalDamaged(str(error)) from None
        self._disk = self._cache.disk
        if check:
            _lengthen(directory / LOG)
        sync_directory(directory)
        sync_directory(directory.parent)

    def __len__(self) -> int:
        return len(self._cache)

    def close(self) -> None:
        """Close the connection of the thread that calls; each thread has one of its own."""
        self._cache.close()

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """All or nothing, and synced once at the end."""
        transaction: contextlib.AbstractContextManager[None] = self._cache.transact()
        return transaction

    def checkpoint(self) -> None:
        """Copy what the database's log holds to its place, so that no commit has to; as far as nobody reads it."""
        self._sql("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def store(self, records: Sequence[PurgeRecord]) -> None:
        """One row."""
        purges = [record.to_row() for record in records]
        self._cache.set(records[0].epoch, {"sum": _checksum(purges), "purges": purges})
        self.name(records)

    def name(self, records: Iterable[PurgeRecord]) -> None:
        """Let the purges of other nodes among these be found by their ids."""
        for record in records:
            if record.origin:
                self._sql("INSERT OR REPLACE INTO Foreigners VALUES (?, ?)", record.id, record.epoch)

    def with_id(self, purge_id: str) -> PurgeRecord | None:
        """The purge of this id."""
        found = self._sql("SELECT epoch FROM Foreigners WHERE id = ?", purge_id).fetchone()
        text, separator, _ = purge_id.partition("-")
        if found is not None:
            epoch = int(found[0])
        elif separator and text.isascii() and text.isdigit() and len(text) < EPOCH_DIGITS_MAX:
            epoch = int(text)
        else:
            return None
        return next((record for record in self.row_with(epoch) if record.id == purge_id), None)

    def replace(self, first: int, last: int, records: Sequence[PurgeRecord]) -> None:
        """Other rows for those with keys from `first` to `last`, packed, in one transaction."""
        with self.transaction():
            self._sql("DELETE FROM Cache WHERE raw = 1 AND key BETWEEN ? AND ?", first, last)
            end = max(last, records[-1].last_epoch if records else last)
            self._sql("DELETE FROM Foreigners WHERE epoch BETWEEN ? AND ?", first, end)
            for group in _packed(records):
                self.store(group)

    def row_with(self, epoch: int) -> list[PurgeRecord]:
        """The row in which an epoch would stand."""
        key = self.key_with(epoch)
        return [] if key is None else self.row(key)

    def key_with(self, epoch: int) -> int | None:
        """The greatest key that is not above an epoch."""
        found = self._sql(
            "SELECT key FROM Cache WHERE raw = 1 AND key <= ? ORDER BY key DESC LIMIT 1", epoch
        ).fetchone()
        return None if found is None else int(found[0])

    def keys_from(self, key: int, count: int = -1) -> list[int]:
        """Keys from one on, in order, at most so many."""
        query = "SELECT key FROM Cache WHERE raw = 1 AND key >= ? ORDER BY key LIMIT ?"
        return [int(found) for (found,) in self._sql(query, key, count).fetchall()]

    def rows_from(self, key: int, count: int) -> Iterator[tuple[int, list[PurgeRecord]]]:
        """Rows with keys from one on, in order, at most so many. Raises `JournalDamaged` as `row` does."""
        query = "SELECT key, mode, filename, value FROM Cache WHERE raw = 1 AND key >= ? ORDER BY key LIMIT ?"
        with contextlib.closing(self._sql(query, key, count)) as found:
            for number, mode, name, value in found:
                yield int(number), _unpacked(number, self._disk.fetch(mode, name, value, read=False))

    def row(self, key: int) -> list[PurgeRecord]:
        """One row. Raises `JournalDamaged` when it was not written so."""
        return _unpacked(key, self._cache.get(key))

    def records(self) -> Iterator[PurgeRecord]:
        """Everything, oldest first. Raises `JournalDamaged` where epochs do not rise."""
        last = 0
        for key, raw, mode, name, value in self._sql("SELECT key, raw, mode, filename, value FROM Cache ORDER BY key"):
            number = self._disk.get(key, raw)
            for record in _unpacked(number, self._disk.fetch(mode, name, value, read=False)):
                if record.epoch <= last or not record.items:
                    raise JournalDamaged(f"the epochs of row {key} do not follow those before it")
                last = record.last_epoch
                yield record

    def _sql(self, statement: str, *arguments: int | str) -> sqlite3.Cursor:
        # diskcache has no query for a range of keys; these are what its own are, with bounds.
        cursor: sqlite3.Cursor = self._cache._sql(statement, arguments)  # noqa: SLF001
        return cursor


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable, so that a new file is found again after a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lengthen(log: Path) -> None:
    """Let the database's log be as long as it gets, so that commits write over it.

    One that makes it longer changes the file, too, and waits in the file system's journal for whatever others write.
    What is behind the last commit SQLite does not read: it has no valid checksum.
    """
    with contextlib.suppress(FileNotFoundError), log.open("r+b") as file:
        missing = LOG_BYTES - file.seek(0, os.SEEK_END)
        file.write(bytes(max(0, missing)))
        file.flush()
        os.fsync(file.fileno())


def _unpacked(key: int, row: Any) -> list[PurgeRecord]:
    try:
        if row["sum"] != _checksum(row["purges"]):
            raise JournalDamaged(f"row {key} does not match its checksum")
        records = [PurgeRecord.from_row(purge) for purge in row["purges"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise JournalDamaged(f"row {key} is not a list of purges ({error})") from None
    if not records or records[0].epoch != key:
        raise JournalDamaged(f"row {key} holds other purges than its key says")
    return records


def _packed(records: Sequence[PurgeRecord]) -> Iterator[list[PurgeRecord]]:
    group: list[PurgeRecord] = []
    rules = 0
    for record in records:
        if group and rules + len(record.items) > ROW_RULES_MAX:
            yield group
            group, rules = [], 0
        group.append(record)
        rules += len(record.items)
    if group:
        yield group


def _checksum(purges: Any) -> str:
    return xxhash.xxh3_64_hexdigest(orjson.dumps(purges))


def _check(database: Path) -> None:
    """Let SQLite look over its pages. Raises `sqlite3.DatabaseError` when they do not hold together."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
