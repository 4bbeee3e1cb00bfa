"""The whole configuration as typed, frozen models: what a TOML file says, validated.

    node listen tls admin cache pool limits log purge fleet site origin

Fields carry their unit in their name (`drain_ms`); in TOML the key is the alias (`drain`) and its value a text with a
unit ("30s"), which `edge.document` turns into the number that stands here. Defaults, bounds and meanings are written in
these models only: docs/settings.md comes from them, and Rust has none. What one key alone cannot tell (an origin that
does not exist, a file that cannot be read) is checked in `edge.checks` and `edge.materials`.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from cache.settings import CacheSettings
from edge import rule_table
from edge.compression import CompressionSettings
from edge.fleet import FleetSettings
from edge.peers import PeersSettings
from edge.rules import RuleSettings
from edge.scopes import Scope
from origin.settings import OriginSettings, PoolSettings

__all__ = [
    "AdminSettings",
    "LimitSettings",
    "ListenSettings",
    "LogSettings",
    "NodeSettings",
    "PurgeSettings",
    "Settings",
    "SiteSettings",
    "TlsSettings",
    "TokenSettings",
]

_TABLE = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_SECOND_MS: Final = 1000
_MINUTE_MS: Final = 60 * _SECOND_MS
_HOUR_MS: Final = 60 * _MINUTE_MS

_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[0-9.]+|localhost):([0-9]{1,5})")
_HOST: Final = re.compile(
    r"\*|(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_IPV6: Final = re.compile(r"\[[0-9a-f:.]+\]")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")


def _address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[1]) > 65_535:
        raise ValueError(f'expected an address such as "127.0.0.1:8080" or "[::]:8080", got "{text}"')
    return text


def _admin_address(text: str) -> str:
    return text if text == "off" else _address(text)


def _host(text: str) -> str:
    host = text.lower().removesuffix(".")
    if len(host) > 253 or not (_HOST.fullmatch(host) or _IPV6.fullmatch(host)):
        raise ValueError(f'expected a host such as "www.example.com", "*.example.com" or "*", got "{text}"')
    return host


def _node_name(text: str) -> str:
    # It is a pseudonym in Via (RFC 9110 7.6.3) and a token in Cache-Status and CDN-Loop.
    if not _NAME.fullmatch(text):
        raise ValueError(f'expected a letter, then letters, digits, ".", "_" and "-", got "{text}"')
    return text


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[list[Address], Field(max_length=64), BeforeValidator(_listed)]
Networks = Annotated[list[Annotated[str, AfterValidator(rule_table.network)]], Field(max_length=1000)]


class NodeSettings(BaseModel):
    """The node itself."""

    model_config = _TABLE

    name: Annotated[str, Field(max_length=64), AfterValidator(_node_name)] = Field(
        "headland",
        description="Its name in Via, Cache-Status, Proxy-Status and CDN-Loop; each layer of caches needs its own.",
    )
    workers: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        ge=1,
        le=256,
        description="Worker threads that serve requests; one per core that the process may use, unless it is given.",
    )
    drain_ms: int = Field(
        30 * _SECOND_MS,
        alias="drain",
        ge=0,
        le=_HOUR_MS,
        description="How long running requests may take to end after SIGTERM.",
    )
    zone: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Where it is; origin servers of the same zone are asked first.",
    )
    server_timing: bool = Field(
        default=False, description="Whether answers carry Server-Timing; it tells timings to all."
    )
    x_cache: bool = Field(default=True, description="Whether answers carry X-Cache.")
    trusted_proxies: Networks = Field(
        default_factory=list,
        description="Networks whose X-Forwarded-* and Forwarded fields are believed.",
    )


class ListenSettings(BaseModel):
    """Where clients are served."""

    model_config = _TABLE

    http: Addresses = Field(default_factory=list, description="Addresses for clear text, HTTP/1.1 and HTTP/2.")
    https: Addresses = Field(default_factory=list, description="Addresses for TLS, HTTP/1.1 and HTTP/2 by ALPN.")
    http3: bool = Field(
        default=False,
        description="Whether the https addresses also serve HTTP/3, on UDP; answers there say so by Alt-Svc.",
    )
    early_data: bool = Field(
        default=False,
        description="Whether HTTP/3 takes TLS early data: GET and HEAD of what is fresh in the cache are answered"
        " before the handshake ends, all others after it. Sessions are then kept in memory, each for one use.",
    )
    alt_svc_ms: int = Field(
        86_400 * _SECOND_MS,
        alias="alt_svc_time",
        ge=0,
        le=365 * 24 * _HOUR_MS,
        description='How long clients may remember that HTTP/3 is served; "0s" does not tell them.',
    )
    congestion: Literal["bbr", "cubic"] = Field(
        "bbr",
        description="What tells QUIC to send less: growing delay, or every lost packet.",
    )


class TlsSettings(BaseModel):
    """One certificate; the names it is used for are in it."""

    model_config = _TABLE

    cert: str = Field(min_length=1, description="A PEM file with the certificate and its chain; beside this file.")
    key: str | None = Field(None, min_length=1, description="The PEM file with its key; otherwise it is in cert.")


class TokenSettings(BaseModel):
    """One bearer token of the admin address."""

    model_config = _TABLE

    name: str = Field(min_length=1, max_length=64, description="Who uses it; written to logs in place of the secret.")
    env: str | None = Field(None, min_length=1, description="The environment variable with the secret.")
    file: str | None = Field(
        None, min_length=1, description="The file with the secret, instead of env; beside this file."
    )
    scope: Annotated[
        list[Scope],
        Field(min_length=1),
        BeforeValidator(_listed),
    ] = Field(
        description="What it may: purge (all kinds) or purge:KIND, and read (metrics, explain, what was purged).",
    )
    sites: Annotated[list[Annotated[str, AfterValidator(_host)]], Field(max_length=1000), BeforeValidator(_listed)] = (
        Field(
            default_factory=list,
            description="Sites, each by one of its hosts, to which its purges are bound; all when empty.",
        )
    )


class AdminSettings(BaseModel):
    """The admin address: purge API, metrics, health, explain."""

    model_config = _TABLE

    listen: Annotated[str, AfterValidator(_admin_address)] = Field(
        "127.0.0.1:9090", description='Where it listens; "off" starts none.'
    )
    tokens: list[TokenSettings] = Field(default_factory=list, max_length=1000, description="Who may use it.")
    state_dir: str | None = Field(
        None,
        min_length=1,
        description="Where purges are kept over a restart; otherwise headland/NAME in the user's state directory.",
    )


class LimitSettings(BaseModel):
    """What one client may cost."""

    model_config = _TABLE

    request_line_bytes: int = Field(
        16 * _KIB, alias="request_line", ge=256, le=1 * _MIB, description="A request line, and so its URL."
    )
    header_bytes: int = Field(
        64 * _KIB, alias="header_size", ge=1 * _KIB, le=1 * _MIB, description="A whole request head."
    )
    header_count: int = Field(128, ge=8, le=10_000, description="Header fields of a request.")
    field_bytes: int = Field(
        16 * _KIB, alias="field_size", ge=256, le=1 * _MIB, description="One header field of a request."
    )
    header_ms: int = Field(
        15 * _SECOND_MS, alias="header_time", ge=10, le=_HOUR_MS, description="For a whole request head to arrive."
    )
    idle_ms: int = Field(
        75 * _SECOND_MS,
        alias="idle_time",
        ge=10,
        le=24 * _HOUR_MS,
        description="A kept connection without a request, a tunnel without a byte.",
    )
    body_bytes_max: int = Field(
        1024 * _MIB, alias="body_size", ge=0, le=1024 * 1024 * _MIB, description="A request body."
    )
    body_idle_ms: int = Field(
        30 * _SECOND_MS, alias="body_idle_time", ge=10, le=_HOUR_MS, description="Without a byte of a request body."
    )
    write_stall_ms: int = Field(
        30 * _SECOND_MS,
        alias="write_stall_time",
        ge=10,
        le=_HOUR_MS,
        description="Without a byte that the client takes.",
    )
    tls_handshake_ms: int = Field(
        10 * _SECOND_MS, alias="tls_handshake_time", ge=10, le=_HOUR_MS, description="For a TLS handshake."
    )
    h2_streams_max: int = Field(
        128, alias="h2_streams", ge=1, le=10_000, description="Streams of an HTTP/2 connection at a time."
    )
    h2_window_bytes: int = Field(
        1 * _MIB, alias="h2_window", ge=64 * _KIB, le=1024 * _MIB, description="The HTTP/2 window for request bodies."
    )
    h2_header_list_bytes: int = Field(
        64 * _KIB, alias="h2_header_list", ge=1 * _KIB, le=1 * _MIB, description="A decoded HTTP/2 request head."
    )
    h2_resets_max: int = Field(
        100,
        alias="h2_resets",
        ge=1,
        le=100_000,
        description="Streams that a client may reset early before its HTTP/2 connection is closed.",
    )
    connections_per_address_max: int = Field(
        4096, alias="connections_per_address", ge=1, le=1_000_000, description="Connections from one client address."
    )
    handshakes_per_address_max: int = Field(
        200,
        alias="handshakes_per_address",
        ge=1,
        le=1_000_000,
        description=(
            "QUIC handshakes a second from one client address (IPv6: /64); above it an address has to prove itself "
            "first (Retry), and one that has is refused. Sixteen times as many datagrams of handshakes are looked at."
        ),
    )
    connections_max: int = Field(
        65_536, alias="connections", ge=1, le=10_000_000, description="Connections of all clients."
    )
    requests_per_connection_max: int = Field(
        100_000, alias="requests_per_connection", ge=1, le=10**9, description="Requests before a connection is closed."
    )


class LogSettings(BaseModel):
    """The access log."""

    model_config = _TABLE

    format: Literal["off", "json", "combined"] = Field(
        "off", description="One JSON document or combined line per request."
    )
    path: str = Field("-", min_length=1, description='A file to append to, beside this file; "-" is standard output.')
    tls_keys: str | None = Field(
        None,
        min_length=1,
        description="A file that the secrets of TLS and QUIC sessions are appended to, for debugging; needs a restart.",
    )


class PurgeSettings(BaseModel):
    """The methods PURGE, BAN and PURGEKEYS on the addresses for clients."""

    model_config = _TABLE

    allow: Networks = Field(
        default_factory=list, description="Networks that may purge there without a token; none when empty."
    )
    nginx_helper: bool = Field(
        default=False,
        description="Whether GET of /purge/PATH and /purgeall from there is a purge, too, as nginx-helper asks.",
    )


class SiteSettings(BaseModel):
    """One site: the hosts it answers for, its origin and its rules."""

    model_config = _TABLE

    hosts: Annotated[
        list[Annotated[str, AfterValidator(_host)]], Field(min_length=1, max_length=10_000), BeforeValidator(_listed)
    ] = Field(description='Exact names, "*.example.com" for all below it, "*" for every other host.')
    origin: str = Field(min_length=1, description="Which [origin.NAME] its answers come from.")
    host_header: str | None = Field(
        None, min_length=1, max_length=260, description="The Host that the origin sees; otherwise the client's."
    )
    honour_client_directives: bool = Field(
        default=True, description="Whether a client's Cache-Control and Pragma may cause a fetch."
    )
    no_vary_search: bool = Field(
        default=False,
        description="Whether an answer is reused for other queries as its No-Vary-Search allows.",
    )
    early_hints: bool = Field(
        default=False,
        description="Whether a client that waits for the origin is sent 103 with the links of the last stored answer.",
    )
    partial_content: bool = Field(
        default=True,
        description="Whether a range of what is not stored is asked for as it is and kept, as a part of the whole.",
    )
    disk: Literal["always", "second-hit", "never"] | None = Field(
        None, description="What of it is written to disk; otherwise as cache.disk.admission says."
    )
    compression: CompressionSettings | None = None
    rule: list[RuleSettings] = Field(default_factory=list, max_length=10_000, description="Rules, in order.")
    policy: str | None = Field(
        None, min_length=1, description="A Python file with a list `rules` that follow these; beside this file."
    )


class Settings(BaseModel):
    """A whole configuration."""

    model_config = _TABLE

    node: NodeSettings = Field(default_factory=NodeSettings)
    listen: ListenSettings = Field(default_factory=ListenSettings)
    tls: list[TlsSettings] = Field(default_factory=list, max_length=10_000)
    admin: AdminSettings = Field(default_factory=AdminSettings)
    cache: CacheSettings = Field(default_factory=CacheSettings)
    pool: PoolSettings = Field(default_factory=PoolSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    purge: PurgeSettings = Field(default_factory=PurgeSettings)
    fleet: FleetSettings = Field(default_factory=FleetSettings)
    peers: PeersSettings | None = None
    site: list[SiteSettings] = Field(default_factory=list, max_length=10_000)
    origin: dict[str, OriginSettings] = Field(default_factory=dict, max_length=10_000)
