"""Keeping the journal small: which purges later ones make pointless, and what becomes of too many. Pure.

Two steps, both over whole purges, oldest first:

1. A purge goes when each of its rules is covered by a newer one. A newer rule covers an older one of the same kind and
   value, and `all` covers every kind; but a soft rule never covers a hard one.
2. When more rules than the bound are left, the oldest half is folded, as the ledger in memory folds its oldest: into
   one purge of everything for each mode, as old as the newest of that mode among them. Folding purges more than was
   asked, never less: whatever a folded rule made stale or gone is older than the fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from purge_api.record import PurgeRecord, new_id

__all__ = ["compacted"]

FOLD_ACTOR = "journal"
"""Who asked for a fold, in its record."""


@dataclass(slots=True)
class _Newer:
    """The rules seen so far, walking from the newest purge to the oldest."""

    hard: set[tuple[str, str]] = field(default_factory=set)
    any: set[tuple[str, str]] = field(default_factory=set)

    def covers(self, kind: str, value: str, *, soft: bool) -> bool:
        seen = self.any if soft else self.hard
        return (kind, value) in seen or ("all", "") in seen

    def add(self, record: PurgeRecord) -> None:
        rules = [(record.kind, value) for value in record.items]
        self.any.update(rules)
        if not record.soft:
            self.hard.update(rules)


def compacted(records: Sequence[PurgeRecord], rules_max: int) -> list[PurgeRecord]:
    """What has to be kept of `records`, oldest first, in the same order.

    It holds at most `rules_max` rules, which are four at least: half of them, and a fold for each mode.
    """
    kept = _without_covered(records)
    rules = sum(len(record.items) for record in kept)
    if rules <= rules_max:
        return kept
    border = 0
    while border < len(kept) and rules > rules_max // 2:
        rules -= len(kept[border].items)
        border += 1
    return _folded(kept[:border]) + kept[border:]


def _without_covered(records: Sequence[PurgeRecord]) -> list[PurgeRecord]:
    newer = _Newer()
    kept = []
    for record in reversed(records):
        if not all(newer.covers(record.kind, value, soft=record.soft) for value in record.items):
            kept.append(record)
        newer.add(record)
    kept.reverse()
    return kept


def _folded(records: Sequence[PurgeRecord]) -> list[PurgeRecord]:
    newest = {record.soft: record for record in records}  # the last of each mode wins
    folds = [_widened(record) for record in newest.values()]
    return _without_covered(sorted(folds, key=lambda record: record.epoch))


def _widened(record: PurgeRecord) -> PurgeRecord:
    """The same purge for everything."""
    epoch = record.last_epoch
    return replace(record, id=new_id(epoch), epoch=epoch, kind="all", items=("",), actor=FOLD_ACTOR, client="")
