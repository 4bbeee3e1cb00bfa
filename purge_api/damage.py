"""A journal that cannot be trusted: set aside, and everything that was stored before purged.

What was purged is not known any more, so nothing that is older than the damage may be served. The new journal begins
with a hard purge of everything, at an epoch that is greater than any before: the time in milliseconds is, because no
node takes a thousand purges in every millisecond of its life. Purges that can still be read are kept, for their ids and
for those that were not published to the fleet yet.

A marker is there from before the old database is set aside until the new one is durable, so that a crash between the
two is taken for damage again.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from purge_api.errors import JournalDamaged
from purge_api.record import PurgeRecord, new_id
from purge_api.rows import DATABASE, Rows, sync_directory

__all__ = ["DAMAGE_ORIGIN", "is_marked", "recovered"]

MARKER = "damaged"
SALVAGED_PURGES_MAX = 1_000_000
DAMAGE_ORIGIN = "damage"
"""Where the purge of everything comes from, which stays on this node."""


def is_marked(directory: Path) -> bool:
    """Whether a recovery was begun here and not ended."""
    return (directory / MARKER).exists()


def recovered(directory: Path, now_ms: int, epoch: int) -> Rows:
    """New rows in place of damaged ones: what could be read of them, then a purge of everything.

    Args:
        directory: The journal's.
        now_ms: Unix time in milliseconds; names the files that are set aside.
        epoch: The greatest that the ledger knows.

    Raises:
        OSError, sqlite3.Error, JournalDamaged: It cannot be done; the next start tries again.
    """
    (directory / MARKER).touch()
    sync_directory(directory)
    salvaged = _salvaged(directory)
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            (directory / f"{DATABASE}{suffix}").rename(directory / f"{MARKER}-{now_ms}.db{suffix}")
    rows = Rows(directory)
    after = max(now_ms, epoch, salvaged[-1].last_epoch if salvaged else 0)
    rows.replace(0, after, [*salvaged, _everything(after + 1, now_ms)])
    (directory / MARKER).unlink()
    sync_directory(directory)
    return rows


def _everything(epoch: int, now_ms: int) -> PurgeRecord:
    return PurgeRecord(new_id(epoch), epoch, "all", ("",), False, "journal", "", now_ms, now_ms, origin=DAMAGE_ORIGIN)


def _salvaged(directory: Path) -> list[PurgeRecord]:
    """The purges that can be read, in order; a row that cannot is left out."""
    found: list[PurgeRecord] = []
    with (
        contextlib.suppress(JournalDamaged, sqlite3.Error, OSError),
        contextlib.closing(Rows(directory, check=False)) as rows,
    ):
        for record in _readable(rows):
            if record.items and record.epoch > (found[-1].last_epoch if found else 0):
                found.append(record)
    return found[-SALVAGED_PURGES_MAX:]


def _readable(rows: Rows) -> Iterator[PurgeRecord]:
    for key in rows.keys_from(0):
        with contextlib.suppress(JournalDamaged):
            yield from rows.row(key)
