"""The audit log: one line of JSON for every purge and every refusal of one, on the logger `headland.audit`.

A line says who, what, when, from where and with which result. Texts from outside stand in JSON strings, so that no line
break or escape sequence gets through, and are cut to a length; a secret is never among them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import orjson

from purge_api.record import PurgeRecord, utc

__all__ = ["audit_purge", "audit_refusal"]

ITEMS_LOGGED_MAX = 20
"""Items of one purge that its line repeats; the journal keeps all."""
TEXT_CHARACTERS_MAX = 500
"""Characters of one text."""
log = logging.getLogger("headland.audit")


def audit_purge(record: PurgeRecord) -> None:
    """Log a purge that was applied."""
    log.info(
        "%s",
        _line(
            at=utc(record.applied_ms),
            event="purge",
            result="applied",
            id=record.id,
            actor=_cut(record.actor),
            client=_cut(record.client),
            type=record.kind,
            mode=record.mode,
            items=_first(record.items),
            headers=None if record.headers is None else _first([f"{name}: {value}" for name, value in record.headers]),
            count=len(record.items),
            node=_cut(record.origin),
        ),
    )


def audit_refusal(*, actor: str, client: str, status: int, reason: str) -> None:
    """Log a purge that was refused; `actor` is empty when the caller is not known."""
    log.warning(
        "%s",
        _line(
            at=utc(int(time.time() * 1000)),
            event="purge",
            result="refused",
            actor=_cut(actor),
            client=_cut(client),
            status=status,
            reason=_cut(reason),
        ),
    )


def _line(**members: object) -> str:
    return orjson.dumps(members).decode()


def _first(items: Sequence[str]) -> list[str]:
    return [_cut(item) for item in items[:ITEMS_LOGGED_MAX]]


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[:TEXT_CHARACTERS_MAX] + "..."
