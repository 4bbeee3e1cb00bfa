"""An origin whose every step the test takes itself: accept, read, answer in pieces, break off.

It has no thread: the kernel accepts for it, and each read waits for the bytes it names, at most [`WAIT_S`] seconds.
"""

from __future__ import annotations

import socket
import ssl
import struct
from types import TracebackType
from typing import Self

from tests.security.recording import WAIT_S


class Side:
    """The origin's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(WAIT_S)
        self._pending = b""

    def secure(self, context: ssl.SSLContext) -> None:
        """Go on under TLS, as its server."""
        self._socket = context.wrap_socket(self._socket, server_side=True)

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`; what follows stays for the next read."""
        while mark not in self._pending:
            assert self._read(), f"ended before {mark!r}: {self._pending!r}"
        place = self._pending.index(mark) + len(mark)
        taken, self._pending = self._pending[:place], self._pending[place:]
        return taken

    def head(self) -> bytes:
        """The next request head, with its empty line."""
        return self.until(b"\r\n\r\n")

    def rest(self) -> bytes:
        """Everything until the node ends the connection, in whatever way."""
        while self._read():
            continue
        return self._pending

    def send(self, data: bytes) -> None:
        """Send bytes at once."""
        self._socket.sendall(data)

    def close(self, *, reset: bool = False) -> None:
        """End the connection, by FIN or by RST."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _read(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionError:
            return False
        self._pending += data
        return bool(data)


class DrivenOrigin:
    """A listener on a free port of loopback; a context that ends it with its connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(WAIT_S)
        self._sides: list[Side] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def accept(self) -> Side:
        """The next connection of the node."""
        side = Side(self._listener.accept()[0])
        self._sides.append(side)
        return side

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for side in self._sides:
            side.close()
        self._listener.close()
