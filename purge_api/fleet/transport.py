"""What a fleet needs of the system that carries its messages, by shape alone.

One stream, kept for a while, numbered from 1 without gaps, in the same order for all; beside it, words that nobody
keeps and the presence of each node, which ends by itself when the node does. The name of a message's sender is the
transport's word (its credentials), not the message's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Delivered", "StreamState", "Transport", "TransportError"]


class TransportError(Exception):
    """The transport cannot do what was asked now; trying again later makes sense."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """What the stream holds."""

    identity: str
    """Differs when the stream was made anew, so that numbers of the old one mean nothing."""
    first: int
    last: int
    """Number of the newest message; `first - 1` when there is none."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message of the stream."""

    sequence: int
    node: str
    """Who sent it, by the word of the transport."""
    data: bytes


class Transport(Protocol):
    """Each call may raise `TransportError`. Belongs to one event loop."""

    on_told: Callable[[str, bytes], None]
    """Called with sender and words of every `tell` of another node."""

    async def open(self) -> None:
        """Connect, and make the stream if there is none; once open, it connects again by itself."""

    async def close(self) -> None:
        """Leave; further calls raise."""

    async def state(self) -> StreamState:
        """What the stream holds now."""

    async def publish(self, data: bytes, message_id: str) -> int:
        """Put a message into the stream, once per id; the answer, its number, comes when it is safe there."""

    def read(self, after: int, identity: str) -> AsyncIterator[list[Delivered]]:
        """Messages behind a number of the stream of this identity, as they come, in batches.

        Ends when the stream may not be the one it was, as after every reconnection: its state is to be asked again.
        """

    async def tell(self, data: bytes) -> None:
        """Say something to whoever listens."""

    async def announce(self, data: bytes) -> None:
        """Say that this node is alive; holds for a while."""

    async def announced(self) -> dict[str, bytes]:
        """What live nodes last announced, by name."""
