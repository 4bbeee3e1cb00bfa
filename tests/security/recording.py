"""An origin that records every byte it is sent and answers by a script, and a client that speaks raw bytes."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

WAIT_S = 10.0
"""Seconds after which a peer that says nothing is a failure of the test."""
TRICKLE_S = 0.02
"""Seconds between the bytes of a slow client."""
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: no-store\r\n\r\nok"


class RecordingOrigin:
    """A server on a free port of loopback; `answer` gets each request's head and returns what is sent back.

    An answer of None closes the connection without a word; one that ends in `CLOSE` is sent, then the connection ends.
    """

    def __init__(self, answer: Callable[[bytes], bytes | None] = lambda _head: PLAIN) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._records: list[bytearray] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def heads(self) -> list[bytes]:
        """The request heads seen so far, over all connections."""
        with self._lock:
            return [
                head
                for record in self._records
                for head in re.findall(rb"[A-Z]+ \S+ HTTP/1\.1\r\n.*?\r\n\r\n", bytes(record), re.DOTALL)
            ]

    def bytes_seen(self) -> bytes:
        """Everything that was received, connection after connection."""
        with self._lock:
            return b"".join(bytes(record) for record in self._records)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            record = bytearray()
            with self._lock:
                self._records.append(record)
            threading.Thread(target=self._serve, args=(connection, record), daemon=True).start()

    def _serve(self, connection: socket.socket, record: bytearray) -> None:
        # A node that resets what it cannot trust ends the connection, no more.
        with contextlib.suppress(ConnectionError), connection:
            pending = b""
            while True:
                try:
                    data = connection.recv(65536)
                except OSError:
                    return
                if not data:
                    return
                with self._lock:
                    record.extend(data)
                pending += data
                while b"\r\n\r\n" in pending:
                    head, pending = pending.split(b"\r\n\r\n", 1)
                    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                    # A body may still be on its way; what it says does not matter to the script.
                    pending = pending[int(length[1]) :] if length else pending
                    answer = self._answer(head)
                    if answer is None:
                        return
                    close = answer.endswith(CLOSE)
                    connection.sendall(answer.removesuffix(CLOSE))
                    if close:
                        return


CLOSE = b"\x00close\x00"
"""Ends an answer after which the origin closes."""


class RawClient:
    """One connection to the node, spoken to in bytes."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pending = b""
        self.was_reset = False
        """Whether the connection ended by a reset."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send_aside(self, data: bytes) -> None:
        """Send from a thread of its own, for more than the buffers between take while nobody reads the answers."""
        threading.Thread(target=self.send, args=(data,), daemon=True).start()

    def trickle(self, byte: bytes) -> int:
        """Send one byte again and again until the node says something; the answer's status, 0 without one."""
        self._socket.settimeout(TRICKLE_S)
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until and b"\r\n\r\n" not in self._pending:
            self.send(byte)
            with contextlib.suppress(TimeoutError):
                if not self._read():
                    break
        return int(self._pending[9:12] or 0)

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`; what follows stays for the next read."""
        while mark not in self._pending:
            assert self._read(), f"ended before {mark!r}: {self._pending!r}"
        place = self._pending.index(mark) + len(mark)
        taken, self._pending = self._pending[:place], self._pending[place:]
        return taken

    def send(self, data: bytes) -> None:
        """Send bytes; a node that has closed already is no error here."""
        try:
            self._socket.sendall(data)
        except OSError:
            return

    def answer(self) -> tuple[int, bytes, bytes]:
        """The next answer: status, head and body. (0, b"", b"") when the connection ended instead."""
        while b"\r\n\r\n" not in self._pending:
            if not self._read():
                return 0, b"", b""
        head, self._pending = self._pending.split(b"\r\n\r\n", 1)
        status = int(head[9:12])
        return status, head, self._body(status, head)

    def ended(self) -> bool:
        """Whether the node closes the connection without saying more."""
        while self._read():
            continue
        return not self._pending

    def rest(self) -> bytes:
        """Everything until the end."""
        while self._read():
            continue
        return self._pending

    def _body(self, status: int, head: bytes) -> bytes:
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if status in (100, 101, 204, 304) or not length:
            return b""
        wanted = int(length[1])
        while len(self._pending) < wanted and self._read():
            continue
        body, self._pending = self._pending[:wanted], self._pending[wanted:]
        return body

    def _read(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            self.was_reset = True
            return False
        self._pending += data
        return bool(data)
