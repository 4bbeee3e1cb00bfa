"""The `[peers]` table: nodes of one place that own keys together, so that each response is stored once among them.

Which node owns what is decided in the core (`edge/src/peers.rs`); here is who they are. They are listed in `nodes`, or
found: nodes of one fleet that name the same `place` announce where they are reached, and each hears of the others
through the purge API (`edge.context.Fleet`). A node that stops answering is found out by requests and by checks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from origin.health import Target, Trust
from origin.settings import (
    Deadlines,
    EjectionSettings,
    HealthSettings,
    OriginSettings,
    RetrySettings,
    Server,
    server_url,
)

__all__ = ["GROUP", "PeersSettings", "check_of", "origin_of", "others", "snapshot_of"]

GROUP: Final = "peers"
"""What they are called among origins: in the metrics and in `GET /v1/origins`."""
NOBODY: Final = "http://peers.invalid"
"""Stands where settings need a server and none is known yet."""

_TABLE = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)
_MIB: Final = 1024 * 1024
_CHECK: Final = HealthSettings(path="/", status=(204,), interval_ms=1_000, timeout_ms=1_000, fall=2, rise=2)
# A peer may wait for an origin longer than anybody waits for a peer that hangs: that is what the checks are for.
_DEADLINES: Final = Deadlines(connect_ms=1_000, first_byte_ms=60_000, between_bytes_ms=30_000)
# Each failure is made good by another peer or the origin at once, so that two are enough to look away.
_EJECTION: Final = EjectionSettings(failures=2, base_ms=2_000, max_percent=100, error_percent=0)


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


class PeersSettings(BaseModel):
    """Nodes of one place that own keys together; each response is stored by one of them."""

    model_config = _TABLE

    url: Annotated[str, AfterValidator(server_url)] = Field(
        description="Where the others reach this node: scheme, host and port of one of its addresses for clients."
    )
    nodes: Annotated[
        list[Annotated[str, AfterValidator(server_url)]], Field(max_length=256), BeforeValidator(_listed)
    ] = Field(default_factory=list, description="All of them, by their url; this one may be among them.")
    place: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Where it is: nodes of the fleet that say the same find each other, instead of nodes.",
    )
    secret_env: str = Field(
        min_length=1, description="The environment variable with the secret by which they know each other."
    )
    hot: int = Field(
        8, ge=0, le=10_000, description="Requests here in half a minute to a minute that make a copy worth keeping."
    )
    copies_bytes_max: int = Field(
        64 * _MIB, alias="copies", ge=0, le=1024**4, description="What copies of others' responses may take of memory."
    )
    load_percent: int = Field(
        200,
        ge=100,
        le=10_000,
        description="The most that one node may have of its fair share of the requests that are passed on at a time;"
        " what is more goes to the next node of its key.",
    )
    slow_start_ms: int = Field(
        30_000,
        alias="slow_start",
        ge=0,
        le=3_600_000,
        description="How long a node that comes back takes to get all its keys.",
    )
    ca: str | None = Field(None, description="A PEM file with the authorities that their certificates are from.")
    server_name: str | None = Field(
        None, max_length=253, description="The name in their certificates; otherwise that of each url."
    )


def others(settings: PeersSettings, nodes: Iterable[str] | None = None) -> list[Server]:
    """The servers of the other nodes, in the same order on all."""
    known = settings.nodes if nodes is None else nodes
    return [Server(url=url) for url in sorted(set(known) - {settings.url})]


def origin_of(settings: PeersSettings) -> OriginSettings:
    """How they are spoken to."""
    return OriginSettings(
        servers=others(settings) or [Server(url=NOBODY)],
        balance="hash",
        hash_load_percent=settings.load_percent,
        slow_start_ms=settings.slow_start_ms,
        ca=settings.ca,
        server_name=settings.server_name,
        deadlines=_DEADLINES,
        ejection=_EJECTION,
        retries=RetrySettings(attempts=1, statuses=()),
    )


def check_of(settings: PeersSettings, secret: str, ca_pem: str | None, server: str = NOBODY) -> Target:
    """How one of them is checked: by what a node answers itself, whatever its sites (RFC 9110 section 7.6.2).

    It goes with the secret, so that a node that does not know it is down before a request is passed on to it.
    """
    trust = Trust(ca_pem=ca_pem, server_name=settings.server_name)
    fields = (("Max-Forwards", "0"), ("Headland-Peer", f"http 127.0.0.1 {secret}"))
    return Target(GROUP, server, _CHECK, trust, method="OPTIONS", fields=fields)


def snapshot_of(settings: PeersSettings, secret: str, group: dict[str, Any]) -> dict[str, Any]:
    """What the core is told; `group` is `origin_of` as the core takes it."""
    servers = [server.model_dump() for server in others(settings)]
    return {
        "url": settings.url,
        "secret": secret,
        "hot": settings.hot,
        "copies_bytes_max": settings.copies_bytes_max,
        "group": group | {"servers": servers},
    }
