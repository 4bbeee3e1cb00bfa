"""The purge API: durable purge rules over HTTP, for one node.

`purge_api.mount` puts it on a node's admin application, `purge_api.client` talks to it, `purge_api.journal` keeps the
rules. This package imports `cache`, never `edge`. Importing it loads nothing heavy; names are in their own modules.
"""

from __future__ import annotations

__all__: list[str] = []
