"""What a purge request may say. Pure, but for asking the node how it canonicalises.

A request is checked as a whole before anything is applied: every bad item is named with its index and the reason, and
one bad item refuses all, unless the request says `"partial": true`; then the others are applied, and the answer lists
the refused ones.

The body of the draft on HTTP invalidation (draft-nottingham-http-invalidation: type, selectors, groups, purge) is taken
as well, and means the same things by other words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from cache.purge import HeaderFields
from purge_api.context import Canonicalise
from purge_api.errors import Refused
from purge_api.items import shown, values_of
from purge_api.selection import headers_of
from purge_api.sites import Sites
from purge_api.vocabulary import KINDS, MODES, items_max

__all__ = ["PurgeRequest", "RefusedItem", "document_of", "order_of", "parse"]

ERRORS_SHOWN_MAX = 20
"""Bad items listed in one answer."""
FIELDS = frozenset({"type", "items", "headers", "mode", "dry_run", "partial", "wait", "wait_ms"})
WAITS = ("node", "fleet")
WAIT_MS_DEFAULT = 2_000
WAIT_MS_MAX = 30_000
"""Milliseconds for which an answer may be held until the fleet has applied a purge."""
DRAFT_KINDS = {"uri": "url", "uri-prefix": "prefix", "origin": "host", "group": "tag"}
DRAFT_FIELDS = frozenset({"type", "selectors", "groups", "purge"})


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """An item that is not applied."""

    index: int
    item: str
    reason: str

    def document(self) -> dict[str, Any]:
        """The form in answers."""
        return {"index": self.index, "item": self.item, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class PurgeRequest:
    """A request that may be applied."""

    kind: str
    items: tuple[str, ...]
    """Canonical, without repetitions, in the order given."""
    soft: bool
    dry_run: bool = False
    wait_ms: int = 0
    """How long to hold the answer until every live node of the fleet has applied it; 0 for this node alone."""
    refused: tuple[RefusedItem, ...] = field(default=())
    """With `partial`: what is left out."""
    headers: HeaderFields | None = None
    """The requests whose variant of each URL is meant; None for every variant."""


def parse(body: bytes, canonicalise: Canonicalise, sites: Sites) -> PurgeRequest:
    """The request in a body of JSON.

    Args:
        body: The bytes of the request.
        canonicalise: Scheme, host and target of a URL as the cache knows it; raises `ValueError`.
        sites: The sites of the node.

    Raises:
        Refused: 400, with the member `errors` where items are bad; 413 when there are too many.
    """
    document = document_of(body)
    if "selectors" in document:
        return _draft(document, canonicalise, sites)
    _refuse_unknown(document, FIELDS)
    kind = _word(document, "type", KINDS, None)
    mode = _word(document, "mode", MODES, "hard")
    items = document.get("items")
    partial = _flag(document, "partial")
    order = order_of(kind, items, canonicalise, sites, soft=mode == "soft", partial=partial)
    return replace(
        order, dry_run=_flag(document, "dry_run"), wait_ms=_wait_ms(document), headers=headers_of(document, kind)
    )


def document_of(body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises `Refused` with 400."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "bad-json", f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Refused(400, "bad-request", "the body must be a JSON object with the members type, items and mode")
    return document


def order_of(
    kind: str, items: Any, canonicalise: Canonicalise, sites: Sites, *, soft: bool, partial: bool = False
) -> PurgeRequest:
    """A request of checked items. Raises as `parse` does."""
    if kind == "all":
        if items not in (None, [], ["*"]):
            raise Refused(400, "bad-items", 'a purge of type all takes no items (or ["*"])')
        return PurgeRequest(kind, ("",), soft)
    _refuse_count(kind, items)
    values: dict[str, None] = {}
    refused = []
    for index, item in enumerate(items):
        try:
            values.update(dict.fromkeys(values_of(kind, item, canonicalise, sites)))
        except ValueError as error:
            refused.append(RefusedItem(index, shown(item), str(error)))
    if refused and not (partial and values):
        raise _bad_items(refused)
    return PurgeRequest(kind, tuple(values), soft, refused=tuple(refused))


def _refuse_count(kind: str, items: Any) -> None:
    if not isinstance(items, list):
        raise Refused(400, "bad-items", "items must be a list of strings")
    if not items:
        raise Refused(400, "bad-items", f"items is empty; expected at least one {kind}")
    limit = items_max(kind)
    if len(items) > limit:
        raise Refused(413, "too-many-items", f"{len(items)} items; at most {limit} of type {kind} in one request")


def _bad_items(refused: list[RefusedItem]) -> Refused:
    first = refused[0]
    return Refused(
        400,
        "bad-item",
        f"item {first.index} is refused: {first.reason}; nothing was purged",
        extra={"errors": [item.document() for item in refused[:ERRORS_SHOWN_MAX]], "errors_total": len(refused)},
    )


def _refuse_unknown(document: dict[str, Any], known: Iterable[str]) -> None:
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise Refused(400, "unknown-member", f"unknown member {unknown[0]!r}; known are {', '.join(sorted(known))}")


def _word(document: dict[str, Any], name: str, words: Iterable[str], default: str | None) -> str:
    value = document.get(name, default)
    if value is None:
        raise Refused(400, "missing-member", f"the member {name} is missing; expected one of {', '.join(words)}")
    if value not in tuple(words):
        raise Refused(400, f"bad-{name}", f"{name} is {shown(value)}; expected one of {', '.join(words)}")
    return str(value)


def _flag(document: dict[str, Any], name: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise Refused(400, f"bad-{name}", f"{name} is {shown(value)}; expected true or false")
    return value


def _wait_ms(document: dict[str, Any]) -> int:
    wait = _word(document, "wait", WAITS, "node")
    wait_ms = document.get("wait_ms", WAIT_MS_DEFAULT)
    if not isinstance(wait_ms, int) or isinstance(wait_ms, bool) or not 1 <= wait_ms <= WAIT_MS_MAX:
        raise Refused(400, "bad-wait_ms", f"wait_ms is {shown(wait_ms)}; expected 1 to {WAIT_MS_MAX} milliseconds")
    return wait_ms if wait == "fleet" else 0


def _draft(document: dict[str, Any], canonicalise: Canonicalise, sites: Sites) -> PurgeRequest:
    _refuse_unknown(document, DRAFT_FIELDS)
    kind = DRAFT_KINDS[_word(document, "type", DRAFT_KINDS, None)]
    items = document["selectors"]
    if kind == "host":
        items = _origins(items)
    elif kind == "tag":
        items = _group_tags(items, document.get("groups"), canonicalise)
    return order_of(kind, items, canonicalise, sites, soft=not _flag(document, "purge"))


def _origins(selectors: Any) -> Any:
    """Hosts of origins such as https://www.example.com."""
    if not isinstance(selectors, list):
        return selectors
    return [each.partition("://")[2].rstrip("/") if isinstance(each, str) else each for each in selectors]


def _group_tags(selectors: Any, groups: Any, canonicalise: Canonicalise) -> list[str]:
    """The tags under which the cache keeps the groups (RFC 9875) of these origins."""
    if not (isinstance(selectors, list) and isinstance(groups, list) and groups):
        raise Refused(400, "bad-items", "selectors must be a list of origins, and groups a list of names")
    tags = []
    for index, selector in enumerate(selectors):
        try:
            scheme, host, _ = canonicalise(str(selector))
        except ValueError as error:
            raise _bad_items([RefusedItem(index, shown(selector), str(error))]) from None
        tags += [f"group:{scheme}://{host}:{_escaped(str(group))}" for group in groups]
    return tags


def _escaped(group: str) -> str:
    """As `cache/src/groups.rs` writes what a tag cannot hold."""
    plain = range(0x21, 0x7F)
    return "".join(chr(byte) if byte in plain and chr(byte) not in ",%" else f"%{byte:02x}" for byte in group.encode())
