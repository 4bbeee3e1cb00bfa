"""Putting the purge API on the admin application: the entry point of the group `headland.admin`.

Called before the node serves, so that the rules of the journal are in force for the first request; among them, where
the journal was damaged, one that purges everything stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web

from purge_api import cloudflare, fastly
from purge_api.api import PurgeApi
from purge_api.context import Context, FleetFace
from purge_api.data_port import DataPort
from purge_api.desk import PurgeDesk
from purge_api.forgetter import Forgetter
from purge_api.journal import Journal
from purge_api.metrics import PurgeMetrics
from purge_api.problem import middleware
from purge_api.rate import RateLimiter
from purge_api.spread import Spread
from purge_api.vocabulary import API_PREFIX

__all__ = ["JOURNAL_DIRECTORY", "mount"]

JOURNAL_DIRECTORY = "purges"
"""The directory of the journal under the node's state directory."""
SHOWN_PURGES = 10
"""Purges on the dashboard."""


def mount(app: web.Application, context: Context) -> None:
    """Load the journal, add the routes, and take the purges of the data port.

    Args:
        app: The admin application, not yet running; the journal closes with it.
        context: The node.

    Raises:
        JournalError: The journal cannot be opened; one sentence says why.
    """
    journal = Journal(context.state_dir / JOURNAL_DIRECTORY, context.ledger)
    metrics = PurgeMetrics(context.registry)
    metrics.damaged.set(bool(journal.damage))
    journal.on_commit = metrics.committed
    desk = PurgeDesk(context, journal, metrics, RateLimiter(time.monotonic))
    spread = Spread(context.node_name)
    api = PurgeApi(desk, spread)
    app.middlewares.append(middleware)
    app.router.add_post(API_PREFIX, api.create)
    app.router.add_get(API_PREFIX, api.listing)
    app.router.add_get(API_PREFIX + "/{id}", api.show)
    fastly.add_routes(app, desk)
    cloudflare.add_routes(app, desk)
    context.on_purge.append(DataPort(desk).handle)
    context.sources["purges"] = lambda: _shown(journal)
    app.cleanup_ctx.append(_running(Forgetter(context)))
    if context.fleet is not None:
        app.cleanup_ctx.append(_member(context.fleet, context, desk, spread))

    async def close(_app: web.Application) -> None:
        journal.close()

    app.on_cleanup.append(close)


def _running(forgetter: Forgetter) -> Callable[[web.Application], AsyncIterator[None]]:
    """The forgetter, as long as the application runs."""

    async def running(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(forgetter.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    return running


def _member(
    fleet: FleetFace, context: Context, desk: PurgeDesk, spread: Spread
) -> Callable[[web.Application], AsyncIterator[None]]:
    """The node's part in its fleet, as long as the application runs; it has caught up before the doors open."""

    async def running(_app: web.Application) -> AsyncIterator[None]:
        from purge_api.fleet.join import member_of  # noqa: PLC0415 - with it comes the client of the message servers

        member = member_of(fleet, context, desk, spread)
        desk.on_applied.append(member.applied_here)
        await member.start()
        yield
        await member.stop()

    return running


def _shown(journal: Journal) -> list[dict[str, Any]]:
    """The newest purges for the dashboard: what kind, how many, when; not whose and not which items."""
    return [
        {
            "id": record.id,
            "type": record.kind,
            "mode": record.mode,
            "count": len(record.items),
            "at_ms": record.applied_ms,
        }
        for record in journal.recent(SHOWN_PURGES)
    ]
