"""The durable purge ledger: what was answered is on the disk, and in force again before the first request.

Order of one purge: written and synced, then applied to the rules in memory, then answered. A purge that could not be
written is not applied.

One thread owns the database (`Rows`). Purges wait for it in a bounded queue; it takes all that wait, writes them as one
row in one transaction (a group commit: SQLite in WAL mode with `synchronous=FULL` syncs once per transaction), applies
them in the order of their epochs and resolves their futures. Epochs are reserved in the ledger, so they never repeat
and never run against the order on disk. In pauses between purges the thread empties the database's log and keeps the
rows few (`Sweep`). Reading by id also happens on it.

The directory is locked while it is open. Of a journal that cannot be trusted nothing is believed that it no longer
says: everything that is stored is purged (`damage`), and the log, `/metrics` and the list of purges say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import logging
import queue
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from diskcache import Timeout

from purge_api import damage
from purge_api.context import RuleLedger
from purge_api.errors import (
    JournalBusy,
    JournalClosed,
    JournalDamaged,
    JournalFailed,
    JournalLocked,
)
from purge_api.record import Draft, PurgeRecord, new_id
from purge_api.rows import Rows
from purge_api.settling import Settling
from purge_api.sweep import Sweep

__all__ = ["CommitTimes", "Journal", "JournalCounters"]

QUEUE_PURGES_MAX = 8_192
"""Purges that may wait for the disk; more are refused."""
COMMIT_PURGES_MAX = 1_024
"""Purges written in one transaction."""
COMMITS_PER_LOOK = 64
"""Transactions before it is asked again whether a sweep is due."""
COMMITS_PER_CHECKPOINT = 64
"""Transactions after which a pause is used to empty the database's log; if none comes, a commit does it."""
PAUSE_S = 0.01
"""Seconds without work that make a pause, in which the database is tidied: its log, and steps of the sweep."""
COMMITS_PER_STEP = 2
"""Where the sweep is behind: transactions of purges before a step of it is done in between."""
NEWEST_PURGES_KEPT = 256
"""Purges that stay on disk as they are, whatever covers them: nodes of a fleet compare the newest."""
RECENT_PURGES_MAX = 1_024
"""Purges remembered in memory, for reading back and for idempotency keys."""
log = logging.getLogger(__name__)


@dataclass(slots=True)
class JournalCounters:
    """What the journal did since it was opened; written by its thread only."""

    purges: int = 0
    rules: int = 0
    """Rules on disk now."""
    commits: int = 0
    """Transactions with purges in them."""
    steps: int = 0
    """Steps of the sweep."""
    checkpoints: int = 0
    """Pauses in which the database's log was emptied."""
    loaded: int = 0
    """Rules read back on opening."""


@dataclass(frozen=True, slots=True)
class CommitTimes:
    """Where the time of one group commit went, in seconds."""

    queued_s: float
    """From the first purge's being taken from its caller until the thread began with it."""
    written_s: float
    """Until the disk had it."""
    applied_s: float
    """Until all of them were in force."""


@dataclass(slots=True)
class _Write:
    draft: Draft
    future: Future[PurgeRecord] | asyncio.Future[PurgeRecord]
    submitted_s: float = field(default_factory=time.perf_counter)

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
        JournalDamaged: What is on disk cannot be trusted, and cannot be set aside either.
        JournalLocked: Another process has it open.
        JournalFailed: The directory cannot be made or written.
    """

    def __init__(self, directory: Path, ledger: RuleLedger, *, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self.counters = JournalCounters()
        self.on_commit: Callable[[CommitTimes], None] = lambda _times: None
        """Told of every group commit, on the journal's own thread, after those who wait for it."""
        self._ledger = ledger
        self._clock = clock
        self._recent: OrderedDict[str, PurgeRecord] = OrderedDict()
        self._recent_lock = threading.Lock()
        self._kept_from: int | None = None
        self._closed = False
        self._closing = threading.Lock()
        self._queue: queue.Queue[_Write | _Read | None] = queue.Queue(QUEUE_PURGES_MAX)
        self._paused = False
        self._emptied_at = 0
        """The number of commits after which the database's log was emptied last."""
        self.damage = ""
        """What was found damaged when it was opened; empty when nothing was."""
        self._lock_file = _lock(directory)
        try:
            self._rows = self._opened()
        except BaseException:
            self._lock_file.close()
            raise
        self._sweep = Sweep(self._rows, ledger)
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
            self._put(_Read(lambda: self._rows.with_id(purge_id), future))
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

    def keep_from(self, epoch: int) -> None:
        """Own purges behind this epoch stay on the disk, whatever covers them: others do not have them yet."""
        self._kept_from = epoch

    def close(self) -> None:
        """Finish what waits, then close the database. Further calls do nothing."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._rows.close()  # the connection of the thread that opened it
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
            if not batch and self._is_log_long():
                self._checkpoint()
            elif self._sweep.is_under_way and (not batch or self._must_step()):
                self._step()
        self._rows.close()

    def _take(self) -> tuple[list[_Write | _Read], bool]:
        """What waits, and whether to go on after it; with something to tidy, nothing when a pause came instead."""
        batch: list[_Write | _Read] = []
        pause_s = 0.0 if self._paused else PAUSE_S
        self._paused = True
        with contextlib.suppress(queue.Empty):
            work = self._queue.get(timeout=pause_s if self._sweep.is_under_way or self._is_log_long() else None)
            self._paused = False
            while work is not None:
                batch.append(work)
                if len(batch) == COMMIT_PURGES_MAX:
                    return batch, True
                work = self._queue.get_nowait()
            return batch, False
        return batch, True

    def _is_log_long(self) -> bool:
        return self.counters.commits - self._emptied_at >= COMMITS_PER_CHECKPOINT

    def _checkpoint(self) -> None:
        self._emptied_at = self.counters.commits
        with contextlib.suppress(sqlite3.Error, OSError):  # the log stays as it was, and a commit empties it
            self._rows.checkpoint()
            self.counters.checkpoints += 1

    def _must_step(self) -> bool:
        return self.counters.commits % COMMITS_PER_STEP == 0 and self._sweep.is_behind(self.counters.rules)

    def _step(self) -> None:
        with contextlib.suppress(sqlite3.Error, OSError, Timeout, JournalDamaged):  # the rows are as they were
            self.counters.rules -= self._sweep.step(self._kept_from)
            self.counters.steps += 1

    def _commit(self, writes: Sequence[_Write]) -> None:
        settling = Settling()
        begun_s = time.perf_counter()
        try:
            records = self._numbered([work.draft for work in writes])
            with self._rows.transaction():
                self._rows.store(records)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits must hear of it, and the thread must live
            failure = JournalFailed(f"the purge journal in {self.directory} cannot be written: {error}; not purged")
            for work in writes:
                settling.settle(work.future, failure)
            settling.tell()
            return
        written_s = time.perf_counter()
        self.counters.commits += 1
        self.counters.purges += len(records)
        self.counters.rules += sum(len(record.items) for record in records)
        self._sweep.written()
        for work, record in zip(writes, records, strict=True):
            settling.settle(work.future, self._outcome(record))
        applied_s = time.perf_counter()
        settling.tell()
        self.on_commit(CommitTimes(begun_s - writes[0].submitted_s, written_s - begun_s, applied_s - written_s))
        if self.counters.commits % COMMITS_PER_LOOK == 0 and not self._sweep.is_under_way:
            self._sweep.begin_if_due(self.counters.rules, self._border())

    def _border(self) -> int:
        """The epoch of the oldest of the purges that are kept as they are, because they are new."""
        newest = self.recent(NEWEST_PURGES_KEPT)
        return newest[-1].epoch if len(newest) == NEWEST_PURGES_KEPT else 0

    def _outcome(self, record: PurgeRecord) -> PurgeRecord | JournalFailed:
        """The purge in force, or why it is not."""
        try:
            self._apply(record)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, and the thread must live
            return JournalFailed(f"purge {record.id} is written but not in force: {error}")
        applied = replace(record, applied_ms=self._now_ms())
        self._remember(applied)
        return applied

    def _numbered(self, drafts: Sequence[Draft]) -> list[PurgeRecord]:
        # Reserved, so that nobody else's rule gets one of these numbers, and no fetch is born in it, meanwhile.
        epoch = self._ledger.reserve(sum(len(draft.items) for draft in drafts))
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
                    headers=draft.headers,
                )
            )
            epoch += len(draft.items)
        return records

    def _apply(self, record: PurgeRecord) -> None:
        self._ledger.apply_all(
            record.kind, list(record.items), record.soft, record.applied_ms, record.epoch, headers=record.headers
        )

    def _answer_read(self, work: _Read) -> None:
        try:
            work.future.set_result(work.find())
        except (JournalDamaged, sqlite3.Error, OSError) as error:
            work.future.set_exception(JournalFailed(f"the purge journal cannot be read: {error}"))

    def _after(self, epoch: int, count: int) -> list[PurgeRecord]:
        keys = self._rows.keys_from(self._rows.key_with(epoch) or 0)
        records = (record for key in keys for record in self._rows.row(key))
        own = (record for record in records if not record.origin and record.last_epoch > epoch)
        return list(itertools.islice(own, count))

    # -- opening ------------------------------------------------------------------------------------------------------

    def _opened(self) -> Rows:
        """The rows, with their rules in force; new ones in place of damaged ones."""
        if damage.is_marked(self.directory):
            return self._recovered("its recovery was broken off")
        try:
            rows = Rows(self.directory)
            self._load(rows)
        except (JournalDamaged, sqlite3.Error, ValueError) as error:  # the ledger refuses what is no rule
            return self._recovered(str(error))
        except OSError as error:
            raise JournalFailed(f"the purge journal in {self.directory} cannot be opened: {error.strerror}") from None
        return rows

    def _recovered(self, reason: str) -> Rows:
        self.damage = f"the purge journal in {self.directory} is damaged: {reason}"
        log.error("%s. Everything stored is purged, and the damaged files are set aside", self.damage)
        try:
            rows = damage.recovered(self.directory, self._now_ms(), self._ledger.epoch())
            self._load(rows)
        except (JournalDamaged, sqlite3.Error, ValueError, OSError) as error:
            raise JournalDamaged(f"{self.damage}; it cannot be set aside: {error}") from None
        return rows

    def _load(self, rows: Rows) -> None:
        loaded = 0
        try:
            for record in rows.records():
                self._apply(record)
                self._remember(record)
                loaded += len(record.items)
        except BaseException:
            rows.close()
            raise
        self.counters.rules = self.counters.loaded = loaded

    # -- memory -------------------------------------------------------------------------------------------------------

    def _remember(self, record: PurgeRecord) -> None:
        with self._recent_lock:
            self._recent[record.id] = record
            if len(self._recent) > RECENT_PURGES_MAX:
                self._recent.popitem(last=False)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


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
