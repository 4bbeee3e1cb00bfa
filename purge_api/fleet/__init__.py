"""Purges across a fleet of nodes: a message format, a transport under it, and the node's part in both.

`purge_api.fleet.member` is the node's part; it knows a transport by shape alone (`purge_api.fleet.transport`), of which
`purge_api.fleet.nats` is the one that is used. Names are in their own modules.
"""

from __future__ import annotations

__all__: list[str] = []
