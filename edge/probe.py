"""`headland probe URL`: one request, and how long each step of it took; over HTTP/1.1 or HTTP/3.

The client is not the node's: TCP and TLS are Python's, HTTP/3 is aioquic. So what it says of a server is a second
opinion.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import orjson

__all__ = [
    "ProbeError",
    "Reading",
    "Request",
    "certificate_facts",
    "context_of",
    "json_text",
    "parse",
    "probe",
    "since_ms",
    "table",
]

READ_BYTES = 65_536
"""Bytes that are read at a time."""


class ProbeError(Exception):
    """The server could not be asked; one sentence says at which step, and why."""


@dataclass(frozen=True)
class Request:
    """What is asked, and how."""

    url: SplitResult
    headers: tuple[tuple[str, str], ...] = ()
    http3: bool = False
    verify: bool = True
    ca: Path | None = None
    """Authorities that are trusted, instead of the system's."""
    timeout_s: float = 10.0
    """Seconds for each step."""

    @property
    def host(self) -> str:
        """The name that is looked up and verified."""
        return self.url.hostname or ""

    @property
    def port(self) -> int:
        """The port, of the URL or of its scheme."""
        return self.url.port or (443 if self.url.scheme == "https" else 80)

    @property
    def target(self) -> str:
        """Path and query."""
        path = self.url.path or "/"
        return f"{path}?{self.url.query}" if self.url.query else path


@dataclass
class Reading:
    """What came of it. Times are milliseconds from the beginning of their step; `total_ms` is from the very first."""

    protocol: str = ""
    address: str = ""
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body_bytes: int = 0
    certificate: dict[str, str] = field(default_factory=dict)
    dns_ms: float = 0.0
    connect_ms: float | None = None
    """TCP; HTTP/3 has no such step."""
    handshake_ms: float | None = None
    """TLS, or QUIC with TLS in it."""
    ttfb_ms: float = 0.0
    """From the request sent to the head of the answer."""
    total_ms: float = 0.0

    def header(self, name: str) -> str | None:
        """The lines of one field, joined; None when there is none."""
        lines = [value for known, value in self.headers if known.lower() == name]
        return ", ".join(lines) if lines else None


def parse(url: str) -> SplitResult:
    """An http or https URL; raises `ProbeError`."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ProbeError(f'expected an http or https URL, got "{url}"')
    return parts


def probe(request: Request) -> Reading:
    """Ask once. Raises `ProbeError`."""
    begun = time.monotonic()
    reading = Reading()
    family, address = _looked_up(request, reading)
    if request.http3:
        from edge import probe_http3  # noqa: PLC0415 - aioquic takes a moment to load

        probe_http3.ask(request, address, reading)
    else:
        _ask(request, family, address, reading)
    reading.total_ms = since_ms(begun)
    return reading


def since_ms(begun: float) -> float:
    """Milliseconds since a monotonic moment."""
    return round((time.monotonic() - begun) * 1000, 3)


def _looked_up(request: Request, reading: Reading) -> tuple[int, tuple[Any, ...]]:
    begun = time.monotonic()
    kind = socket.SOCK_DGRAM if request.http3 else socket.SOCK_STREAM
    try:
        family, _, _, _, address = socket.getaddrinfo(request.host, request.port, type=kind)[0]
    except OSError as error:
        raise ProbeError(f"{request.host} cannot be resolved: {error.strerror}") from error
    reading.dns_ms = since_ms(begun)
    reading.address = f"{address[0]!s}:{address[1]!s}"
    return int(family), address


def context_of(request: Request) -> ssl.SSLContext:
    """How the server's certificate is verified."""
    context = ssl.create_default_context(cafile=str(request.ca) if request.ca else None)
    if not request.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _ask(request: Request, family: int, address: tuple[Any, ...], reading: Reading) -> None:
    begun = time.monotonic()
    try:
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(request.timeout_s)
        connection.connect(address)
        reading.connect_ms = since_ms(begun)
        if request.url.scheme == "https":
            begun = time.monotonic()
            secured = context_of(request).wrap_socket(connection, server_hostname=request.host)
            reading.handshake_ms = since_ms(begun)
            reading.certificate = certificate_facts(secured.getpeercert(binary_form=True))
            connection = secured
        with connection:
            _exchange(request, connection, reading)
    except (OSError, http.client.HTTPException) as error:
        raise ProbeError(f"{reading.address}: {error}") from error


def _exchange(request: Request, connection: socket.socket, reading: Reading) -> None:
    client = http.client.HTTPConnection(request.host, request.port)
    client.sock = connection
    begun = time.monotonic()
    client.putrequest("GET", request.target, skip_host=True, skip_accept_encoding=True)
    for name, value in (("Host", request.url.netloc.rpartition("@")[2]), *request.headers):
        client.putheader(name, value)
    client.endheaders()
    answer = client.getresponse()
    reading.ttfb_ms = since_ms(begun)
    reading.protocol = "HTTP/1.1" if answer.version == 11 else "HTTP/1.0"
    reading.status, reading.headers = answer.status, answer.getheaders()
    while piece := answer.read(READ_BYTES):
        reading.body_bytes += len(piece)


def certificate_facts(der: bytes | None) -> dict[str, str]:
    """Whom a certificate is for, who says so, and until when; nothing without one."""
    if not der:
        return {}
    from cryptography import x509  # noqa: PLC0415 - as above

    certificate = x509.load_der_x509_certificate(der)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }


def json_text(reading: Reading) -> str:
    """The reading as one JSON document."""
    document = {**asdict(reading), "cache_status": reading.header("cache-status")}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def table(reading: Reading) -> str:
    """The reading for people."""
    steps = [
        ("dns", reading.dns_ms),
        ("connect", reading.connect_ms),
        ("handshake", reading.handshake_ms),
        ("first byte", reading.ttfb_ms),
        ("total", reading.total_ms),
    ]
    lines = [f"{reading.protocol} {reading.status} from {reading.address}, {reading.body_bytes:,} bytes", ""]
    lines += [f"  {name:12}{value:10.1f} ms" for name, value in steps if value is not None]
    facts = {"cache": reading.header("cache-status"), **reading.certificate}
    lines += ["", *(f"  {name:12}{value}" for name, value in facts.items() if value)]
    lines += ["", *(f"  {name}: {value}" for name, value in reading.headers)]
    return "\n".join(lines)
