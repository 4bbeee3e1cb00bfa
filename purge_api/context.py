"""What the purge API needs of the node, by shape alone: this package imports `cache`, never `edge`.

The node hands over an object of the shape `Context` when it mounts the extensions of the group `headland.admin`. All of
it belongs to the admin event loop, except `ledger`, which may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry

__all__ = ["Canonicalise", "Context", "PurgeHandler", "Receipt", "RuleLedger", "TokenFace"]

Canonicalise = Callable[[str], tuple[str, str, str]]
"""Scheme, host and target of a URL as the cache knows it; raises `ValueError` with one sentence."""


class RuleLedger(Protocol):
    """The rules in memory, against which every hit is checked."""

    def apply(self, kind: str, value: str, soft: bool, at_ms: int, epoch: int | None = None) -> int:
        """Put one rule in force before returning; the answer is its epoch."""

    def epoch(self) -> int:
        """The newest epoch given out."""


class TokenFace(Protocol):
    """A bearer token of the configuration."""

    @property
    def name(self) -> str:
        """Who it is, in logs and records."""

    @property
    def secret(self) -> str:
        """What the client sends; never logged."""

    @property
    def scopes(self) -> frozenset[str]:
        """`purge` (every kind), `purge:<kind>`, `read`."""


class Receipt(Protocol):
    """What the data port tells a client whose `PURGE` was handled."""

    @property
    def ok(self) -> bool:
        """Whether the rule is durable and in force."""

    @property
    def text(self) -> str:
        """The id of the purge, or in one sentence why it was not taken."""


PurgeHandler = Callable[[str, str, bool, str], Awaitable[Receipt]]
"""Takes kind, value, soft and the client's address."""


class Context(Protocol):
    """The node, as far as purging needs it."""

    @property
    def node_name(self) -> str:
        """The node's name in answers."""

    @property
    def ledger(self) -> RuleLedger:
        """The rules in memory."""

    @property
    def state_dir(self) -> Path:
        """A directory of this node alone."""

    @property
    def canonicalise(self) -> Canonicalise:
        """The key rules of the node's sites."""

    @property
    def tokens(self) -> tuple[TokenFace, ...]:
        """The tokens now in force; read again for each request, because a reload may replace them."""

    @property
    def on_purge(self) -> list[PurgeHandler]:
        """Handlers for `PURGE` on the data port; mounting appends one."""

    @property
    def registry(self) -> CollectorRegistry:
        """Where metrics are registered."""

    @property
    def sources(self) -> dict[str, Callable[[], object]]:
        """What the dashboard shows besides the node's own numbers, by name; called on the event loop."""
