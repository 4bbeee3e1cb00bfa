"""An origin that takes its time: `python -m perf.slow_origin PORT`.

Below /slow/ it sends the body `10m` after 500 ms at 10 MB/s, on every path of its own, and counts how often it was
asked; /count/slow/... tells. /ready answers at once.
"""

from __future__ import annotations

import asyncio
import sys

from perf import bodies

FIRST_BYTE_S = 0.5
BYTES_PER_S = 10_000_000
TICK_S = 0.01
NAME = "10m"


async def serve(port: int) -> None:
    """Serve until killed."""
    body = bodies.body(NAME)
    asked: dict[str, int] = {}

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode("ascii")
                if path.startswith("/slow/"):
                    asked[path] = asked.get(path, 0) + 1
                    await _slowly(writer, body)
                else:
                    text = (
                        str(asked.get(path.removeprefix("/count"), 0)).encode()
                        if path.startswith("/count")
                        else b"ready"
                    )
                    writer.write(_head(len(text), "no-store") + text)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", port)
    await server.serve_forever()


async def _slowly(writer: asyncio.StreamWriter, body: bytes) -> None:
    await asyncio.sleep(FIRST_BYTE_S)
    clock = asyncio.get_running_loop().time
    start, sent = clock(), 0
    writer.write(_head(len(body), "public, max-age=3600"))
    while sent < len(body):
        allowed = int((clock() - start + TICK_S) * BYTES_PER_S)
        writer.write(body[sent:allowed])
        await writer.drain()
        sent = min(allowed, len(body))
        await asyncio.sleep(TICK_S)


def _head(length: int, policy: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nCache-Control: {policy}\r\n\r\n".encode("ascii")


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
