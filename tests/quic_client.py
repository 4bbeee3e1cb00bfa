"""HTTP/3 as `tests.curls` does HTTP/1.1 and HTTP/2: whole answers, or answers taken piece by piece; by aioquic.

Each transfer has a connection of its own, as each curl has. All run on one thread's event loop.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from aioquic.quic.connection import QuicConnection

from edge.probe import Request
from edge.probe_http3 import Answer as Told
from edge.probe_http3 import configuration
from tests.curls import TIME_S, Answer, Client
from tests.quic import Quic

BROKEN = 18
"""curl's exit status for a transfer that ended too early."""
SLOW_S = 0.01
"""Seconds for each datagram of a client that takes its time."""
REFUSED = 56
"""curl's exit status for one that broke before its head was there."""


OF_CONNECTIONS = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
"""Fields that do not exist in HTTP/3, as in HTTP/2; curl leaves them out, too."""


class _Loop:
    """One event loop on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="quic-clients", daemon=True).start()

    def soon(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Begin to run it there."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)


_LOOP: list[_Loop] = []


def _loop() -> _Loop:
    if not _LOOP:
        _LOOP.append(_Loop())
    return _LOOP[0]


async def _connect(address: str, source: str) -> Quic:
    host, port = address.split(":")
    made = configuration(Request(urlsplit(f"https://{host}/"), verify=False))
    loop = asyncio.get_running_loop()
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind((source, 0))
    _, protocol = await loop.create_datagram_endpoint(lambda: Quic(QuicConnection(configuration=made)), sock=door)
    protocol.connect((host, int(port)))
    await asyncio.wait_for(protocol.wait_connected(), TIME_S)
    return protocol


class Transfer:
    """A transfer that runs."""

    def __init__(self, client: Http3, target: str, head: tuple[str, str], fields: list[tuple[str, str]], more: _More):
        self._more = more
        self._told: Told | None = None
        self._protocol: Quic | None = None
        self._begun = _loop().soon(self._begin(client.address, target, head, fields))
        self._begun.result(TIME_S)

    async def _begin(self, address: str, target: str, head: tuple[str, str], fields: list[tuple[str, str]]) -> None:
        self._protocol = await _connect(address, self._more.source)
        if self._more.slow:
            self._protocol.slow_down(SLOW_S)
        method, authority = head
        self._told = self._protocol.begin(method, authority, target, fields, self._more.body)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Go away in the middle."""
        _loop().soon(self._leave()).result(TIME_S)

    async def _leave(self) -> None:
        if self._protocol is not None:
            self._protocol.close()
            self._protocol.leave_port()
            self._protocol = None

    def until(self, part: bytes) -> None:
        """Wait until this has arrived."""
        _loop().soon(asyncio.wait_for(self._until(part), TIME_S)).result(TIME_S + 5)

    async def _until(self, part: bytes) -> None:
        assert self._protocol is not None
        assert self._told is not None
        while part not in self._text():
            assert not self._told.ended.is_set(), f"ended before {part!r}, after {self._text()!r}"
            self._protocol.changed.clear()
            await self._protocol.changed.wait()

    def _text(self) -> bytes:
        """What came, written as HTTP/1.1 would be."""
        assert self._told is not None
        interim = b"".join(b"HTTP/3 %d \r\n\r\n" % status for status in self._told.interim)
        if not self._told.status:
            return interim
        lines = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in self._told.headers)
        return interim + b"HTTP/3 %d \r\n%s\r\n%s" % (self._told.status, lines, bytes(self._told.body))

    def answer(self) -> Answer:
        """Wait for the end."""
        assert self._told is not None
        told = self._told
        _loop().soon(asyncio.wait_for(told.ended.wait(), TIME_S)).result(TIME_S + 5)
        if not told.status:
            return Answer(0, {}, b"", REFUSED)
        headers: dict[str, str] = {}
        for name, value in told.headers:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Answer(told.status, headers, bytes(told.body), BROKEN if told.broken else 0)


class _More:
    """What curl is told by options."""

    def __init__(self, body: str | None, extra: Sequence[str]) -> None:
        self.body = body.encode() if body is not None else None
        self.source = "127.0.0.1"
        self.slow = False
        options = iter(extra)
        for option in options:
            match option:
                case "--interface":
                    self.source = next(options)
                case "--limit-rate":
                    self.slow = bool(next(options))
                case _:
                    raise ValueError(f"no such option: {option}")


class Http3(Client):
    """Asks one node over HTTP/3."""

    scheme = "https"
    usual_port = 443

    def start(  # type: ignore[override]
        self,
        path: str,
        *fields: str,
        host: str | None = None,
        method: str | None = None,
        body: str | None = None,
        extra: tuple[str, ...] = (),
    ) -> Transfer:
        """Begin a request; fields are given as `Name: value`, an empty value takes a usual one away."""
        lines = {"accept": "*/*", "user-agent": "curl"}
        given: list[tuple[str, str]] = []
        authority = host or self.address
        for field in fields:
            name, colon, value = field.partition(":")
            name, value = name.strip().lower(), value.strip()
            lines.pop(name, None)
            if name == "host":
                authority = value
            elif value and name not in OF_CONNECTIONS:
                given.append((name, value))
            elif not colon and field.endswith(";"):
                given.append((field[:-1].strip().lower(), ""))
        if body is not None and not any(name == "content-type" for name, _ in given):
            given.append(("content-type", "application/x-www-form-urlencoded"))
        verb = method or ("POST" if body is not None else "GET")
        return Transfer(self, path, (verb, authority), [*lines.items(), *given], _More(body, extra))


def client_of(places: dict[str, str], version: str) -> Client:
    """A client that asks a node by this version: `h1`, `h2` or `h3`."""
    if version == "h3":
        return Http3(places["https"], version)
    return Client(places["http"], version)
