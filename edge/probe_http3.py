"""One request over HTTP/3, by aioquic: what `headland probe --http3` and the tests ask with."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection, H3Stream
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamReset

from edge.probe import ProbeError, Reading, Request, certificate_facts, since_ms

__all__ = ["Answer", "Http3Client", "ask", "configuration"]

Fields = Sequence[tuple[str, str]]


@dataclass
class Answer:
    """One answer as it comes."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    """The 1xx that came before."""
    body: bytearray = field(default_factory=bytearray)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    first_byte_at: float = 0.0
    broken: bool = False
    """The stream was reset, or the connection ended before it."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def header(self, name: str) -> str | None:
        """The first line of a field."""
        return next((value for known, value in self.headers if known == name), None)


class _Http(H3Connection):
    """aioquic takes the length that HEAD tells for that of a body which should have come (RFC 9110 section 8.6)."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self.heads: set[int] = set()

    def _check_content_length(self, stream: H3Stream) -> None:
        if stream.stream_id not in self.heads:
            super()._check_content_length(stream)


class Http3Client(QuicConnectionProtocol):
    """A connection that asks."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._http = _Http(self._quic)
        self._answers: dict[int, Answer] = defaultdict(Answer)

    def begin(self, method: str, authority: str, target: str, fields: Fields = (), body: bytes | None = None) -> Answer:
        """Send a request; the answer fills as it comes."""
        stream = self._quic.get_next_available_stream_id()
        if method == "HEAD":
            self._http.heads.add(stream)
        pseudo = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", target)]
        length = [("content-length", str(len(body)))] if body is not None else []
        lines = [(name.lower().encode(), value.encode()) for name, value in (*pseudo, *fields, *length)]
        self._http.send_headers(stream, lines, end_stream=body is None)
        if body is not None:
            self._http.send_data(stream, body, end_stream=True)
        self.transmit()
        return self._answers[stream]

    async def ask(
        self, method: str, authority: str, target: str, fields: Fields = (), body: bytes | None = None
    ) -> Answer:
        """Send a request and wait for the end of its answer."""
        answer = self.begin(method, authority, target, fields, body)
        await answer.ended.wait()
        return answer

    def certificate(self) -> bytes | None:
        """The server's certificate in DER."""
        from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - only where it is wanted

        peer = self._quic.tls._peer_certificate  # noqa: SLF001 - aioquic has no other way to it
        return peer.public_bytes(Encoding.DER) if peer is not None else None

    def quic_event_received(self, event: QuicEvent) -> None:
        """What the transport tells."""
        match event:
            case StreamReset(stream_id=stream):
                self._broken(self._answers[stream])
            case ConnectionTerminated():
                for answer in self._answers.values():
                    self._broken(answer)
        for told in self._http.handle_event(event):
            self._take(told)

    def _broken(self, answer: Answer) -> None:
        answer.broken |= not answer.ended.is_set()
        answer.ended.set()

    def _take(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            self._take_headers(self._answers[event.stream_id], event)
        elif isinstance(event, DataReceived):
            answer = self._answers[event.stream_id]
            answer.body += event.data
        if isinstance(event, HeadersReceived | DataReceived) and event.stream_ended:
            self._answers[event.stream_id].ended.set()

    def _take_headers(self, answer: Answer, event: HeadersReceived) -> None:
        lines = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
        status = next((int(value) for name, value in lines if name == ":status"), None)
        if status is None:
            answer.trailers = lines
        elif status < 200:
            answer.interim.append(status)
        else:
            answer.status, answer.first_byte_at = status, time.monotonic()
            answer.headers = [line for line in lines if not line[0].startswith(":")]


def configuration(request: Request) -> QuicConfiguration:
    """A client's side of QUIC for a request."""
    made = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=request.host)
    if not request.verify:
        made.verify_mode = ssl.CERT_NONE
    if request.ca is not None:
        made.load_verify_locations(cafile=str(request.ca))
    return made


def ask(request: Request, address: tuple[Any, ...], reading: Reading) -> None:
    """Fill a reading over HTTP/3. Raises `ProbeError`."""
    if request.url.scheme != "https":
        raise ProbeError("HTTP/3 is for https URLs")
    try:
        asyncio.run(asyncio.wait_for(_ask(request, address, reading), request.timeout_s))
    except TimeoutError as error:
        raise ProbeError(f"{reading.address}: no answer over QUIC within {request.timeout_s:g} s") from error
    except (ConnectionError, OSError) as error:
        raise ProbeError(f"{reading.address}: no connection over QUIC: {error}") from error


async def _ask(request: Request, address: tuple[Any, ...], reading: Reading) -> None:
    begun = time.monotonic()
    async with connect(
        address[0], address[1], configuration=configuration(request), create_protocol=Http3Client
    ) as protocol:
        client = cast("Http3Client", protocol)
        reading.handshake_ms = since_ms(begun)
        reading.certificate = certificate_facts(client.certificate())
        begun = time.monotonic()
        authority = request.url.netloc.rpartition("@")[2]
        answer = await client.ask("GET", authority, request.target, request.headers)
        if answer.broken:
            raise ProbeError(f"{reading.address}: the answer broke off")
        reading.protocol, reading.status, reading.headers = "HTTP/3", answer.status, answer.headers
        reading.ttfb_ms = round((answer.first_byte_at - begun) * 1000, 3)
        reading.body_bytes = len(answer.body)
