"""Requests and answers of the purge API as its clients see them, whichever way they travel. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from purge_api.errors import Answered

__all__ = ["Call", "Headers", "PurgeResult", "document_of", "purge_call", "result_of", "survey_call"]


@dataclass(frozen=True, slots=True)
class Call:
    """One request: what is sent, and the fields that go with it."""

    body: bytes
    headers: dict[str, str]
    wait_s: float = 0.0
    """How much longer than usual the answer may take."""


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """A purge as the node reports it."""

    id: str
    state: str
    """`applied`, or `spreading` while nodes of the fleet do not have it."""
    epoch: int
    items: tuple[str, ...]
    document: dict[str, Any]
    """The whole answer."""

    @property
    def refused(self) -> list[dict[str, Any]]:
        """Items that were left out, with index and reason."""
        return list(self.document.get("refused", ()))

    @property
    def missing(self) -> list[str]:
        """The live nodes that do not have it yet."""
        return [node["name"] for node in self.document.get("nodes", ()) if node["state"] != "applied"]


Headers = Mapping[str, str | None]
"""Fields of the request whose variant of a URL is meant; None for one that it does not have."""


def purge_call(
    kind: str,
    items: Sequence[str],
    headers: Headers | None,
    *,
    soft: bool,
    partial: bool,
    wait_s: float,
    idempotency_key: str | None,
) -> Call:
    """A purge."""
    body = _body(kind, items, headers) | {"mode": "soft" if soft else "hard"}
    if partial:
        body["partial"] = True
    if wait_s:
        body |= {"wait": "fleet", "wait_ms": max(1, round(wait_s * 1000))}
    fields = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key or secrets.token_hex(16)}
    return Call(orjson.dumps(body), fields, wait_s)


def survey_call(kind: str, items: Sequence[str], headers: Headers | None) -> Call:
    """A dry run."""
    return Call(orjson.dumps(_body(kind, items, headers) | {"dry_run": True}), {"Content-Type": "application/json"})


def _body(kind: str, items: Sequence[str], headers: Headers | None) -> dict[str, Any]:
    body: dict[str, Any] = {"type": kind}
    if kind != "all":
        body["items"] = list(items)
    if headers is not None:
        body["headers"] = dict(headers)
    return body


def document_of(status: int, data: bytes) -> dict[str, Any]:
    """The document of an answer. Raises `Answered` when it is not a success."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    if status >= 300:
        raise Answered(status, document)
    return document


def result_of(document: dict[str, Any]) -> PurgeResult:
    """The purge of an answer. Raises `Answered` when it is none."""
    try:
        return PurgeResult(
            id=document["id"],
            state=document["state"],
            epoch=document["epoch"],
            items=tuple(document["items"]),
            document=document,
        )
    except (KeyError, TypeError):
        raise Answered(502, {"detail": "the answer is not one of a purge API; is this the admin address?"}) from None
