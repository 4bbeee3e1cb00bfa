"""Keeping the journal small, in steps so short that a purge hardly waits for one.

A pass goes over the rows from the oldest on. Each step reads some of them, leaves out the purges that nothing needs any
more, and writes the rest back as one row. Which are needed the ledger in memory knows: it has dropped a durable rule
only when a durable one covers it, when nothing older is stored, or when it was folded into a rule for everything. The
last the journal does in the same way: of the purges of a step that were folded, the newest of each mode becomes a purge
of everything. That purges more than was asked, never less.

A pass begins when there is much to drop, over all rows, or when many rows were written since the last, over those. It
waits for a pause between purges, because even a short step is longer than a purge, unless too much waits by then.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from purge_api.context import RuleLedger
from purge_api.record import PurgeRecord, new_id
from purge_api.rows import Rows

__all__ = ["Sweep", "swept"]

SUPERFLUOUS_RULES_MIN = 65_536
"""Rules on the disk that the ledger does not hold, before a pass over all rows; and a third of all."""
UNPACKED_ROWS_MIN = 4_096
"""Rows written since the last pass, before one over those."""
BACKLOG_ROWS_MAX = 16_384
"""Rows written since the last pass, from which on it waits for no pause; or twice the superfluous rules above."""
STEP_ROWS_MAX = 64
STEP_PURGES_MAX = 128
"""Purges of one step, unless a row has more; it takes about a millisecond."""
FOLD_ACTOR = "journal"
"""Who asked for a fold, in its record."""


class Sweep:
    """Belongs to the thread that owns the rows.

    Args:
        rows: What is swept.
        ledger: The rules in memory.
    """

    def __init__(self, rows: Rows, ledger: RuleLedger) -> None:
        self._rows = rows
        self._ledger = ledger
        self._position: int | None = None
        """The key from which the pass goes on; None between two."""
        self._border = 0
        """The pass ends before the row of this epoch."""
        self._packed = 0
        """Rows before this key were packed."""
        self._unpacked = len(rows)

    @property
    def is_under_way(self) -> bool:
        """Whether there is a step to do."""
        return self._position is not None

    def written(self) -> None:
        """A row was added."""
        self._unpacked += 1

    def begin_if_due(self, rules: int, border: int) -> None:
        """Begin a pass when one is worth it.

        Args:
            rules: Rules on the disk.
            border: Rows from this epoch on are left alone.
        """
        if self._superfluous(rules) >= _worth_dropping(rules):
            self._position = 0
        elif self._unpacked >= UNPACKED_ROWS_MIN:
            self._position = self._packed
        else:
            return
        self._border, self._unpacked = border, 0

    def is_behind(self, rules: int) -> bool:
        """Whether so much waits that a pass must not wait for a pause any longer.

        Args:
            rules: Rules on the disk.
        """
        return self._unpacked >= BACKLOG_ROWS_MAX or self._superfluous(rules) >= 2 * _worth_dropping(rules)

    def _superfluous(self, rules: int) -> int:
        return rules - len(self._ledger)

    def step(self, kept_from: int | None) -> int:
        """One step of the pass; the answer is how many rules it dropped.

        Args:
            kept_from: Own purges behind this epoch stay, whatever covers them; None when there are none such.

        Raises:
            JournalDamaged, sqlite3.Error: The rows are as before; the pass has ended.
        """
        position, self._position = self._position or 0, None
        keys, records = self._read(position)
        if not keys:
            return 0
        first, last = records[0].epoch, records[-1].last_epoch
        held, folded = self._ledger.held(first, last)
        kept = swept(records, frozenset(held), folded, kept_from)
        if len(keys) > 1 or kept != records:
            self._rows.replace(keys[0], keys[-1], kept)
        self._position = self._packed = last + 1
        return _rules(records) - _rules(kept)

    def _read(self, position: int) -> tuple[list[int], list[PurgeRecord]]:
        """The next rows of the pass, together; none at its end."""
        keys: list[int] = []
        records: list[PurgeRecord] = []
        for key, row in self._rows.rows_from(position, STEP_ROWS_MAX):
            if row[-1].last_epoch >= self._border or (records and len(records) + len(row) > STEP_PURGES_MAX):
                break
            keys.append(key)
            records += row
        return keys, records


def swept(
    records: Sequence[PurgeRecord], held: Collection[int], folded_until: int, kept_from: int | None
) -> list[PurgeRecord]:
    """What has to be kept of purges that follow each other, in the same order. Pure.

    Args:
        records: Oldest first.
        held: Epochs that the ledger holds.
        folded_until: Rules up to this epoch were folded into rules for everything.
        kept_from: Own purges behind this epoch stay as they are.
    """

    def stays(record: PurgeRecord) -> bool:
        return kept_from is not None and not record.origin and record.last_epoch > kept_from

    kept = []
    folded = [record for record in records if record.last_epoch <= folded_until]
    newest = {record.soft: record for record in folded if not stays(record)}  # the last of each mode wins
    for record in folded:
        if stays(record):
            kept.append(record)
        elif record is newest[record.soft]:
            kept.append(_widened(record))
    for record in records[len(folded) :]:
        # A purge of which a part was folded stays whole.
        partly = record.epoch <= folded_until
        if partly or stays(record) or any(epoch in held for epoch in range(record.epoch, record.last_epoch + 1)):
            kept.append(record)
    return kept


def _worth_dropping(rules: int) -> int:
    return max(SUPERFLUOUS_RULES_MIN, rules // 3)


def _widened(record: PurgeRecord) -> PurgeRecord:
    """The same purge for everything."""
    if record.kind == "all":
        return record
    epoch = record.last_epoch
    return replace(
        record, id=new_id(epoch), epoch=epoch, kind="all", items=("",), headers=None, actor=FOLD_ACTOR, client=""
    )


def _rules(records: Sequence[PurgeRecord]) -> int:
    return sum(len(record.items) for record in records)
