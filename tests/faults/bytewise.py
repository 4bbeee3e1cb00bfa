"""An origin that answers to the byte: what a path gets is a list of steps, over clear text, TLS or HTTP/2 frames.

    Send(b"...")    these bytes at once
    Drip(b"...")    one byte after the other, a pause between
    STALL           nothing more, until the node gives up
    CLOSE, RESET    the end of the connection, by FIN or by RST

After the last step the connection is kept for the next request. Every request head is kept.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from tests.security import frames

__all__ = ["CLOSE", "RESET", "STALL", "BytewiseOrigin", "Drip", "FrameOrigin", "Send", "Step"]

WAIT_S: Final = 20.0
"""Seconds after which a peer that says nothing is a failure of the test."""
DRIP_S: Final = 0.02
"""Seconds between the bytes of a drip."""


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class Drip:
    data: bytes


@dataclass(frozen=True, slots=True)
class _Word:
    name: str


STALL = _Word("stall")
CLOSE = _Word("close")
RESET = _Word("reset")
Step = Send | Drip | _Word


class _Listener:
    """Accepts on a free port of loopback, each connection on a thread of its own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._stopped = threading.Event()
        self.connections = 0

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._guarded, args=(connection,), daemon=True).start()

    def _guarded(self, connection: socket.socket) -> None:
        # What the node gives up is no error of the origin.
        with contextlib.suppress(OSError), connection:
            connection.settimeout(WAIT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def _until_it_gives_up(self, connection: socket.socket) -> None:
        """Read whatever comes until the node closes."""
        while connection.recv(65_536):
            continue


class BytewiseOrigin(_Listener):
    """HTTP/1.1 by steps; a path without any gets 404."""

    def __init__(self, scripts: Mapping[str, Sequence[Step]], context: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.scripts = dict(scripts)
        self.heads: list[bytes] = []
        self._context = context

    def _serve(self, connection: socket.socket) -> None:
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        pending = b""
        while True:
            while b"\r\n\r\n" not in pending:
                data = connection.recv(65_536)
                if not data:
                    return
                pending += data
            head, pending = pending.split(b"\r\n\r\n", 1)
            self.heads.append(head)
            path = head.split(b" ", 2)[1].decode()
            for step in self.scripts.get(path, [Send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")]):
                if not self._take(connection, step):
                    return

    def _take(self, connection: socket.socket, step: Step) -> bool:
        """One step; false when it was the last one of this connection."""
        match step:
            case Send(data):
                connection.sendall(data)
                return True
            case Drip(data):
                for byte in data:
                    connection.sendall(bytes((byte,)))
                    if self._stopped.wait(DRIP_S):
                        return False
                return True
        if step is STALL:
            self._until_it_gives_up(connection)
        elif step is RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


Answering = Callable[["FramePeer", int, int], bool]
"""Answers the request of a stream, the `n`th of all; false ends the connection."""


class FramePeer:
    """The origin's end of one HTTP/2 connection."""

    def __init__(self, connection: socket.socket, settings: bytes) -> None:
        self._connection = connection
        self._pending = b""
        self._take(len(frames.PREFACE))
        self.send(frames.SETTINGS, 0, 0, settings)

    def send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        """One frame."""
        self._connection.sendall(frames.frame(kind, flags, stream, payload))

    def head(self, stream: int, *fields: frames.Field, flags: int = 0) -> None:
        """HEADERS of a 200."""
        self.send(frames.HEADERS, frames.END_HEADERS | flags, stream, b"\x88" + frames.block(*fields))

    def next_request(self) -> int | None:
        """The stream of the next request; none at the end. PING and SETTINGS are answered."""
        while (head := self._take(frames.FRAME_HEAD_BYTES)) is not None:
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            payload = self._take(length) or b""
            if kind == frames.HEADERS:
                return int.from_bytes(head[5:], "big")
            if kind in {frames.SETTINGS, frames.PING} and not flags & frames.ACK:
                self.send(kind, frames.ACK, 0, payload if kind == frames.PING else b"")
        return None

    def _take(self, count: int) -> bytes | None:
        while len(self._pending) < count:
            data = self._connection.recv(65_536)
            if not data:
                return None
            self._pending += data
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken


class FrameOrigin(_Listener):
    """HTTP/2 with prior knowledge, answered by a function."""

    def __init__(self, answering: Answering, settings: bytes = b"") -> None:
        super().__init__()
        self._answering, self._settings = answering, settings
        self.requests = 0

    def _serve(self, connection: socket.socket) -> None:
        peer = FramePeer(connection, self._settings)
        while (stream := peer.next_request()) is not None:
            self.requests += 1
            if not self._answering(peer, stream, self.requests):
                return
