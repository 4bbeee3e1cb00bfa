"""The bodies that the origin serves: made, not stored, and such that a mixed or shifted byte is noticed.

Every 64-byte line carries its own offset and the body's name, so that no two places of any two bodies are alike.
"""

from __future__ import annotations

from collections.abc import Iterator

LINE_BYTES = 64
SIZES: dict[str, int] = {
    "1k": 1024,
    "16k": 16 * 1024,
    "100k": 100 * 1024,
    "1m": 1024 * 1024,
    "10m": 10 * 1024 * 1024,
}


def body(name: str) -> bytes:
    """The body called `name`: a key of SIZES, or a number of bytes."""
    size = SIZES.get(name) or int(name)
    lines = (f"{name}:{offset:010d}:".ljust(LINE_BYTES - 1, "x") + "\n" for offset in range(0, size, LINE_BYTES))
    return "".join(lines).encode("ascii")[:size]


def pieces(size: int) -> Iterator[bytes]:
    """A body too large to be held, in pieces of 1 MiB, each of which begins with its own number."""
    piece = bytearray(body("1m"))
    for number in range(-(-size // len(piece))):
        piece[:LINE_BYTES] = f"piece:{number:010d}:".ljust(LINE_BYTES - 1, "x").encode("ascii") + b"\n"
        yield bytes(piece[: size - number * len(piece)])
