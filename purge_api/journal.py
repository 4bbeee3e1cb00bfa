"""The durable purge ledger: what was answered is on the disk, and in force again before the first request.

Order of one purge: written and synced, then applied to the rules in memory, then answered. A purge that could not be
written is not applied.

One thread owns the database. Purges wait for it in a bounded queue; it takes all that wait, writes them as one row in
one transaction (a group commit: SQLite in WAL mode with `synchronous=FULL` syncs once per transaction), applies them in
the order of their epochs and resolves their futures. Epochs are given out there, so they never repeat and never run
against the order on disk. A row's key is the epoch of its first rule; its value is JSON with a checksum (`JsonDisk`).

Rows written since the last compaction are counted; when they are many, all rows are read, `compacted`, and written
back packed, in one transaction. Reading by id also happens on the owning thread: an id leads to its row by its epoch.

The directory is locked while it is open. Whatever cannot be trusted on opening is `JournalDamaged`, with one sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import queue
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import orjson
import xxhash
from diskcache import Cache, Timeout

from purge_api.compact import compacted
from purge_api.context import RuleLedger
from purge_api.disk import JsonDisk
from purge_api.errors import (
    JournalBusy,
    JournalClosed,
    JournalDamaged,
    JournalFailed,
    JournalLocked,
)
from purge_api.record import Draft, PurgeRecord, new_id
from purge_api.settling import Settling

__all__ = ["Journal", "JournalCounters"]

QUEUE_PURGES_MAX = 8_192
"""Purges that may wait for the disk; more are refused."""
COMMIT_PURGES_MAX = 1_024
"""Purges written in one transaction."""
RULES_MAX = 1_000_000
"""Rules kept on disk, as many as the ledger in memory keeps apart; the oldest half of more is folded."""
ROWS_UNPACKED_MIN = 4_096
"""Rows written since the last compaction before there is another, at least."""
RULES_PER_UNPACKED_ROW = 64
"""Rows before the next compaction also grow with the rules held, so that compacting stays a constant cost per purge."""
ROW_RULES_MAX = 1_024
"""Rules in one packed row, unless a single purge has more."""
NEWEST_PURGES_KEPT = 256
"""Purges that stay on disk as they are, whatever covers them: nodes of a fleet compare the newest."""
RECENT_PURGES_MAX = 1_024
"""Purges remembered in memory, for reading back and for idempotency keys."""
DATABASE_SETTINGS = {
    "eviction_policy": "none",  # nothing is ever dropped but by compaction
    "cull_limit": 0,
    "size_limit": 2**62,
    "statistics": 0,
    "tag_index": 0,
    "sqlite_journal_mode": "wal",
    "sqlite_synchronous": 2,  # FULL: every commit is synced
    "sqlite_auto_vacuum": 0,
    "sqlite_mmap_size": 0,  # a torn page read through a mapping would be a signal instead of an error
}


@dataclass(slots=True)
class JournalCounters:
    """What the journal did since it was opened; written by its thread only."""

    purges: int = 0
    rules: int = 0
    """Rules on disk now."""
    commits: int = 0
    """Transactions with purges in them."""
    compactions: int = 0
    loaded: int = 0
    """Rules read back on opening."""


@dataclass(slots=True)
class _Write:
    draft: Draft
    future: Future[PurgeRecord] | asyncio.Future[PurgeRecord]

    def is_wanted(self) -> bool:
        """Whether it was not cancelled before it was taken."""
        if isinstance(self.future, Future):
            return self.future.set_running_or_notify_cancel()
        return True


@dataclass(slots=True)
class _Read:
    """Something to be found in the database by the thread that owns it."""

    find: Callable[[], Any]
    future: Future[Any]


class Journal:
    """The purge ledger on disk, in front of the one in memory. `submit` and `find` may be called from any thread.

    Opening creates the directory, checks and reads what is there, and puts its rules in force.

    Args:
        directory: Where the database is; created if missing, private to its user.
        ledger: The rules in memory.
        clock: Unix time in seconds.

    Raises:
        JournalDamaged: What is on disk cannot be trusted.
        JournalLocked: Another process has it open.
        JournalFailed: The directory cannot be made or written.
    """

    def __init__(self, directory: Path, ledger: RuleLedger, *, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self.counters = JournalCounters()
        self._ledger = ledger
        self._clock = clock
        self._recent: OrderedDict[str, PurgeRecord] = OrderedDict()
        self._recent_lock = threading.Lock()
        self._rows_unpacked = 0
        self._last_epoch = 0
        self._forgotten = 0
        self._closed = False
        self._closing = threading.Lock()
        self._queue: queue.Queue[_Write | _Read | None] = queue.Queue(QUEUE_PURGES_MAX)
        self._lock_file = _lock(directory)
        try:
            self._cache = _open(directory)
            self._load()
        except BaseException:
            self._lock_file.close()
            raise
        self._thread = threading.Thread(target=self._run, name="purge-journal", daemon=True)
        self._thread.start()

    # -- called from any thread ---------------------------------------------------------------------------------------

    def submit(self, draft: Draft) -> Future[PurgeRecord]:
        """Write and apply a purge; the future holds its record once it is durable and in force, or a `JournalError`.

        Raises:
            JournalBusy: Too many purges wait.
            JournalClosed: The journal was closed.
        """
        future: Future[PurgeRecord] = Future()
        self._put(_Write(draft, future))
        return future

    def submit_on_loop(self, draft: Draft) -> asyncio.Future[PurgeRecord]:
        """The same for the running event loop, which is woken once for all that are written together."""
        future: asyncio.Future[PurgeRecord] = asyncio.get_running_loop().create_future()
        self._put(_Write(draft, future))
        return future

    def find(self, purge_id: str) -> Future[PurgeRecord | None]:
        """The purge of this id, from memory or from the disk. Raises as `submit` does."""
        with self._recent_lock:
            record = self._recent.get(purge_id)
        future: Future[PurgeRecord | None] = Future()
        if record is not None:
            future.set_result(record)
        else:
            self._put(_Read(lambda: self._read(purge_id), future))
        return future

    def after(self, epoch: int, count: int) -> Future[list[PurgeRecord]]:
        """Own purges of this node behind an epoch, oldest first, at most so many. Raises as `submit` does."""
        future: Future[list[PurgeRecord]] = Future()
        self._put(_Read(lambda: self._after(epoch, count), future))
        return future

    def recent(self, count: int) -> list[PurgeRecord]:
        """The newest purges, newest first, at most `count` and at most `RECENT_PURGES_MAX`."""
        with self._recent_lock:
            return list(itertools.islice(reversed(self._recent.values()), count))

    def forget(self, epoch: int) -> None:
        """Rules up to an epoch concern nothing that is stored: the next compaction drops them from the disk."""
        self._forgotten = epoch

    def close(self) -> None:
        """Finish what waits, then close the database. Further calls do nothing."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._cache.close()  # the connection of the thread that opened it
        self._lock_file.close()

    def _put(self, work: _Write | _Read) -> None:
        with self._closing:
            if self._closed:
                raise JournalClosed("the node is going down; the purge was not taken")
            try:
                self._queue.put_nowait(work)
            except queue.Full:
                raise JournalBusy(f"{QUEUE_PURGES_MAX} purges wait for the disk already; try again") from None

    # -- called from the owning thread only ---------------------------------------------------------------------------

    def _run(self) -> None:
        going = True
        while going:
            batch, going = self._take()
            writes = [work for work in batch if isinstance(work, _Write) and work.is_wanted()]
            if writes:
                self._commit(writes)
            for work in batch:
                if isinstance(work, _Read) and work.future.set_running_or_notify_cancel():
                    self._answer_read(work)
        self._cache.close()

    def _take(self) -> tuple[list[_Write | _Read], bool]:
        """Wait for one piece of work, then take what else is there; and whether to go on after it."""
        batch: list[_Write | _Read] = []
        work = self._queue.get()
        while work is not None:
            batch.append(work)
            if len(batch) == COMMIT_PURGES_MAX:
                return batch, True
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _commit(self, writes: Sequence[_Write]) -> None:
        settling = Settling()
        try:
            records = self._numbered(work.draft for work in writes)
            with self._cache.transact():
                self._store(records)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits must hear of it, and the thread must live
            failure = JournalFailed(f"the purge journal in {self.directory} cannot be written: {error}; not purged")
            for work in writes:
                settling.settle(work.future, failure)
            settling.tell()
            return
        self._last_epoch = records[-1].last_epoch
        self.counters.commits += 1
        self.counters.purges += len(records)
        self.counters.rules += sum(len(record.items) for record in records)
        self._rows_unpacked += 1
        for work, record in zip(writes, records, strict=True):
            settling.settle(work.future, self._outcome(record))
        settling.tell()
        self._compact_if_due()

    def _outcome(self, record: PurgeRecord) -> PurgeRecord | JournalFailed:
        """The purge in force, or why it is not."""
        try:
            self._apply(record)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, and the thread must live
            return JournalFailed(f"purge {record.id} is written but not in force: {error}")
        applied = replace(record, applied_ms=self._now_ms())
        self._remember(applied)
        return applied

    def _numbered(self, drafts: Iterable[Draft]) -> list[PurgeRecord]:
        epoch = max(self._ledger.epoch(), self._last_epoch) + 1
        now_ms = self._now_ms()
        records = []
        for draft in drafts:
            records.append(
                PurgeRecord(
                    id=draft.id or new_id(epoch),
                    epoch=epoch,
                    kind=draft.kind,
                    items=draft.items,
                    soft=draft.soft,
                    actor=draft.actor,
                    client=draft.client,
                    received_ms=draft.received_ms,
                    applied_ms=now_ms,
                    idempotency=draft.idempotency,
                    origin=draft.origin,
                )
            )
            epoch += len(draft.items)
        return records

    def _apply(self, record: PurgeRecord) -> None:
        self._ledger.apply_all(record.kind, list(record.items), record.soft, record.applied_ms, record.epoch)

    def _answer_read(self, work: _Read) -> None:
        try:
            work.future.set_result(work.find())
        except (JournalDamaged, sqlite3.Error, OSError) as error:
            work.future.set_exception(JournalFailed(f"the purge journal cannot be read: {error}"))

    def _read(self, purge_id: str) -> PurgeRecord | None:
        epoch, separator, _ = purge_id.partition("-")
        if not (separator and epoch.isascii() and epoch.isdigit() and len(epoch) < 19):
            return None
        row = self._row_with(int(epoch))
        return next((record for record in row if record.id == purge_id), None)

    def _after(self, epoch: int, count: int) -> list[PurgeRecord]:
        first = self._key_with(epoch)
        keys = self._cache._sql(  # noqa: SLF001 - as below
            "SELECT key FROM Cache WHERE raw = 1 AND key >= ? ORDER BY key", (first or 0,)
        ).fetchall()
        records = (record for (key,) in keys for record in self._unpack(key))
        own = (record for record in records if not record.origin and record.last_epoch > epoch)
        return list(itertools.islice(own, count))

    def _row_with(self, epoch: int) -> list[PurgeRecord]:
        key = self._key_with(epoch)
        return [] if key is None else self._unpack(key)

    def _key_with(self, epoch: int) -> int | None:
        """The row in which an epoch would stand: the one with the greatest key that is not above it."""
        # diskcache has no query for a range of keys; the statement is what its iterkeys does, with a bound.
        found = self._cache._sql(  # noqa: SLF001
            "SELECT key FROM Cache WHERE raw = 1 AND key <= ? ORDER BY key DESC LIMIT 1", (epoch,)
        ).fetchone()
        return None if found is None else int(found[0])

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _store(self, records: Sequence[PurgeRecord]) -> None:
        purges = [record.to_row() for record in records]
        self._cache.set(records[0].epoch, {"sum": _checksum(purges), "purges": purges})

    def _unpack(self, key: int) -> list[PurgeRecord]:
        row = self._cache.get(key)
        try:
            if row["sum"] != _checksum(row["purges"]):
                raise JournalDamaged(f"row {key} does not match its checksum")
            records = [PurgeRecord.from_row(purge) for purge in row["purges"]]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise JournalDamaged(f"row {key} is not a list of purges ({error})") from None
        if not records or records[0].epoch != key:
            raise JournalDamaged(f"row {key} holds other purges than its key says")
        return records

    def _records(self) -> Iterator[PurgeRecord]:
        """Everything on disk, oldest first. Raises `JournalDamaged` where epochs do not rise."""
        last = 0
        for key in self._cache.iterkeys():
            for record in self._unpack(key):
                if record.epoch <= last or not record.items:
                    raise JournalDamaged(f"the epochs of row {key} do not follow those before it")
                last = record.last_epoch
                yield record

    def _load(self) -> None:
        try:
            for record in self._records():
                self._apply(record)
                self._remember(record)
                self._last_epoch = record.last_epoch
                self.counters.loaded += len(record.items)
            self._rows_unpacked = len(self._cache)
        except (JournalDamaged, sqlite3.Error, ValueError) as error:  # the ledger refuses what is no rule
            self._cache.close()
            raise _damaged(self.directory, error) from None
        self.counters.rules = self.counters.loaded

    def _compact_if_due(self) -> None:
        due = max(ROWS_UNPACKED_MIN, self.counters.rules // RULES_PER_UNPACKED_ROW)
        if self._rows_unpacked >= due or self.counters.rules > RULES_MAX + ROW_RULES_MAX:
            self._compact()

    def _compact(self) -> None:
        """Rewrite all rows packed, in one transaction; a failure leaves them as they were, for the next try."""
        with contextlib.suppress(sqlite3.Error, OSError, Timeout, JournalDamaged):
            records = list(self._records())
            border = max(0, len(records) - NEWEST_PURGES_KEPT)
            older, newest = records[:border], records[border:]
            needed = [record for record in older if record.last_epoch > self._forgotten]
            kept = compacted(needed, RULES_MAX) + newest
            with self._cache.transact():
                for key in list(self._cache.iterkeys()):
                    del self._cache[key]
                for group in _packed(kept):
                    self._store(group)
            self.counters.rules = sum(len(record.items) for record in kept)
            self.counters.compactions += 1
        self._rows_unpacked = 0

    # -- memory -------------------------------------------------------------------------------------------------------

    def _remember(self, record: PurgeRecord) -> None:
        with self._recent_lock:
            self._recent[record.id] = record
            if len(self._recent) > RECENT_PURGES_MAX:
                self._recent.popitem(last=False)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


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


def _lock(directory: Path) -> IO[bytes]:
    """Hold the directory for this process until the file is closed."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (directory / "lock").open("ab")
    except OSError as error:
        raise JournalFailed(f"the purge journal in {directory} cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise JournalLocked(f"the purge journal in {directory} is in use by another node") from None
    return file


def _open(directory: Path) -> Cache:
    database = directory / "cache.db"
    try:
        if database.exists():
            _check(database)
        cache = Cache(str(directory), disk=JsonDisk, **DATABASE_SETTINGS)
        _sync_directory(directory)
        _sync_directory(directory.parent)
    except sqlite3.DatabaseError as error:
        raise _damaged(directory, error) from None
    except OSError as error:
        raise JournalFailed(f"the purge journal in {directory} cannot be opened: {error.strerror}") from None
    return cache


def _check(database: Path) -> None:
    """Let SQLite look over its pages. Raises `sqlite3.DatabaseError` when they do not hold together."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _sync_directory(directory: Path) -> None:
    """Make the names in a directory durable, so that a new database is found again after a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(directory: Path, error: Exception) -> JournalDamaged:
    return JournalDamaged(
        f"the purge journal in {directory} is damaged: {error}. Stored objects may have been purged; "
        "move the directory away to start without its rules, and start with an empty cache"
    )
