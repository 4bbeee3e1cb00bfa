"""What may be stored, for how long and under which key; the deciding itself is Rust (`_headland`).

Names are in their own modules, so that importing one pulls in no more than it needs:

    cache.settings   the `[cache]` table
    cache.key        the bytes and the hash of a cache key, as the core makes them
    cache.purge      purge rules as values, and the ledger that every hit is checked against
"""

from __future__ import annotations

__all__: list[str] = []
