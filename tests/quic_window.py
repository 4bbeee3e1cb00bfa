"""A client of HTTP/3 that lets bytes in by hand: what a server sends first shows in what it does with little room."""

from __future__ import annotations

from typing import Any

from tests.quic import Quic


class Window:
    """The window of a connection, which stays as it is until it is opened; and that of one of its streams."""

    def __init__(self, asked: Quic, *, closed: int | None = None) -> None:
        self._asked = asked
        self._closed = closed
        self._limit = asked.quic._local_max_data
        self._write_limits = asked.quic._write_connection_limits
        asked.quic._write_connection_limits = self._write_as_it_is
        self._write_stream_limits = asked.quic._write_stream_limits
        asked.quic._write_stream_limits = self._write_but_of_the_closed

    @property
    def is_full(self) -> bool:
        """Whether the server has used all room that it was given."""
        return bool(self._limit.used == self._limit.value)

    def open(self, more_bytes: int) -> None:
        """Let so much more in."""
        self._limit.value += more_bytes
        self._asked.transmit()

    def reopen(self) -> None:
        """Let the closed stream's bytes in again."""
        self._closed = None
        self._asked.transmit()

    def _write_as_it_is(self, **where: Any) -> None:
        # aioquic opens the window when half of it is used.
        used, self._limit.used = self._limit.used, 0
        try:
            self._write_limits(**where)
        finally:
            self._limit.used = used

    def _write_but_of_the_closed(self, **where: Any) -> None:
        if where["stream"].stream_id != self._closed:
            self._write_stream_limits(**where)
