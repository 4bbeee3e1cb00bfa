"""HTTP/2 in bare frames (RFC 9113): a client that may break every rule, with literal HPACK and no state of its own."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

from tests.security.recording import WAIT_S

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
INITIAL_WINDOW_SIZE = 0x4
FRAME_HEAD_BYTES = 9
INDEXED_STATUS = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}
"""Statuses of HPACK's static table (RFC 7541 appendix A)."""
LITERAL_STATUS = (0x08, 0x48, 0x18)
"""First bytes of a literal field whose name is entry 8, `:status`."""
DIGITS = {
    0b00000: b"0", 0b00001: b"1", 0b00010: b"2", 0b011001: b"3", 0b011010: b"4", 0b011011: b"5",
    0b011100: b"6", 0b011101: b"7", 0b011110: b"8", 0b011111: b"9",
}  # fmt: skip
"""HPACK's code of the digits: five bits for 0, 1 and 2, six for the others (RFC 7541 appendix B)."""

Field = tuple[bytes, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def block(*fields: Field) -> bytes:
    """A field block of literals that are not indexed."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)


def request(*fields: Field, method: bytes = b"GET", path: bytes = b"/", authority: bytes = b"a.example") -> bytes:
    """The field block of a request."""
    pseudo = (b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", authority)
    return block(*pseudo, *fields)


def _text(data: bytes) -> bytes:
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, length = len(data) - 127, b"\x7f"
    while rest >= 128:
        length += bytes((rest % 128 + 128,))
        rest //= 128
    return length + bytes((rest,)) + data


class FrameClient:
    """One connection in HTTP/2 with prior knowledge; the preface and SETTINGS are sent at once."""

    def __init__(self, address: str, settings: bytes = b"") -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=WAIT_S)
        self._pending = b""
        self.goaway: int | None = None
        """The error code of the node's GOAWAY, once one came."""
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> bool:
        """Send frames; false when the node has closed."""
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def frames(self) -> tuple[int, int, int, bytes] | None:
        """The next frame: kind, flags, stream, payload. None when the connection ended."""
        while len(self._pending) < FRAME_HEAD_BYTES or len(self._pending) < self._length():
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._pending += data
        taken, self._pending = self._pending[: self._length()], self._pending[self._length() :]
        kind, flags, stream = taken[3], taken[4], struct.unpack(">I", taken[5:9])[0]
        if kind == GOAWAY:
            self.goaway = struct.unpack(">I", taken[13:17])[0]
        return kind, flags, stream, taken[FRAME_HEAD_BYTES:]

    def outcome(self, stream: int) -> int | str:
        """How a stream ends: its status when it was answered whole, else `reset` or `closed`."""
        status = 0
        while (got := self.frames()) is not None:
            kind, flags, number, payload = got
            if number != stream:
                continue
            if kind == RST_STREAM:
                return "reset"
            if kind == HEADERS:
                status = _status(payload)
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                return status
        return "closed"

    def head(self, stream: int) -> int:
        """The status of the next head on a stream, interim ones too; 0 when the connection ended."""
        while (got := self.frames()) is not None:
            if got[0] == HEADERS and got[2] == stream:
                return _status(got[3])
        return 0

    def until_closed(self) -> None:
        """Read until the node ends the connection."""
        while self.frames() is not None:
            continue

    def _length(self) -> int:
        return FRAME_HEAD_BYTES + int.from_bytes(self._pending[:3], "big")


def _status(payload: bytes) -> int:
    while payload[0] & 0xE0 == 0x20:  # a new size of the table (RFC 7541 section 6.3)
        payload = payload[1:]
    if payload[0] in INDEXED_STATUS:
        return INDEXED_STATUS[payload[0]]
    assert payload[0] in LITERAL_STATUS, payload
    length, coded = payload[1] & 0x7F, payload[1] & 0x80
    value = payload[2 : 2 + length]
    return int(_digits(value) if coded else value)


def _digits(coded: bytes) -> bytes:
    bits, text = "".join(f"{byte:08b}" for byte in coded), b""
    while len(text) < 3:
        size = 5 if int(bits[:5], 2) in (0, 1, 2) else 6
        text, bits = text + DIGITS[int(bits[:size], 2)], bits[size:]
    return text
