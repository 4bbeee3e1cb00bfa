"""Many purges as few: what a node that was away for long applies when it comes back. Pure.

Purges that follow each other and have the same kind, mode, header fields and sender become one of all their items,
under the id of the last. What they are in force for is the same; only the ids of the others are not found later. The
newest stay as they are, because they are looked for again after the next start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from purge_api.record import Draft

__all__ = ["drafts_of"]

ITEMS_MAX = 1_024
"""Items of one purge that many were merged into."""


def drafts_of(drafts: Sequence[Draft], apart: int) -> list[Draft]:
    """The purges to apply, in order; the newest `apart` are not merged."""
    border = max(0, len(drafts) - apart)
    merged: list[list[Draft]] = []
    items = 0
    for draft in drafts[:border]:
        if merged and _alike(merged[-1][-1], draft) and items + len(draft.items) <= ITEMS_MAX:
            merged[-1].append(draft)
            items += len(draft.items)
        else:
            merged.append([draft])
            items = len(draft.items)
    return [*(_one(group) for group in merged), *drafts[border:]]


def _alike(one: Draft, other: Draft) -> bool:
    return (one.kind, one.soft, one.origin, one.headers) == (other.kind, other.soft, other.origin, other.headers)


def _one(group: Sequence[Draft]) -> Draft:
    items = dict.fromkeys(item for draft in group for item in draft.items)
    return replace(group[-1], items=tuple(items))
