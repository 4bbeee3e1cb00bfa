"""An origin that follows scripts: it keeps every request that it got, and each answer is driven by the test.

A script is a function of an [`Exchange`] on a thread of its own, so it may wait on events between the pieces of its
answer. Paths without a script answer 404.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

Fields = Mapping[str, str] | Sequence[tuple[str, str]]
WAIT_S = 30.0
"""Seconds that a script may wait for its test."""


class Exchange:
    """One request, and the means to answer it in pieces."""

    def __init__(self, handler: BaseHTTPRequestHandler, number: int) -> None:
        self.method = handler.command
        self.target = handler.path
        self.headers = handler.headers
        self.body = _body_of(handler)
        self.number = number
        """How many requests for the same path came before it, this one counted."""
        self._handler = handler

    def answer(self, status: int = 200, fields: Fields = (), body: bytes | str = b"") -> None:
        """A whole answer; its length is declared."""
        content = body.encode() if isinstance(body, str) else body
        self.begin(status, fields, None if status in {204, 304} else len(content))
        if self.method != "HEAD":
            self.send(content)

    def begin(self, status: int = 200, fields: Fields = (), length: int | None = None) -> None:
        """The head of an answer; without a length its body ends with the connection."""
        handler = self._handler
        handler.send_response_only(status)
        for name, value in fields.items() if isinstance(fields, Mapping) else fields:
            handler.send_header(name, value)
        if length is not None:
            handler.send_header("Content-Length", str(length))
        elif status not in {204, 304}:
            handler.send_header("Connection", "close")
        handler.end_headers()

    def send(self, piece: bytes) -> None:
        """A piece of the body, at once."""
        self._handler.wfile.write(piece)
        self._handler.wfile.flush()

    def cut(self) -> None:
        """Break the connection off, wherever the answer is."""
        self._handler.close_connection = True
        with contextlib.suppress(OSError):
            self._handler.connection.shutdown(socket.SHUT_RDWR)


Script = Callable[[Exchange], None]


def _body_of(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding") != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    body = b""
    while length := int(handler.rfile.readline(), 16):
        body += handler.rfile.read(length)
        handler.rfile.readline()
    while handler.rfile.readline().strip():
        pass  # trailers
    return body


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """A connection that the node gave up is no error of the origin."""


class ScriptedOrigin:
    """Answers by scripts; a context that ends it."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.exchanges: list[Exchange] = []
        self._scripts: dict[str, Script] = {}
        self._counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                origin._run(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_PROPFIND = handle_any  # noqa: N815

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if context is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def _run(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.split("?")[0]
        with self._changed:
            self._counts[path] += 1
            exchange = Exchange(handler, self._counts[path])
            self.exchanges.append(exchange)
            self._changed.notify_all()
        self._scripts.get(path, lambda it: it.answer(404))(exchange)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def at(self, path: str, script: Script) -> None:
        """From now on, answer requests for this path so, whatever their query."""
        self._scripts[path] = script

    def says(self, path: str, fields: Fields = (), body: bytes | str = b"", status: int = 200) -> None:
        """From now on, always give this answer."""
        self.at(path, lambda exchange: exchange.answer(status, fields, body))

    def asked(self, path: str) -> list[Exchange]:
        """The requests for a path, whatever their query."""
        with self._changed:
            return [exchange for exchange in self.exchanges if exchange.target.split("?")[0] == path]

    def wait_asked(self, path: str, count: int) -> None:
        """Wait until there were so many requests for a path."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._counts[path] >= count, WAIT_S), f"{path} was not asked {count}x"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def closed_port() -> int:
    """A port on loopback where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
