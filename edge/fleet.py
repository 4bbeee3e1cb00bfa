"""The `[fleet]` table: the message servers over which nodes share purges, and what each node may purge here.

The table is read here; what it means is the business of the purge API, which gets it by shape (`edge.context.Fleet`).
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from edge.context import Fleet, Neighbourhood, Peer
from edge.scopes import PurgeScope

__all__ = ["FleetSettings", "PeerSettings", "fleet_of"]

_TABLE = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)
_SECOND_MS: Final = 1000
_DAY_MS: Final = 86_400 * _SECOND_MS
_SERVER: Final = re.compile(r"(?:nats|tls)://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def _server(text: str) -> str:
    if not _SERVER.fullmatch(text):
        raise ValueError(f'expected a server such as "nats://10.0.0.1:4222" or "tls://bus.example.com", got "{text}"')
    return text


def _fleet_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f'expected a letter, then letters, digits, "_" and "-", got "{text}"')
    return text


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


class PeerSettings(BaseModel):
    """What one node of the fleet may purge here; once there is one such table, nodes without one may nothing."""

    model_config = _TABLE

    name: str = Field(min_length=1, max_length=64, description="The node's name.")
    scope: Annotated[list[PurgeScope], Field(min_length=1), BeforeValidator(_listed)] = Field(
        description="What it may: purge (all kinds) or purge:KIND."
    )
    sites: Annotated[list[str], Field(max_length=1000), BeforeValidator(_listed)] = Field(
        default_factory=list, description="Sites, each by one of its hosts, to which its purges are bound."
    )


class FleetSettings(BaseModel):
    """Sharing purges with other nodes over NATS JetStream."""

    model_config = _TABLE

    servers: Annotated[
        list[Annotated[str, AfterValidator(_server)]], Field(max_length=64), BeforeValidator(_listed)
    ] = Field(default_factory=list, description="NATS servers; no fleet when empty.")
    name: Annotated[str, Field(max_length=32), AfterValidator(_fleet_name)] = Field(
        "headland", description="Names the stream and the subjects; fleets that share servers need different ones."
    )
    user: str | None = Field(None, min_length=1, description="The user at the servers.")
    password_env: str | None = Field(None, min_length=1, description="The environment variable with the password.")
    ca: str | None = Field(None, min_length=1, description="A PEM file to trust; the system's trust otherwise.")
    cert: str | None = Field(None, min_length=1, description="A PEM file with the node's own certificate.")
    key: str | None = Field(None, min_length=1, description="The PEM file with its key; otherwise it is in cert.")
    replicas: int = Field(1, ge=1, le=5, description="Servers that keep each purge; counts when the stream is made.")
    keep_ms: int = Field(
        7 * _DAY_MS,
        alias="keep",
        ge=60 * _SECOND_MS,
        le=365 * _DAY_MS,
        description="How long purges are kept for nodes that are away; counts when the stream is made.",
    )
    trust_ms: int = Field(
        60 * _SECOND_MS,
        alias="trust",
        ge=0,
        le=_DAY_MS,
        description="Without the servers for so long, what is stored counts as stale until it was confirmed; 0 never.",
    )
    peer: list[PeerSettings] = Field(default_factory=list, max_length=1000, description="What nodes may purge here.")


def fleet_of(
    settings: FleetSettings, node: str, base: Path, password: str | None, neighbourhood: Neighbourhood | None = None
) -> Fleet | None:
    """What the purge API is given; None without servers.

    Raises:
        OSError: A file cannot be read, or is no certificate or key.
    """
    if not settings.servers:
        return None
    return Fleet(
        servers=tuple(settings.servers),
        name=settings.name,
        node=node,
        user=settings.user,
        password=password,
        tls=_tls(settings, base),
        replicas=settings.replicas,
        keep_s=settings.keep_ms / 1000,
        trust_s=settings.trust_ms / 1000,
        peers=tuple(Peer(peer.name, frozenset(peer.scope), frozenset(peer.sites)) for peer in settings.peer),
        neighbourhood=neighbourhood,
    )


def _tls(settings: FleetSettings, base: Path) -> ssl.SSLContext | None:
    wanted = settings.ca or settings.cert or any(server.startswith("tls://") for server in settings.servers)
    if not wanted:
        return None
    context = ssl.create_default_context(cafile=str(base / settings.ca) if settings.ca else None)
    if settings.cert:
        context.load_cert_chain(base / settings.cert, base / settings.key if settings.key else None)
    return context
