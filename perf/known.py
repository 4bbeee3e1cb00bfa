"""A server whose cost and delay are known, to measure the harness itself with: `python -m perf.known PORT [flags]`.

Every path answers 200 with the body `1k` after `--delay-ms` of waiting and `--burn-us` of computing, marked as a hit;
`--wrong` flips one byte of it, `--short` announces and sends one byte less. It reads heads only and forgives nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from perf import bodies


def answer(*, wrong: bool, short: bool) -> bytes:
    """The whole answer on the wire."""
    body = bytearray(bodies.body("1k"))
    if wrong:
        body[512] ^= 1
    if short:
        body.pop()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Cache: HIT\r\n\r\n" % len(body) + bytes(body)


async def serve(port: int, wire: bytes, delay_s: float, burn_s: float) -> None:
    """Serve until cancelled."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                if delay_s:
                    await asyncio.sleep(delay_s)
                until = time.thread_time() + burn_s
                while time.thread_time() < until:
                    pass
                writer.write(wire)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Read the flags and serve."""
    parser = argparse.ArgumentParser("python -m perf.known", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--burn-us", type=float, default=0.0)
    parser.add_argument("--wrong", action="store_true")
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    wire = answer(wrong=options.wrong, short=options.short)
    asyncio.run(serve(options.port, wire, options.delay_ms / 1e3, options.burn_us / 1e6))


if __name__ == "__main__":
    main()
