"""What the purge API needs of the node, by shape alone: this package imports `cache`, never `edge`.

The node hands over an object of the shape `Context` when it mounts the extensions of the group `headland.admin`. All of
it belongs to the admin event loop, except `ledger`, which may be called from any thread.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry

__all__ = [
    "Canonicalise",
    "Context",
    "DataPortPurge",
    "FleetFace",
    "NeighbourhoodFace",
    "NodeFace",
    "PeerFace",
    "PurgeHandler",
    "Receipt",
    "RuleLedger",
    "TokenFace",
]

Canonicalise = Callable[[str], tuple[str, str, str]]
"""Scheme, host and target of a URL as the cache knows it; raises `ValueError` with one sentence."""


class RuleLedger(Protocol):
    """The rules in memory, against which every hit is checked."""

    def apply(self, kind: str, value: str, soft: bool, at_ms: int, epoch: int | None = None) -> int:
        """Put one rule in force before returning; the answer is its epoch."""

    def apply_all(
        self,
        kind: str,
        values: list[str],
        soft: bool,
        at_ms: int,
        first_epoch: int,
        *,
        headers: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        """Put the rules of one purge in force; epochs count up from the first. Header fields select one variant."""

    def reserve(self, count: int = 1) -> int:
        """Take the next epochs, for rules that are yet to be made durable; the answer is the first."""

    def epoch(self) -> int:
        """The newest epoch given out."""

    def held(self, first: int, last: int) -> tuple[list[int], int]:
        """The epochs of a range whose rules are kept, and up to which epoch rules were folded into broader ones."""

    def __len__(self) -> int:
        """How many rules are kept."""


class NodeFace(Protocol):
    """The core, for what looks at everything that is stored; each call takes long and may come from any thread."""

    def varied(self, url: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The header fields that choose the variant of a GET, as the rules of its site leave them."""

    def reach(
        self, purges: list[tuple[str, str]], headers: Sequence[tuple[str, str]] | None = None
    ) -> list[tuple[int, int]]:
        """Objects and bytes that each purge (kind, canonical value) would reach now."""

    def forget_rules(self, until: int) -> int:
        """Drop the rules up to an epoch as far as nothing older is stored or being fetched; the answer is how far."""


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
        """`purge` (every kind), `purge:<scope>`, `read`."""

    @property
    def sites(self) -> frozenset[str]:
        """The names of the sites that it is bound to; all when empty."""


class PeerFace(Protocol):
    """What a node of the fleet may purge here."""

    @property
    def name(self) -> str:
        """The node."""

    @property
    def scopes(self) -> frozenset[str]:
        """`purge` (every kind), `purge:<scope>`."""

    @property
    def sites(self) -> frozenset[str]:
        """Sites by one of their hosts; all when empty."""


class NeighbourhoodFace(Protocol):
    """Where a node is, and where its neighbours reach it."""

    @property
    def place(self) -> str:
        """What neighbours have in common."""

    @property
    def url(self) -> str:
        """Where this node is reached."""


class FleetFace(Protocol):
    """How purges are shared with other nodes."""

    @property
    def servers(self) -> tuple[str, ...]:
        """URLs of the message servers."""

    @property
    def name(self) -> str:
        """The fleet."""

    @property
    def neighbourhood(self) -> NeighbourhoodFace | None:
        """None for a node that looks for no neighbours."""

    @property
    def node(self) -> str:
        """This node."""

    @property
    def user(self) -> str | None:
        """At the servers."""

    @property
    def password(self) -> str | None:
        """At the servers; never logged."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """None for clear text."""

    @property
    def replicas(self) -> int:
        """Servers that keep each purge."""

    @property
    def keep_s(self) -> float:
        """Seconds that the servers keep a purge."""

    @property
    def trust_s(self) -> float:
        """Seconds without the servers after which what is stored counts as stale; 0 for never."""

    @property
    def peers(self) -> Sequence[PeerFace]:
        """What nodes may purge here; everything when empty."""


class DataPortPurge(Protocol):
    """A request to purge that came in on the data port."""

    @property
    def method(self) -> str:
        """`PURGE`, `BAN`, `PURGEKEYS`, or `PURGEALL`."""

    @property
    def url(self) -> str:
        """Its URL, canonical by the key rules of the site."""

    @property
    def fields(self) -> Sequence[tuple[str, str]]:
        """The header fields that may matter: names in lower case, in the order of a fixed list."""

    @property
    def client(self) -> str:
        """Where it came from."""

    @property
    def allowed(self) -> bool:
        """Whether its address may purge without a token."""


class Receipt(Protocol):
    """What the data port answers."""

    @property
    def status(self) -> int:
        """The HTTP status; 200 only when the rules are durable and in force."""

    @property
    def body(self) -> str:
        """A document of JSON."""


PurgeHandler = Callable[[DataPortPurge], Awaitable[Receipt]]


class Context(Protocol):
    """The node, as far as purging needs it."""

    @property
    def node_name(self) -> str:
        """The node's name in answers."""

    @property
    def node(self) -> NodeFace:
        """The core."""

    @property
    def ledger(self) -> RuleLedger:
        """The rules in memory."""

    @property
    def sites(self) -> Mapping[str, tuple[str, ...]]:
        """The host patterns of each site by its name; read again for each request, as a reload may replace them."""

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
    def fleet(self) -> FleetFace | None:
        """None for a node that shares its purges with nobody."""

    @property
    def on_neighbours(self) -> Callable[[tuple[str, ...]], None]:
        """Is told of the nodes at the same place, by their URLs, this one among them, when they have changed."""

    @property
    def on_purge(self) -> list[PurgeHandler]:
        """Handlers for `PURGE` on the data port; mounting appends one."""

    @property
    def registry(self) -> CollectorRegistry:
        """Where metrics are registered."""

    @property
    def sources(self) -> dict[str, Callable[[], object]]:
        """What the dashboard shows besides the node's own numbers, by name; called on the event loop."""
