"""What nodes say to each other: versioned JSON, independent of how it travels. Pure.

    a batch          {"v": 1, "node": "pop1", "purges": [{"id", "type", "items", "mode", "actor", "received_ms"}, ...]}
                     and "headers": [[name, value], ...] in one that is for a single variant of its URLs
    what was applied {"v": 1, "node": "pop2", "received_ms": ..., "applied_ms": ..., "ids": [...]}
    a presence       {"v": 1, "node": "pop2", "sequence": ..., "digests": {"17": "9f..."}}

A batch may come twice: purges are told apart by their ids. Nobody is believed: what is no purge raises `Malformed`. A
node of a newer version adds members, which are read over: who does not know `headers` purges every variant. One that
changes the meaning of a member counts `v` up, and is not understood by older ones, which say so in their log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from cache.purge import HeaderFields, check
from purge_api.record import PurgeRecord
from purge_api.vocabulary import KINDS

__all__ = [
    "BATCH_PURGES_MAX",
    "Malformed",
    "News",
    "Presence",
    "SpreadPurge",
    "decoded",
    "decoded_news",
    "decoded_presence",
    "encoded",
]

VERSION = 1
BATCH_PURGES_MAX = 256
"""Purges in one message."""
BATCH_BYTES_MAX = 900_000
"""Bytes of one message; NATS takes a million by default."""
TEXT_CHARACTERS_MAX = 256
"""Characters of an id or a name."""


class Malformed(ValueError):  # noqa: N818 - it says what the message is
    """A message that no node of this version sends."""


@dataclass(frozen=True, slots=True)
class SpreadPurge:
    """A purge of another node."""

    id: str
    kind: str
    items: tuple[str, ...]
    soft: bool
    actor: str
    received_ms: int
    headers: HeaderFields | None = None


@dataclass(frozen=True, slots=True)
class News:
    """What a node has applied."""

    node: str
    received_ms: int
    applied_ms: int
    ids: tuple[str, ...]

    def encoded(self) -> bytes:
        """The message."""
        return orjson.dumps(
            {
                "v": VERSION,
                "node": self.node,
                "received_ms": self.received_ms,
                "applied_ms": self.applied_ms,
                "ids": self.ids,
            }
        )


@dataclass(frozen=True, slots=True)
class Presence:
    """That a node is alive, how far it has read, and what it has of the newest blocks."""

    node: str
    sequence: int
    digests: dict[int, str]
    place: str = ""
    """What it has in common with its neighbours; empty when it looks for none."""
    url: str = ""
    """Where they reach it."""

    def encoded(self) -> bytes:
        """The message."""
        digests = {str(block): digest for block, digest in self.digests.items()}
        words = {"place": self.place, "url": self.url} if self.place else {}
        head = {"v": VERSION, "node": self.node, "sequence": self.sequence, "digests": digests}
        return orjson.dumps(head | words)


def encoded(node: str, records: Iterable[PurgeRecord]) -> tuple[bytes, list[PurgeRecord]]:
    """A batch of as many purges as fit, the first in any case; and those that it holds."""
    taken: list[PurgeRecord] = []
    purges: list[bytes] = []
    size = 0
    for record in records:
        purge = orjson.dumps(_told(record))
        size += len(purge)
        if taken and (size > BATCH_BYTES_MAX or len(taken) == BATCH_PURGES_MAX):
            break
        taken.append(record)
        purges.append(purge)
    head = orjson.dumps({"v": VERSION, "node": node})
    return head[:-1] + b',"purges":[' + b",".join(purges) + b"]}", taken


def _told(record: PurgeRecord) -> dict[str, Any]:
    told = {
        "id": record.id,
        "type": record.kind,
        "items": record.items,
        "mode": record.mode,
        "actor": record.actor,
        "received_ms": record.received_ms,
    }
    return told if record.headers is None else told | {"headers": record.headers}


def decoded(data: bytes) -> tuple[str, list[SpreadPurge]]:
    """The node that a batch names, and its purges. Raises `Malformed`."""
    document = _document(data)
    purges = document.get("purges")
    if not isinstance(purges, list):
        raise Malformed("a batch has a list of purges")
    return _text(document, "node"), [_purge(purge) for purge in purges]


def decoded_news(data: bytes) -> News:
    """Raises `Malformed`."""
    document = _document(data)
    ids = document.get("ids")
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise Malformed("news has a list of ids")
    received_ms, applied_ms = _count(document, "received_ms"), _count(document, "applied_ms")
    return News(_text(document, "node"), received_ms, applied_ms, tuple(ids))


def decoded_presence(data: bytes) -> Presence:
    """Raises `Malformed`."""
    document = _document(data)
    digests = document.get("digests")
    if not isinstance(digests, dict):
        raise Malformed("a presence has digests")
    try:
        numbered = {int(block): str(digest) for block, digest in digests.items()}
    except ValueError:
        raise Malformed("a block is a number") from None
    place, url = (_text(document, name) if name in document else "" for name in ("place", "url"))
    return Presence(_text(document, "node"), _count(document, "sequence"), numbered, place, url)


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Malformed("not JSON") from None
    if not isinstance(document, dict):
        raise Malformed("not an object")
    if document.get("v") != VERSION:
        raise Malformed(f"version {document.get('v')!r} is not understood, only {VERSION}")
    return document


def _purge(purge: Any) -> SpreadPurge:
    if not isinstance(purge, dict):
        raise Malformed("a purge is an object")
    kind, items, mode = purge.get("type"), purge.get("items"), purge.get("mode")
    if kind not in KINDS or mode not in {"hard", "soft"}:
        raise Malformed(f"type {kind!r} or mode {mode!r} is not known")
    if not isinstance(items, list) or not items or not all(isinstance(item, str) for item in items):
        raise Malformed("items is a list of strings")
    headers = _headers(purge.get("headers"))
    for item in items:
        try:
            check(kind, item, headers)
        except ValueError as error:
            raise Malformed(f"an item is no rule: {error}") from None
    actor = _text(purge, "actor")
    return SpreadPurge(
        _text(purge, "id"), kind, tuple(items), mode == "soft", actor, _count(purge, "received_ms"), headers
    )


def _headers(fields: Any) -> HeaderFields | None:
    if fields is None:
        return None
    if not isinstance(fields, list) or not all(_is_field(field) for field in fields):
        raise Malformed("headers is a list of pairs of strings")
    return tuple((name, value) for name, value in fields)


def _is_field(field: Any) -> bool:
    return isinstance(field, list) and len(field) == 2 and all(isinstance(part, str) for part in field)


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value or len(value) > TEXT_CHARACTERS_MAX:
        raise Malformed(f"{name} is a text of at most {TEXT_CHARACTERS_MAX} characters")
    return value


def _count(document: dict[str, Any], name: str) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Malformed(f"{name} is a number that is not negative")
    return value
