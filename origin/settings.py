"""The `[origin.NAME]` tables and `[pool]`: servers, trust, deadlines, connections, retries.

Fields carry their unit in their name; in TOML the key is the alias, and its value a text with a unit ("2s"), which
`edge.document` turns into the number that stands here. Defaults, bounds and meanings are written here only: the
documentation comes from them, and Rust has none. The field names are those of `origin/src/settings.rs`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = [
    "ConcurrencySettings",
    "Deadlines",
    "DiscoverySettings",
    "EjectionSettings",
    "HealthSettings",
    "HedgeSettings",
    "OriginPool",
    "OriginSettings",
    "PoolSettings",
    "RetrySettings",
    "Server",
    "ServerList",
    "server_url",
]

_KIB = 1024
_MIB = 1024 * _KIB
_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_COOKIE = re.compile(r"[0-9A-Za-z._-]{1,64}")

_TABLE = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)


def server_url(url: str) -> str:
    """A server is scheme, host and port, because the path always comes from the request."""
    expected = 'expected an origin such as "http://10.0.0.1:8080" or "https://app.example.com"'
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f'{expected}, got "{url}"') from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError(f'{expected}, got "{url}"')
    if (
        parts.path not in {"", "/"}
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or any(map(str.isspace, url))
    ):
        raise ValueError(f'{expected} and nothing after it, got "{url}"')
    return url.rstrip("/")


def _listed(value: object) -> object:
    """One server stands for a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def _server_table(value: object) -> object:
    """A bare text stands for a table with only a URL."""
    return {"url": value} if isinstance(value, str) else value


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f'expected the name of a header field, got "{name}"')
    return name.lower()


def _cookie_name(name: str) -> str:
    if not _COOKIE.fullmatch(name):
        raise ValueError(f'expected letters, digits, ".", "_" and "-", got "{name}"')
    return name


Zone = Annotated[str, Field(min_length=1, max_length=64)]


class Server(BaseModel):
    """One server of an origin."""

    model_config = _TABLE

    url: Annotated[str, AfterValidator(server_url)] = Field(description="Scheme, host and port of the server.")
    weight: int = Field(1, ge=1, le=1000, description="Its share of requests among the servers of this origin.")
    backup: bool = Field(default=False, description="Whether it is used only while no other server is left.")
    priority: int = Field(
        0, ge=0, le=9, description="Servers of a higher number are used only while too many of the lower ones are out."
    )
    zone: Zone | None = Field(None, description="Where it is; servers in node.zone are asked first.")


class Deadlines(BaseModel):
    """How long each phase of a fetch may take."""

    model_config = _TABLE

    connect_ms: int = Field(
        2_000,
        alias="connect",
        ge=1,
        le=10 * _MINUTE_MS,
        description="To resolve the name, connect and finish the TLS handshake.",
    )
    first_byte_ms: int = Field(
        30_000,
        alias="first_byte",
        ge=1,
        le=_HOUR_MS,
        description="From the request sent to the head of the answer.",
    )
    between_bytes_ms: int = Field(
        15_000,
        alias="between_bytes",
        ge=1,
        le=_HOUR_MS,
        description="Without any byte of the answer's body.",
    )
    total_ms: int = Field(
        _HOUR_MS,
        alias="total",
        ge=1,
        le=24 * _HOUR_MS,
        description="For the whole exchange.",
    )


class OriginPool(BaseModel):
    """Connections to one origin, shared by all workers."""

    model_config = _TABLE

    connections_max: int = Field(
        1024, ge=1, le=65_535, description="Connections to one server; HTTP/2 carries many requests on each."
    )
    idle_max: int = Field(128, ge=0, le=65_535, description="Idle connections to one server that are kept.")
    idle_ms: int = Field(
        55_000,
        alias="idle",
        ge=0,
        le=24 * _HOUR_MS,
        description="How long an idle connection is kept; stay below the origin's own limit.",
    )
    lifetime_ms: int = Field(
        _HOUR_MS,
        alias="lifetime",
        ge=1_000,
        le=7 * 24 * _HOUR_MS,
        description="When a connection is no longer reused, so that changes of name and load balancer are noticed.",
    )
    queue_max: int = Field(
        1024, ge=0, le=1_000_000, description="Requests that may wait for a connection when all are taken."
    )
    warm: int = Field(
        4,
        ge=0,
        le=32,
        description="Connections kept open ahead of need: as many as were busy at a time in the last minutes, and a"
        " spare one, but no more than this; 0 keeps none.",
    )
    warm_ms: int = Field(
        10 * _MINUTE_MS,
        alias="warm_time",
        ge=0,
        le=24 * _HOUR_MS,
        description="How long after its last request a server's connections are kept open ahead of need.",
    )
    queue_ms: int = Field(
        5_000, alias="queue", ge=0, le=10 * _MINUTE_MS, description="How long a request may wait for a connection."
    )


class EjectionSettings(BaseModel):
    """When a server that fails is left alone for a while."""

    model_config = _TABLE

    failures: int = Field(5, ge=0, le=1000, description="Failures in a row that eject a server; 0 never ejects.")
    base_ms: int = Field(
        10_000, alias="base", ge=100, le=_HOUR_MS, description="The first ejection; each further one is longer."
    )
    max_percent: int = Field(
        50, ge=0, le=100, description="The share of an origin's servers that may be ejected at a time."
    )
    error_percent: int = Field(
        50,
        ge=0,
        le=100,
        description="Failures as a share of a server's answers in the last seconds (500, 502, 503 and 504 count, too)"
        " that eject it, if the others fail at most half as often; 0 never ejects.",
    )
    latency_factor: int = Field(
        0,
        ge=0,
        le=1000,
        description="How many times as long as the others a server takes, above 10ms, to be ejected; 0 never ejects.",
    )


class HealthSettings(BaseModel):
    """How each server of an origin is checked. Without this table none is."""

    model_config = _TABLE

    path: str = Field("/", pattern="^/[!-~]*$", max_length=2048, description="What is asked for, by GET.")
    host: str | None = Field(
        None, pattern="^[!-~]+$", max_length=255, description="The Host of the request; otherwise that of the server."
    )
    status: Annotated[
        tuple[Annotated[int, Field(ge=200, le=599)], ...],
        Field(min_length=1, max_length=16, strict=False),
        BeforeValidator(_listed),
    ] = Field((200,), description="The statuses of a server that is well.")
    body: str | None = Field(
        None, min_length=1, max_length=1024, description="A text that must be in the first 64 KiB of the body."
    )
    interval_ms: int = Field(
        5_000, alias="interval", ge=100, le=_HOUR_MS, description="How long after one check the next one begins."
    )
    timeout_ms: int = Field(2_000, alias="timeout", ge=10, le=_MINUTE_MS, description="How long a check may take.")
    fall: int = Field(3, ge=1, le=100, description="Checks in a row that must fail for the server to be down.")
    rise: int = Field(2, ge=1, le=100, description="Checks in a row that must be well for it to be up again.")


class RetrySettings(BaseModel):
    """When a failed fetch is tried again: only where nothing was sent, or the method is idempotent."""

    model_config = _TABLE

    attempts: int = Field(2, ge=1, le=10, description="Attempts for one request, the first one counted.")
    budget_percent: int = Field(20, ge=0, le=100, description="Retries as a share of this origin's recent requests.")
    statuses: Annotated[
        tuple[Annotated[int, Field(ge=400, le=599)], ...], Field(max_length=16, strict=False), BeforeValidator(_listed)
    ] = Field((502, 503, 504), description="Answers after which another server is asked, if the method is idempotent.")


class HedgeSettings(BaseModel):
    """When a request that takes long is asked of a second server as well: GET and the like, without a body."""

    model_config = _TABLE

    percent: int = Field(
        0, ge=0, le=100, description="Hedged requests as a share of this origin's recent requests; 0 hedges none."
    )
    delay_min_ms: int = Field(
        10,
        alias="delay_min",
        ge=0,
        le=_MINUTE_MS,
        description="The least that the first server is waited for; otherwise what 95 of 100 of its answers take.",
    )


class ConcurrencySettings(BaseModel):
    """How many requests one server works on at a time. When all have that many, the answer is 503, or what is stale."""

    model_config = _TABLE

    requests_max: int = Field(0, ge=0, le=1_000_000, description="Requests at a time; 0 for no bound.")
    adaptive: bool = Field(
        default=False, description="Whether the bound follows the server's latency: it shrinks when requests queue up."
    )


class DiscoverySettings(BaseModel):
    """Where the servers of an origin are listed, at run time. Those of `servers` are asked until a list was read."""

    model_config = _TABLE

    file: str | None = Field(
        None, min_length=1, description="A file, beside this one, with one URL per line, or JSON as of url."
    )
    url: str | None = Field(
        None,
        pattern="^https?://[!-~]+$",
        max_length=2048,
        description="What answers with JSON: a list as servers, or a table with that member.",
    )
    srv: str | None = Field(
        None,
        pattern="^[A-Za-z0-9_.-]+$",
        max_length=253,
        description='A name with SRV records, such as "_https._tcp.app.example.com": they say targets and shares.',
    )
    scheme: Literal["http", "https"] = Field("https", description="How the targets of srv are spoken to.")
    nameserver: str | None = Field(
        None,
        pattern=r"^([0-9.]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?$",
        description="Who is asked for srv; otherwise the first name server of the system.",
    )
    interval_ms: int = Field(
        5_000,
        alias="interval",
        ge=100,
        le=24 * _HOUR_MS,
        description="How long after one reading the next one begins; for srv the least, where the records live longer.",
    )
    timeout_ms: int = Field(2_000, alias="timeout", ge=10, le=_MINUTE_MS, description="How long a reading may take.")

    @model_validator(mode="after")
    def _one_place(self) -> DiscoverySettings:
        if sum(place is not None for place in (self.file, self.url, self.srv)) != 1:
            raise ValueError("expected one of file, url and srv")
        return self


ServerList = Annotated[
    list[Annotated[Server, BeforeValidator(_server_table)]],
    Field(min_length=1, max_length=256),
    BeforeValidator(_listed),
]


class OriginSettings(BaseModel):
    """One origin: servers that give the same answers."""

    model_config = _TABLE

    servers: ServerList = Field(
        description="The servers, as URLs or as tables with url, weight, backup, priority and zone."
    )
    balance: Literal["round-robin", "least-connections", "two-choices", "hash"] = Field(
        "round-robin",
        description="How a server is chosen for a request: by turns; the least busy; the faster and less busy one of"
        " two at random; the one that a key of the request belongs to.",
    )
    hash_by: Literal["url", "client", "header"] = Field(
        "url",
        description="The key of balance = \"hash\": host and target, the client's address, or hash_header's value.",
    )
    hash_header: Annotated[str, AfterValidator(_header_name)] | None = Field(
        None, description='The request header field of hash_by = "header".'
    )
    hash_load_percent: int = Field(
        125,
        ge=100,
        le=10_000,
        description='With balance = "hash", the most that a server may have of its fair share of the requests at work;'
        " what is more goes to the next server of its key.",
    )
    sticky_cookie: Annotated[str, AfterValidator(_cookie_name)] | None = Field(
        None,
        description="A cookie that binds a client to the server that answered it, for answers that are its own; while"
        " that server is out, another one answers.",
    )
    slow_start_ms: int = Field(
        10_000,
        alias="slow_start",
        ge=0,
        le=_HOUR_MS,
        description="How long a server that came by a reload, or came back, takes to get its whole share of requests.",
    )
    ca: str | None = Field(
        None, description="A PEM file with the authorities that are trusted, instead of the system's; beside this file."
    )
    server_name: str | None = Field(
        None, max_length=253, description="The name asked for and verified in TLS; otherwise that of the server's URL."
    )
    verify: bool = Field(default=True, description="Whether the server's certificate is verified.")
    tls_version_min: Literal["1.2", "1.3"] = Field("1.2", description="The oldest version of TLS that is spoken.")
    early_data: bool = Field(
        default=False,
        description="Whether safe requests without a body may go out with a resumed TLS handshake over HTTP/1.1"
        " (0-RTT): a new connection costs them one round trip less, and whoever can repeat packets on the way can have"
        " them seen twice.",
    )
    public_only: bool = Field(
        default=False,
        description="Whether the addresses that a server's name leads to must be public: private, loopback, link-local"
        " and other special ones are refused. For names that others control.",
    )
    client_cert: str | None = Field(None, description="A PEM file with the certificate shown to the origin.")
    client_key: str | None = Field(None, description="The key of client_cert; may stand in the same file.")
    http2: Literal["auto", "never", "prior-knowledge"] = Field(
        "auto", description="auto asks by ALPN over TLS; prior-knowledge also speaks HTTP/2 on clear text."
    )
    response_header_bytes_max: int = Field(
        64 * _KIB,
        alias="response_header_max",
        ge=1 * _KIB,
        le=1 * _MIB,
        description="The largest head of an answer that is taken.",
    )
    response_body_bytes_max: int = Field(
        0,
        alias="response_body_max",
        ge=0,
        le=1024**4,
        description="The longest body of an answer that is taken; 0 for any.",
    )
    deadlines: Deadlines = Field(default_factory=Deadlines)
    pool: OriginPool = Field(default_factory=OriginPool)
    ejection: EjectionSettings = Field(default_factory=EjectionSettings)
    health: HealthSettings | None = None
    discovery: DiscoverySettings | None = None
    retries: RetrySettings = Field(default_factory=RetrySettings)
    hedge: HedgeSettings = Field(default_factory=HedgeSettings)
    concurrency: ConcurrencySettings = Field(default_factory=ConcurrencySettings)


class PoolSettings(BaseModel):
    """The `[pool]` table: bounds over all origins together."""

    model_config = _TABLE

    connections_max_total: int = Field(
        16_384, alias="connections_max", ge=1, le=1_000_000, description="Connections to all origins together."
    )
    idle_max_total: int = Field(
        2_048,
        alias="idle_max",
        ge=0,
        le=1_000_000,
        description="Idle connections to all origins together that are kept.",
    )
