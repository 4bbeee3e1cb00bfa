"""One way for every purge, whatever shape it came in: who asks, may they, how much, then durable, in force, spread.

The gates, in this order, each with its own answer: foreign origin 403, token 401/403, scope 403, site 403, rate 429,
journal 503. Handlers of each shape check the body between the token and the scope, so that who is not known gets
nothing read or parsed. A refused purge is counted and audited here; nothing of it is applied.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from purge_api.audit import audit_purge, audit_refusal
from purge_api.auth import Identity, Tokens
from purge_api.browser import refuse_foreign
from purge_api.context import Context
from purge_api.errors import JournalError, Refused
from purge_api.journal import Journal
from purge_api.metrics import PurgeMetrics
from purge_api.models import PurgeRequest
from purge_api.rate import RateLimiter
from purge_api.record import Draft, PurgeRecord
from purge_api.sites import ANY_HOST, Sites

__all__ = ["Asked", "PurgeDesk", "read_body"]

BODY_BYTES_MAX = 1_048_576
"""Bytes of a request's body."""
BODY_SECONDS_MAX = 10.0
"""Seconds in which a request's body must have come in."""


@dataclass(slots=True)
class Asked:
    """A request to purge: where it came from, when, and who it is once that is known."""

    client: str
    received_ms: int
    """Unix time in milliseconds."""
    started_s: float
    """Monotonic time in seconds."""
    identity: Identity | None = None

    @classmethod
    def now(cls, client: str) -> Asked:
        """A request that has just come in."""
        return cls(client, int(time.time() * 1000), time.monotonic())

    @property
    def actor(self) -> str:
        """The name of the token, or an empty text before it is known."""
        return "" if self.identity is None else self.identity.name


class PurgeDesk:
    """What handlers of all shapes share; belongs to one event loop.

    Args:
        context: The node.
        journal: Where purges are made durable and applied.
        metrics: Where they are counted.
        limiter: What one token may do.
    """

    def __init__(self, context: Context, journal: Journal, metrics: PurgeMetrics, limiter: RateLimiter) -> None:
        self.context = context
        self.journal = journal
        self.on_applied: list[Callable[[PurgeRecord], None]] = []
        """Told of every purge of this node once it is in force."""
        self._metrics = metrics
        self._limiter = limiter
        self._token_source: object = None
        self._tokens = Tokens(())
        self._site_source: object = None
        self._sites = Sites({})
        self._surveying = asyncio.Lock()

    @property
    def sites(self) -> Sites:
        """The sites now in force."""
        if self._site_source is not self.context.sites:  # a reload replaces the mapping
            self._site_source = self.context.sites
            self._sites = Sites(self.context.sites)
        return self._sites

    @property
    def tokens(self) -> Tokens:
        """The tokens now in force."""
        if self._token_source is not self.context.tokens:  # a reload replaces the tuple
            self._token_source = self.context.tokens
            self._tokens = Tokens(self.context.tokens)
        return self._tokens

    def admit(self, request: web.Request) -> Identity:
        """Who asks. Raises `Refused` with 401 or 403."""
        refuse_foreign(request.headers, request.scheme, _local_address(request))
        return self.tokens.authenticate(request.headers)

    def allow(self, order: PurgeRequest, identity: Identity) -> PurgeRequest:
        """The order as this caller may give it: all of a caller that is bound to sites are those sites.

        Raises:
            Refused: 403.
        """
        identity.require_purge(order.kind)
        if order.kind == "all" and identity.sites:
            hosts = [host for site in sorted(identity.sites) for host in self.sites.hosts(site)]
            if ANY_HOST in hosts:
                raise Refused(403, "site", "a site that takes every other host is purged by host, path or tag")
            return replace(order, kind="site", items=tuple(hosts))
        identity.require_sites(order.kind, order.items, self.sites)
        return order

    def charge(self, order: PurgeRequest, identity: Identity) -> dict[str, str]:
        """Take an order from the caller's rate; header fields that tell how it stands. Raises `Refused` with 429."""
        return self._limiter.charge(identity.name, len(order.items))

    async def apply(self, order: PurgeRequest, asked: Asked, actor: str) -> PurgeRecord:
        """Make an order durable and put it in force.

        Args:
            order: What to purge, allowed and charged.
            asked: The request.
            actor: Who asked.

        Raises:
            JournalError: It was not taken.
        """
        draft = Draft(
            order.kind, order.items, order.soft, actor, asked.client, asked.received_ms, headers=order.headers
        )
        record = await self.submit(draft)
        self.done(record, asked)
        return record

    async def submit(
        self, draft: Draft, begun: Callable[[asyncio.Future[PurgeRecord]], None] | None = None
    ) -> PurgeRecord:
        """Write and apply; a caller that goes away does not take its purge back.

        Args:
            draft: What to purge.
            begun: Given the future of the record, where others may wait for it, too.
        """
        future = self.journal.submit_on_loop(draft)
        if begun is None:
            return await future
        begun(future)
        return await asyncio.shield(future)

    def done(self, record: PurgeRecord, asked: Asked) -> None:
        """Spread a purge that is in force; count and log it as soon as the event loop is free, behind its answer."""
        for listener in self.on_applied:
            listener(record)
        asyncio.get_running_loop().call_soon(self._account, record, time.monotonic() - asked.started_s)

    def _account(self, record: PurgeRecord, seconds: float) -> None:
        self._metrics.applied(record, seconds)
        audit_purge(record)

    async def survey(self, order: PurgeRequest) -> list[tuple[int, int]]:
        """Objects and bytes that each item would reach; one survey at a time, because each looks at everything."""
        purges = [(order.kind, item) for item in order.items]
        async with self._surveying:
            return await asyncio.to_thread(self.context.node.reach, purges, order.headers)

    def refuse(self, error: Refused | JournalError, asked: Asked) -> None:
        """Count and log a purge that was refused."""
        word, status = (error.word, error.status) if isinstance(error, Refused) else ("journal", 503)
        self._metrics.refused.labels(word).inc()
        audit_refusal(actor=asked.actor, client=asked.client, status=status, reason=str(error))


async def read_body(request: web.Request) -> bytes:
    """The body, within its bounds of bytes and time. Raises `Refused` with 408, 413 or 415."""
    if "Content-Encoding" in request.headers:
        raise Refused(415, "content-encoding", "a compressed body is not read", headers={"Accept-Encoding": "identity"})
    too_large = Refused(413, "body", f"the body is longer than {BODY_BYTES_MAX} bytes")
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise too_large
    body = bytearray()
    if request.content.is_eof():  # all of it came with the head, as that of most purges: no clock is needed
        body += request.content.read_nowait()
        if len(body) > BODY_BYTES_MAX:
            raise too_large
        return bytes(body)
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise too_large
    except TimeoutError:
        raise Refused(408, "body-timeout", f"the body did not come in within {BODY_SECONDS_MAX:g} s") from None
    return bytes(body)


def _local_address(request: web.Request) -> str | None:
    transport = request.transport
    name: Any = None if transport is None else transport.get_extra_info("sockname")
    return name[0] if isinstance(name, tuple) else None
