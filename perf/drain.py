"""`python -m perf.drain ADDRESS PORT PATH`: one answer over HTTP/1.1, read as it comes, its length and hash told.

A program of its own, so that it can be pinned beside the other load; nothing of the body is kept.
"""

from __future__ import annotations

import re
import socket
import sys
import time

import orjson
import xxhash

from perf.http_client import HOST, TIMEOUT_S

ROOM_BYTES = 1024 * 1024
HEAD_BYTES_MAX = 64 * 1024


def drain(address: str, port: int, path: str) -> dict[str, object]:
    """Status, length as declared, bytes that came, their hash, and the seconds from the request to the last byte."""
    room = bytearray(ROOM_BYTES)
    view = memoryview(room)
    with socket.create_connection((address, port), timeout=TIMEOUT_S) as connection:
        begun = time.monotonic()
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode("ascii"))
        head, came = _head(connection)
        hashed = xxhash.xxh3_128(came)
        status = int(head.split(b" ", 2)[1])
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        length = int(found[1]) if found else -1
        count = len(came)
        while count < length:
            got = connection.recv_into(view)
            if not got:
                break
            hashed.update(view[:got])
            count += got
        seconds = time.monotonic() - begun
    return {"status": status, "length": length, "bytes": count, "xxh3": hashed.hexdigest(), "seconds": seconds}


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head, and what came of the body with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        got = connection.recv(HEAD_BYTES_MAX)
        if not got or len(data) > HEAD_BYTES_MAX:
            raise ConnectionError("no whole head came")
        data += got
    head, _, came = data.partition(b"\r\n\r\n")
    return head, came


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(drain(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
