"""The handlers of the purge API.

    POST /v1/purges        apply a purge: 201, Location, the purge with its state; 200 for a dry run
    GET  /v1/purges        the newest purges (scope read), ?limit=
    GET  /v1/purges/{id}   one purge: the caller's own, or any with scope read

A POST passes the gates of `purge_api.desk`, with content type 415, size 413, JSON and items 400 after the token, and
idempotency key 400/422 before the rate. The answer is sent when the rules are durable and in force, never before; with
`"wait": "fleet"` it is held until every live node says so, or a deadline passed.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from aiohttp import web

from purge_api.desk import Asked, PurgeDesk, read_body
from purge_api.errors import JournalError, Refused
from purge_api.idempotency import IdempotencyKeys, key_digests
from purge_api.journal import RECENT_PURGES_MAX
from purge_api.models import PurgeRequest, parse
from purge_api.problem import json_answer
from purge_api.record import Draft, PurgeRecord
from purge_api.selection import chosen
from purge_api.spread import Spread
from purge_api.vocabulary import API_PREFIX

__all__ = ["PurgeApi"]

LIST_DEFAULT = 50
"""Purges in a list when the client names no limit."""
CONTENT_TYPES = frozenset({"application/json", "application/invalidation+json"})


class PurgeApi:
    """The API over one desk; belongs to one event loop.

    Args:
        desk: Where purges are allowed, written and applied.
        spread: Which nodes of the fleet have a purge.
    """

    def __init__(self, desk: PurgeDesk, spread: Spread) -> None:
        self._desk = desk
        self._spread = spread
        self._keys = IdempotencyKeys(reversed(desk.journal.recent(RECENT_PURGES_MAX)))

    async def create(self, request: web.Request) -> web.Response:
        """`POST /v1/purges`."""
        asked = Asked.now(request.remote or "")
        try:
            return await self._create(request, asked)
        except (Refused, JournalError) as error:
            self._desk.refuse(error, asked)
            raise

    async def listing(self, request: web.Request) -> web.Response:
        """`GET /v1/purges`."""
        self._desk.admit(request).require_read()
        limit = _limit(request.query.get("limit"))
        purges = [self._document(record) for record in self._desk.journal.recent(limit)]
        return json_answer(200, {"purges": purges, "epoch": self._desk.context.ledger.epoch()})

    async def show(self, request: web.Request) -> web.Response:
        """`GET /v1/purges/{id}`."""
        identity = self._desk.admit(request)
        record = await asyncio.wrap_future(self._desk.journal.find(request.match_info["id"]))
        if record is None or not (identity.may_read() or record.actor == identity.name):
            # The same answer for both: whether a purge of somebody else exists is not told.
            raise Refused(404, "unknown-purge", "no such purge is known to this token; old ones are forgotten")
        return json_answer(200, self._document(record))

    # -- steps --------------------------------------------------------------------------------------------------------

    async def _create(self, request: web.Request, asked: Asked) -> web.Response:
        asked.identity = identity = self._desk.admit(request)
        if request.content_type not in CONTENT_TYPES:
            accept = {"Accept": "application/json"}
            raise Refused(415, "content-type", "expected Content-Type: application/json", headers=accept)
        body = await read_body(request)
        order = parse(body, self._desk.context.canonicalise, self._desk.sites)
        order = chosen(order, self._desk.context.node.varied)
        order = self._desk.allow(order, identity)
        if order.dry_run:
            return await self._surveyed(order, self._desk.charge(order, identity))
        digests = key_digests(request.headers.get("Idempotency-Key"), identity.name, body)
        first = None if digests is None else await self._keys.first(digests)
        if first is not None:
            return await self._created(first, order, {"Idempotency-Replayed": "true"})
        limits = self._desk.charge(order, identity)
        draft = Draft(
            order.kind,
            order.items,
            order.soft,
            identity.name,
            asked.client,
            asked.received_ms,
            digests,
            headers=order.headers,
        )
        begun = None if digests is None else partial(self._keys.begin, digests)
        record = await self._desk.submit(draft, begun)
        self._desk.done(record, asked)
        return await self._created(record, order, limits)

    async def _created(self, record: PurgeRecord, order: PurgeRequest, headers: dict[str, str]) -> web.Response:
        if order.wait_ms:
            await self._spread.wait(record.id, order.wait_ms / 1000)
        document = self._document(record)
        if order.refused:
            document["refused"] = [item.document() for item in order.refused]
        return json_answer(201, document, {**headers, "Location": f"{API_PREFIX}/{record.id}"})

    async def _surveyed(self, order: PurgeRequest, headers: dict[str, str]) -> web.Response:
        reached = await self._desk.survey(order)
        items = [
            {"item": item, "objects": objects, "bytes": bytes_}
            for item, (objects, bytes_) in zip(order.items, reached, strict=True)
        ]
        document: dict[str, Any] = {
            "dry_run": True,
            "type": order.kind,
            "mode": "soft" if order.soft else "hard",
            "items": items,
            "refused": [item.document() for item in order.refused],
        }
        return json_answer(200, document, headers)

    def _document(self, record: PurgeRecord) -> dict[str, Any]:
        return record.to_answer(self._spread.nodes_of(record))


def _limit(text: str | None) -> int:
    if text is None:
        return LIST_DEFAULT
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:10]) <= RECENT_PURGES_MAX):
        raise Refused(400, "bad-limit", f"limit must be a number from 1 to {RECENT_PURGES_MAX}")
    return int(text)
