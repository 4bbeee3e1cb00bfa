"""One purge as the journal keeps it and the API shows it.

A purge has one kind and one mode and any number of items; each item becomes one rule with an epoch of its own, counted
up from `epoch`. Epochs order purges against each other and against fills; they never repeat, also over restarts.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cache.purge import HeaderFields

__all__ = ["Draft", "PurgeRecord", "new_id", "utc"]

TIMES_MAX = 256
"""Times whose text is remembered: one purge needs its own several times."""
ID_RANDOM_BYTES = 8
"""Randomness in an id, so that ids of two nodes never meet."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A purge that was checked and waits to be written."""

    kind: str
    items: tuple[str, ...]
    """The values of its rules, canonical; one empty string for the kind `all`."""
    soft: bool
    actor: str
    """The name of the token, or `PURGE` for the data port."""
    client: str
    """The address it came from."""
    received_ms: int
    """Unix time in milliseconds."""
    idempotency: tuple[str, str] | None = None
    """Digests of the caller's key and of the body, when a key was given."""
    id: str = ""
    """Its id where it has one already, on another node."""
    origin: str = ""
    """The node that it came from; empty for this one."""
    headers: HeaderFields | None = None
    """The requests whose variant of a URL is meant; None for every variant."""


@dataclass(frozen=True, slots=True)
class PurgeRecord:
    """A purge that is durable."""

    id: str
    epoch: int
    """The epoch of the first item."""
    kind: str
    items: tuple[str, ...]
    soft: bool
    actor: str
    client: str
    received_ms: int
    applied_ms: int
    """Unix time in milliseconds at which its rules were in force (for one read back: were written)."""
    idempotency: tuple[str, str] | None = None
    origin: str = ""
    """The node that it came from; empty for this one."""
    headers: HeaderFields | None = None
    """The requests whose variant of a URL is meant; None for every variant, as for a version that reads over it."""

    @property
    def last_epoch(self) -> int:
        """The epoch of the last item."""
        return self.epoch + len(self.items) - 1

    @property
    def mode(self) -> str:
        """`soft` or `hard`."""
        return "soft" if self.soft else "hard"

    def to_row(self) -> dict[str, Any]:
        """The form on disk."""
        row: dict[str, Any] = {
            "id": self.id,
            "epoch": self.epoch,
            "kind": self.kind,
            "items": self.items,
            "soft": self.soft,
            "actor": self.actor,
            "client": self.client,
            "received_ms": self.received_ms,
            "applied_ms": self.applied_ms,
        }
        if self.idempotency is not None:
            row["idempotency"] = self.idempotency
        if self.origin:
            row["origin"] = self.origin
        if self.headers is not None:
            row["headers"] = self.headers
        return row

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> PurgeRecord:
        """The inverse of `to_row`; raises `KeyError`, `TypeError` or `ValueError` for anything else."""
        pair = row.get("idempotency")
        return cls(
            id=_text(row["id"]),
            epoch=_count(row["epoch"]),
            kind=_text(row["kind"]),
            items=tuple(_text(item) for item in row["items"]),
            soft=bool(row["soft"]),
            actor=_text(row["actor"]),
            client=_text(row["client"]),
            received_ms=_count(row["received_ms"]),
            applied_ms=_count(row["applied_ms"]),
            idempotency=None if pair is None else (_text(pair[0]), _text(pair[1])),
            origin=_text(row.get("origin", "")),
            headers=_headers(row.get("headers")),
        )

    def to_answer(self, nodes: list[dict[str, Any]]) -> dict[str, Any]:
        """The form in answers of the API; `nodes` say what each of them did."""
        items = () if self.kind == "all" else self.items
        applied = sum(node["state"] == "applied" for node in nodes)
        answer: dict[str, Any] = {
            "id": self.id,
            "state": "applied" if applied == len(nodes) else "spreading",
            "type": self.kind,
            "mode": self.mode,
            "items": list(items),
            "results": [
                {"item": item, "state": "applied", "epoch": self.epoch + index} for index, item in enumerate(items)
            ],
            "received_at": utc(self.received_ms),
            "applied_at": utc(self.applied_ms),
            "epoch": self.last_epoch,
            "actor": self.actor,
            "counts": {"items": len(items), "nodes": len(nodes), "applied": applied},
            "nodes": nodes,
        }
        if self.headers is not None:
            answer["headers"] = dict(self.headers)
        return answer


def new_id(epoch: int) -> str:
    """An id that leads back to its row: the epoch, and randomness."""
    return f"{epoch}-{secrets.token_hex(ID_RANDOM_BYTES)}"


@lru_cache(TIMES_MAX)
def utc(unix_ms: int) -> str:
    """A Unix time in milliseconds as RFC 3339 with milliseconds."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _headers(fields: Any) -> HeaderFields | None:
    return None if fields is None else tuple((_text(name), _text(value)) for name, value in fields)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a string")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("expected a whole number that is not negative")
    return value
