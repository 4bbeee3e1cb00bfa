"""What the admin side of a node is given: the node, its purge ledger, tokens and where state is kept.

The life of a process is in `edge.lifecycle`, which makes one `AdminContext` and hands it to `edge.admin` and to every
extension of the entry point group `headland.admin`, as `mount(app, context)`. Extensions are called before the node
serves, so rules they load are in force for the first request. An extension that lives outside `edge` (the purge API)
imports nothing from here: the protocols below are what it may rely on, by shape.

The context belongs to the thread of the admin event loop. `node` and `ledger` may be called from any thread.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

__all__ = [
    "AdminContext",
    "DataPortPurge",
    "Fleet",
    "LedgerFace",
    "Neighbourhood",
    "NodeFace",
    "Peer",
    "PurgeHandler",
    "Receipt",
    "ReloadState",
    "Token",
]


class LedgerFace(Protocol):
    """The purge rules in memory, as every hit is checked against them."""

    def apply(self, kind: str, value: str, soft: bool, at_ms: int, epoch: int | None = None) -> int:
        """Put a rule in force before returning; the answer is its epoch (given back on replay after a restart)."""

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
    """The running node, as `_headland.Node` has it; each call may come from any thread."""

    def addresses(self) -> list[tuple[str, str]]:
        """What is listened on: pairs of kind (`http`, `https`) and `ip:port` with the real port number."""

    def metrics(self) -> bytes:
        """All counters and histograms as one JSON document."""

    def inspect(self, question_json: bytes) -> bytes:
        """The answer to a question about the disk tier, both as JSON; waits. Raises `ValueError` with one sentence."""

    def explain(self, url: str, headers: list[tuple[str, str]], method: str = ...) -> bytes:
        """What would happen to a GET of this URL now, as one JSON document."""

    def canonical_url(self, url: str) -> tuple[str, str, str]:
        """Scheme, host and target of a URL as the cache knows it. Raises `ValueError` with one sentence."""

    def varied(self, url: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The header fields that choose the variant of a GET, as the rules of its site leave them."""

    def reach(
        self, purges: list[tuple[str, str]], headers: Sequence[tuple[str, str]] | None = None
    ) -> list[tuple[int, int]]:
        """Objects and bytes that each purge (kind, value) would reach now. Raises `ValueError`."""

    def forget_rules(self, until: int) -> int:
        """Drop the purge rules up to an epoch as far as nothing older is stored; the answer is how far."""


@dataclass(frozen=True, slots=True)
class DataPortPurge:
    """A request to purge that came in on the data port, as the core hands it over."""

    method: str
    """`PURGE`, `BAN`, `PURGEKEYS`, or `PURGEALL` for the GET that means it."""
    url: str
    """Canonical, by the key rules of its site."""
    fields: tuple[tuple[str, str], ...] = field(repr=False)
    """The header fields that may matter for it."""
    client: str
    allowed: bool
    """Whether its address may purge without a token."""


class Receipt(Protocol):
    """What a purge handler answers."""

    @property
    def status(self) -> int:
        """The HTTP status; 200 only when the rules are durable and in force."""

    @property
    def body(self) -> str:
        """A document of JSON."""


PurgeHandler = Callable[[DataPortPurge], Awaitable[Receipt]]


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token of the admin address; the secret never shows in a repr."""

    name: str
    secret: str = field(repr=False)
    scopes: frozenset[str]
    sites: frozenset[str] = frozenset()
    """The names of the sites that it is bound to; all when empty."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What a node of the fleet may purge here."""

    name: str
    scopes: frozenset[str]
    sites: frozenset[str]
    """Sites by their hosts; all when empty."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Where a node is, and where its neighbours reach it."""

    place: str
    url: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """How purges are shared with other nodes."""

    servers: tuple[str, ...]
    name: str
    node: str
    user: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None = field(repr=False)
    replicas: int
    keep_s: float
    """Seconds that the servers keep a purge."""
    trust_s: float
    """Seconds without the servers after which what is stored counts as stale; 0 for never."""
    peers: tuple[Peer, ...]
    neighbourhood: Neighbourhood | None = None
    """None for a node that looks for no neighbours."""


@dataclass(slots=True)
class ReloadState:
    """How the last reading of the configuration went; written by the lifecycle, read by metrics and health."""

    success: bool = True
    success_at_s: float = 0.0
    """Unix time of the last configuration that was taken, in seconds."""
    error: str = ""
    """Why the last one was refused; empty when it was taken."""
    reloads: int = 0
    """How often a reload was asked for."""


@dataclass(slots=True)
class AdminContext:
    """Everything that the admin application and its extensions may use."""

    node: NodeFace
    ledger: LedgerFace
    node_name: str
    state_dir: Path
    """A directory of this node alone, which exists and is private to its user."""
    canonicalise: Callable[[str], tuple[str, str, str]]
    """Scheme, host and target of a URL as the cache knows it: `node.canonical_url`."""
    tokens: tuple[Token, ...] = ()
    sites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The host patterns of each site by its name."""
    fleet: Fleet | None = None
    """None for a node that shares its purges with nobody."""
    reload_state: ReloadState = field(default_factory=ReloadState)
    on_purge: list[PurgeHandler] = field(default_factory=list)
    """Handlers for purges that come in on the data port; extensions append theirs."""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    """Where metrics are registered; `/metrics` shows it."""
    checks: Callable[[], list[dict[str, Any]]] = list
    """What the active checks say of each server that is checked."""
    sources: dict[str, Callable[[], object]] = field(default_factory=dict)
    """What the dashboard shows besides the node's own numbers, by name; called on the event loop, JSON comes back."""
    on_neighbours: Callable[[tuple[str, ...]], None] = lambda _urls: None
    """Called with the URLs of the nodes of the same place, this one among them, when they have changed."""
    draining: bool = False
    """Set by the lifecycle when the node stops accepting; `/healthz` then says 503."""
