"""The purge API: durable purge rules over HTTP, for one node or a fleet of them.

`purge_api.Client` and `purge_api.AsyncClient` talk to it. `purge_api.mount` puts it on a node's admin application,
`purge_api.journal` keeps the rules, `purge_api.fleet` shares them. This package imports `cache`, never `edge`.
Importing it loads nothing heavy; names are in their own modules, and the clients are loaded when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from purge_api.async_client import AsyncPurgeClient as AsyncClient
    from purge_api.client import PurgeClient as Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> object:
    if name == "Client":
        from purge_api.client import PurgeClient  # noqa: PLC0415 - loaded when it is asked for

        return PurgeClient
    if name == "AsyncClient":
        from purge_api.async_client import AsyncPurgeClient  # noqa: PLC0415 - same

        return AsyncPurgeClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
