"""Which nodes of the fleet have a purge: received, applied, and when. Pure, but for waiting.

Every node tells what it applied; each keeps what it heard of the newest purges, and which nodes are alive. Of older
purges only the nodes that are sure to have them are told: this one, and the one that it came from. A node without a
fleet knows itself alone.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from purge_api.record import PurgeRecord, utc

__all__ = ["Applied", "Spread"]

PURGES_MAX = 4_096
"""Purges of which it is remembered who has them."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What one node says of one purge."""

    node: str
    received_ms: int
    """Unix time in milliseconds at which the node had it."""
    applied_ms: int
    """Unix time in milliseconds at which it was in force there."""

    def document(self) -> dict[str, Any]:
        """The form in answers."""
        return {
            "name": self.node,
            "state": "applied",
            "received_at": utc(self.received_ms),
            "applied_at": utc(self.applied_ms),
        }


class Spread:
    """Belongs to one event loop.

    Args:
        own: The name of this node.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._heard: OrderedDict[str, dict[str, Applied]] = OrderedDict()
        self._waiting: dict[str, list[asyncio.Event]] = {}
        self.alive: Callable[[], Iterable[str]] = lambda: ()
        """The nodes that are alive, besides this one."""

    def heard(self, purge_id: str, applied: Applied) -> None:
        """A node has applied a purge."""
        self.begin(purge_id)
        self._heard[purge_id].setdefault(applied.node, applied)
        for event in self._waiting.get(purge_id, ()):
            event.set()

    def begin(self, purge_id: str) -> None:
        """Remember who has a purge, from now on."""
        self._heard.setdefault(purge_id, {})
        if len(self._heard) > PURGES_MAX:
            self._heard.popitem(last=False)

    def missing(self, purge_id: str) -> list[str]:
        """The live nodes that have not said that they applied a purge."""
        nodes = self._heard.get(purge_id, {})
        return sorted(name for name in self.alive() if name != self._own and name not in nodes)

    async def wait(self, purge_id: str, seconds: float) -> bool:
        """Whether all live nodes have applied a purge, waiting for them if need be."""
        event = asyncio.Event()
        self._waiting.setdefault(purge_id, []).append(event)
        try:
            async with asyncio.timeout(seconds):
                while self.missing(purge_id):
                    await event.wait()
                    event.clear()
        except TimeoutError:
            return False
        finally:
            self._waiting[purge_id].remove(event)
            if not self._waiting[purge_id]:
                del self._waiting[purge_id]
        return True

    def nodes_of(self, record: PurgeRecord) -> list[dict[str, Any]]:
        """What is known of a purge, this node first."""
        own = Applied(self._own, record.received_ms, record.applied_ms)
        heard = self._heard.get(record.id)
        others = sorted((heard or {}).values(), key=lambda each: each.node)
        told = [own.document(), *(each.document() for each in others if each.node != self._own)]
        known = {each["name"] for each in told}
        if record.origin in self.alive() and record.origin not in known:
            # It gave its word for it before it sent it out; when, only its own answer says.
            told.append({"name": record.origin, "state": "applied"})
        if heard is None:
            return told
        missing = (name for name in self.missing(record.id) if name != record.origin)
        return told + [{"name": name, "state": "pending"} for name in missing]
