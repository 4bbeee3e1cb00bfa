"""A client of HTTP/3 that breaks rules, takes its time, moves and looks behind the answers; by aioquic."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StopSendingReceived, StreamDataReceived, StreamReset
from aioquic.tls import SessionTicket

from edge.probe import Request
from edge.probe_http3 import Answer, Http3Client, configuration
from tests.certificates import make

HOST = "a.example"
WAIT_S = 30.0
SLOW_DATAGRAMS_MAX = 64
"""Datagrams that wait on the way to a slow client; a queue that has no end makes a way that never answers in time."""
SERVER_CONTROL = 3
"""The server's first unidirectional stream, which is its control stream here."""
CONFIGURATION = """\
[node]
name = "pop1"
workers = {workers}
[listen]
http = "127.0.0.1:0"
https = "127.0.0.1:0"
http3 = true
[[tls]]
cert = "{cert}"
key = "{key}"
[admin]
listen = "{admin}"
state_dir = "state"
{more}
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = "{origin}"
"""


def configure(directory: Path, origin: str, more: str = "", *, workers: int = 2, admin: str = "off") -> Path:
    """A node's file beside a certificate of its own; the file."""
    pair = make(directory, HOST)
    file = directory / "edge.toml"
    cert, key = pair.cert_file, pair.key_file
    file.write_text(CONFIGURATION.format(origin=origin, cert=cert, key=key, more=more, workers=workers, admin=admin))
    return file


def frame(kind: int, payload: bytes) -> bytes:
    """A frame of HTTP/3."""
    return encode_uint_var(kind) + encode_uint_var(len(payload)) + payload


def literal(lines: Sequence[tuple[str, str]]) -> bytes:
    """A field section of literals, whatever they say."""

    def text(prefix_bits: int, before: int, value: bytes) -> bytes:
        most = (1 << prefix_bits) - 1
        if len(value) < most:
            return bytes([before | len(value)]) + value
        left, out = len(value) - most, bytearray([before | most])
        while left >= 128:
            out.append(128 | left & 127)
            left >>= 7
        return bytes(out) + bytes([left]) + value

    return b"\0\0" + b"".join(text(3, 0x20, n.encode()) + text(7, 0, v.encode()) for n, v in lines)


class _Way:
    """A way that loses datagrams in both directions, is long, and lets later ones overtake."""

    def __init__(self, inner: Any, loss: float, delay_s: float, spread_s: float) -> None:
        self._inner, self._loss = inner, loss
        self._delay_s, self._spread_s = delay_s, spread_s
        self._random = random.Random(5)  # noqa: S311 - the same way in every run

    def carry(self, arrive: Any, *datagram: Any) -> None:
        """Deliver it some time later, or never."""
        if self._random.random() >= self._loss:
            delay_s = self._delay_s + self._random.random() * self._spread_s
            asyncio.get_running_loop().call_later(delay_s, arrive, *datagram)

    def sendto(self, *datagram: Any) -> None:
        """What the client sends goes the same way."""
        self.carry(self._inner.sendto, *datagram)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Quic(Http3Client):
    """A connection whose streams can be written byte by byte."""

    def __init__(self, *arguments: Any, window: int | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if window is not None:
            self._quic._local_max_stream_data_bidi_local = window
        self.control = bytearray()
        self.ended = asyncio.Event()
        self.reason: ConnectionTerminated | None = None
        self.resets: dict[int, int] = {}
        self.stops: dict[int, int] = {}
        self.changed = asyncio.Event()
        self._held: deque[tuple[bytes | str, Any]] | None = None
        self._slow_s: float | None = None
        self._tokens: set[bytes] = set()
        self.was_reset = False

    @property
    def quic(self) -> Any:
        """The transport."""
        return self._quic

    def write(self, data: bytes, *, end: bool = True, stream: int | None = None) -> tuple[int, Answer]:
        """Write bytes on a request stream, a new one unless told otherwise."""
        if stream is None:
            stream = self._quic.get_next_available_stream_id()
        self._quic.send_stream_data(stream, data, end)
        self.transmit()
        return stream, self._answers[stream]

    async def say(self, lines: Sequence[tuple[str, str]], *frames: bytes, end: bool = True) -> Answer:
        """Send a head as it is, and what follows; wait for the end of the answer."""
        _, answer = self.write(frame(1, literal(lines)) + b"".join(frames), end=end)
        await asyncio.wait_for(answer.ended.wait(), WAIT_S)
        return answer

    def give_up(self, stream: int) -> None:
        """Want no answer any more (RFC 9114 section 4.1.1)."""
        self._quic.stop_stream(stream, 0x10C)
        self.transmit()

    def go_aways(self) -> list[int]:
        """The streams that GOAWAY frames named so far."""
        buffer, found = Buffer(data=bytes(self.control[1:])), []
        while not buffer.eof():
            kind, length = buffer.pull_uint_var(), buffer.pull_uint_var()
            payload = buffer.pull_bytes(length)
            if kind == 7:
                found.append(Buffer(data=payload).pull_uint_var())
        return found

    def pause(self) -> None:
        """Hear nothing more; datagrams that come meanwhile are kept."""
        self._slow_s = None
        self._held = deque()

    def resume(self) -> None:
        """Hear again, first what was kept."""
        held, self._held = self._held, None
        for data, address in held or ():
            super().datagram_received(data, address)

    def slow_down(self, datagram_s: float) -> None:
        """Hear one datagram in so many seconds from now on."""
        self._slow_s, self._held = datagram_s, deque()

    def worsen(self, *, loss: float, delay_s: float, spread_s: float) -> None:
        """From now on the way loses this share, takes so long for each direction, and up to so much longer."""
        self._transport = cast("Any", _Way(self._transport, loss, delay_s, spread_s))

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        """A datagram came; it may have a way before it."""
        if isinstance(self._transport, _Way):
            self._transport.carry(self._hear, data, addr)
        else:
            self._hear(data, addr)

    def _hear(self, data: bytes | str, addr: Any) -> None:
        if self._tokens and bytes(data)[-16:] in self._tokens:
            self.was_reset = True
            self.changed.set()
        if self._held is None:
            super().datagram_received(data, addr)
            return
        if self._slow_s is not None and len(self._held) >= SLOW_DATAGRAMS_MAX:
            return
        self._held.append((data, addr))
        if self._slow_s is not None and len(self._held) == 1:
            self._loop.call_later(self._slow_s, self._hear_one)

    def _hear_one(self) -> None:
        assert self._held is not None
        super().datagram_received(*self._held.popleft())
        if self._held and self._slow_s is not None:
            self._loop.call_later(self._slow_s, self._hear_one)

    async def move(self, address: str = "::") -> None:
        """Go on from another port, as behind a router that forgot the old one; or from another address."""
        loop = asyncio.get_running_loop()
        old = self._transport
        fresh = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        fresh.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        fresh.bind((address, 0))
        await loop.create_datagram_endpoint(lambda: self, sock=fresh)
        # What the old port still gets is lost, as it would be.
        old.abort()
        # Something has to be said from there.
        self._quic.send_ping(1)
        self.transmit()

    def leave_port(self) -> None:
        """Close the port that it has now."""
        if self._transport is not None:
            self._transport.close()

    def watch_resets(self) -> None:
        """Look for stateless resets from now on."""
        tokens = [cid.stateless_reset_token for cid in (self._quic._peer_cid, *self._quic._peer_cid_available)]
        self._tokens = {token for token in tokens if token}

    async def until(self, holds: Any) -> None:
        """Wait until something that the server sent makes it hold."""
        while not holds():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), WAIT_S)

    def quic_event_received(self, event: QuicEvent) -> None:
        match event:
            case StreamDataReceived(stream_id=3):
                self.control += event.data
            case StreamReset():
                self.resets[event.stream_id] = event.error_code
            case StopSendingReceived():
                self.stops[event.stream_id] = event.error_code
            case ConnectionTerminated():
                self.reason = event
                self.ended.set()
        super().quic_event_received(event)
        self.changed.set()


def settings(**options: Any) -> QuicConfiguration:
    """A client's side of QUIC; `options` are fields of its configuration."""
    made = configuration(Request(urlsplit(f"https://{HOST}/"), verify=False))
    for name, value in options.items():
        setattr(made, name, value)
    return made


@asynccontextmanager
async def client(
    places: dict[str, str],
    made: QuicConfiguration | None = None,
    tickets: list[SessionTicket] | None = None,
    window: int | None = None,
    *,
    early: bool = False,
    source: str | None = None,
) -> AsyncIterator[Quic]:
    """A connection to a node.

    Session tickets that come are appended to `tickets`; `window` is how many bytes of an answer it lets come; one that
    is `early` does not wait for the handshake; `source` is an address of this machine to
    ask from.
    """
    if source is not None:
        async with _client_from(places, source) as connected:
            yield connected
        return
    host, port = places["https"].split(":")
    keep = tickets.append if tickets is not None else None
    async with connect(
        host,
        int(port),
        configuration=made or settings(),
        wait_connected=not early,
        create_protocol=partial(Quic, window=window),
        session_ticket_handler=keep,
    ) as connected:
        try:
            yield cast("Quic", connected)
        finally:
            connected.close()
            await connected.wait_closed()
            # The port of now may not be the one it began with.
            cast("Quic", connected).leave_port()


@asynccontextmanager
async def _client_from(places: dict[str, str], source: str) -> AsyncIterator[Quic]:
    """A connection from an address of this machine."""
    host, port = places["https"].split(":")
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind((source, 0))
    loop = asyncio.get_running_loop()
    _, connected = await loop.create_datagram_endpoint(
        lambda: Quic(QuicConnection(configuration=settings())), sock=door
    )
    connected.connect((host, int(port)))
    try:
        await asyncio.wait_for(connected.wait_connected(), WAIT_S)
        yield connected
    finally:
        connected.close()
        await connected.wait_closed()
        connected.leave_port()


GET = [(":method", "GET"), (":scheme", "https"), (":authority", HOST)]


def get(path: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """The head of a GET."""
    return [*GET, (":path", path), *more]
