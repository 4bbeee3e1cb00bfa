"""The handlers of the purge API.

    POST /v1/purges        apply a purge: 201, Location, the purge with its state
    GET  /v1/purges        the newest purges (scope read), ?limit=
    GET  /v1/purges/{id}   one purge: the caller's own, or any with scope read

A POST passes these gates in this order, each with its own answer: foreign origin 403, token 401/403, content type 415,
size 413, JSON and items 400, scope 403, idempotency key 400/422, rate 429, journal 503. Who is not known gets nothing
read or parsed. The answer is sent when the rules are durable and in force, never before.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web

from purge_api.audit import audit_purge, audit_refusal
from purge_api.auth import Identity, Tokens
from purge_api.browser import refuse_foreign
from purge_api.context import Context
from purge_api.errors import JournalError, Refused
from purge_api.idempotency import IdempotencyKeys, key_digests
from purge_api.journal import RECENT_PURGES_MAX, Journal
from purge_api.metrics import PurgeMetrics
from purge_api.models import API_PREFIX, PurgeRequest, parse
from purge_api.problem import json_answer
from purge_api.rate import RateLimiter
from purge_api.record import Draft, PurgeRecord

__all__ = ["BODY_BYTES_MAX", "DataPortReceipt", "PurgeApi"]

BODY_BYTES_MAX = 1_048_576
"""Bytes of a request's body."""
BODY_SECONDS_MAX = 10.0
"""Seconds in which a request's body must have come in."""
LIST_DEFAULT = 50
"""Purges in a list when the client names no limit."""
DATA_PORT_ACTOR = "PURGE"
"""Who asked for a purge that came in on the data port."""


class PurgeApi:
    """The API over one journal; belongs to one event loop.

    Args:
        context: The node.
        journal: Where purges are made durable and applied.
        metrics: Where they are counted.
        limiter: What one token may do.
    """

    def __init__(self, context: Context, journal: Journal, metrics: PurgeMetrics, limiter: RateLimiter) -> None:
        self._context = context
        self._journal = journal
        self._metrics = metrics
        self._limiter = limiter
        self._keys = IdempotencyKeys(reversed(journal.recent(RECENT_PURGES_MAX)))
        self._token_source: object = None
        self._tokens = Tokens(())

    # -- handlers -----------------------------------------------------------------------------------------------------

    async def create(self, request: web.Request) -> web.Response:
        """`POST /v1/purges`."""
        started_s = time.monotonic()
        received_ms = int(time.time() * 1000)
        actor = ""
        try:
            identity = self._admit(request)
            actor = identity.name
            body = await _body(request)
            order = parse(body, self._context.canonicalise)
            identity.require_purge(order.kind)
            digests = key_digests(request.headers.get("Idempotency-Key"), actor, body)
            first = None if digests is None else await self._keys.first(digests)
            if first is not None:
                return self._created(first, {"Idempotency-Replayed": "true"})
            limits = self._limiter.charge(actor, len(order.items))
            record = await self._purge(order, actor, request.remote or "", received_ms, digests)
        except (Refused, JournalError) as error:
            self._count_refusal(error, actor, request.remote or "")
            raise
        self._metrics.applied(record, time.monotonic() - started_s)
        audit_purge(record)
        return self._created(record, limits)

    async def listing(self, request: web.Request) -> web.Response:
        """`GET /v1/purges`."""
        self._admit(request).require_read()
        limit = _limit(request.query.get("limit"))
        purges = [record.to_answer(self._context.node_name) for record in self._journal.recent(limit)]
        return json_answer(200, {"purges": purges, "epoch": self._context.ledger.epoch()})

    async def show(self, request: web.Request) -> web.Response:
        """`GET /v1/purges/{id}`."""
        identity = self._admit(request)
        purge_id = request.match_info["id"]
        record = await asyncio.wrap_future(self._journal.find(purge_id))
        if record is None or not (identity.may_read() or record.actor == identity.name):
            # The same answer for both: whether a purge of somebody else exists is not told.
            raise Refused(404, "unknown-purge", "no such purge is known to this token; old ones are forgotten")
        return json_answer(200, record.to_answer(self._context.node_name))

    async def from_data_port(self, kind: str, value: str, soft: bool, client: str) -> DataPortReceipt:
        """A `PURGE` that the node accepted on its data port; its value is canonical."""
        started_s = time.monotonic()
        order = PurgeRequest(kind, (value,), soft=soft)
        try:
            record = await self._purge(order, DATA_PORT_ACTOR, client, int(time.time() * 1000), None)
        except JournalError as error:
            self._count_refusal(error, DATA_PORT_ACTOR, client)
            return DataPortReceipt.failed(error)
        self._metrics.applied(record, time.monotonic() - started_s)
        audit_purge(record)
        return DataPortReceipt.applied(record)

    # -- steps --------------------------------------------------------------------------------------------------------

    def _admit(self, request: web.Request) -> Identity:
        refuse_foreign(request.headers, request.scheme, _local_address(request))
        if self._token_source is not self._context.tokens:  # a reload replaces the tuple
            self._token_source = self._context.tokens
            self._tokens = Tokens(self._context.tokens)
        return self._tokens.authenticate(request.headers)

    async def _purge(
        self, order: PurgeRequest, actor: str, client: str, received_ms: int, digests: tuple[str, str] | None
    ) -> PurgeRecord:
        draft = Draft(order.kind, order.items, order.soft, actor, client, received_ms, digests)
        future = asyncio.wrap_future(self._journal.submit(draft))
        if digests is not None:
            self._keys.begin(digests, future)
        # A caller that goes away does not take its purge back: others may wait for the same key.
        return await asyncio.shield(future)

    def _created(self, record: PurgeRecord, headers: dict[str, str]) -> web.Response:
        fields = {**headers, "Location": f"{API_PREFIX}/{record.id}"}
        return json_answer(201, record.to_answer(self._context.node_name), fields)

    def _count_refusal(self, error: Refused | JournalError, actor: str, client: str) -> None:
        word, status = (error.word, error.status) if isinstance(error, Refused) else ("journal", 503)
        self._metrics.refused.labels(word).inc()
        audit_refusal(actor=actor, client=client, status=status, reason=str(error))


class DataPortReceipt:
    """What the data port answers; `ok` decides between 200 and 503 there."""

    __slots__ = ("ok", "text")

    def __init__(self, *, ok: bool, text: str) -> None:
        self.ok = ok
        self.text = text

    @classmethod
    def applied(cls, record: PurgeRecord) -> DataPortReceipt:
        """The answer for a purge that is in force."""
        return cls(ok=True, text=record.id)

    @classmethod
    def failed(cls, error: JournalError) -> DataPortReceipt:
        """The answer for one that was not taken."""
        return cls(ok=False, text=str(error))


async def _body(request: web.Request) -> bytes:
    if request.content_type != "application/json":
        raise Refused(
            415, "content-type", "expected Content-Type: application/json", headers={"Accept": "application/json"}
        )
    if "Content-Encoding" in request.headers:
        raise Refused(415, "content-encoding", "a compressed body is not read", headers={"Accept-Encoding": "identity"})
    too_large = Refused(413, "body", f"the body is longer than {BODY_BYTES_MAX} bytes")
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise too_large
    except TimeoutError:
        raise Refused(408, "body-timeout", f"the body did not come in within {BODY_SECONDS_MAX:g} s") from None
    return bytes(body)


def _limit(text: str | None) -> int:
    if text is None:
        return LIST_DEFAULT
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:10]) <= RECENT_PURGES_MAX):
        raise Refused(400, "bad-limit", f"limit must be a number from 1 to {RECENT_PURGES_MAX}")
    return int(text)


def _local_address(request: web.Request) -> str | None:
    transport = request.transport
    name: Any = None if transport is None else transport.get_extra_info("sockname")
    return name[0] if isinstance(name, tuple) else None
