"""Putting the purge API on the admin application: the entry point of the group `headland.admin`.

Called before the node serves, so that the rules of the journal are in force for the first request. A journal that
cannot be trusted raises, and the node does not start.
"""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from purge_api.api import PurgeApi
from purge_api.context import Context
from purge_api.journal import Journal
from purge_api.metrics import PurgeMetrics
from purge_api.models import API_PREFIX
from purge_api.problem import middleware
from purge_api.rate import RateLimiter

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
    api = PurgeApi(context, journal, PurgeMetrics(context.registry), RateLimiter(time.monotonic))
    app.middlewares.append(middleware)
    app.router.add_post(API_PREFIX, api.create)
    app.router.add_get(API_PREFIX, api.listing)
    app.router.add_get(API_PREFIX + "/{id}", api.show)
    context.on_purge.append(api.from_data_port)
    context.sources["purges"] = lambda: _shown(journal)

    async def close(_app: web.Application) -> None:
        journal.close()

    app.on_cleanup.append(close)


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
