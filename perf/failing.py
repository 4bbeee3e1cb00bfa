"""What clients notice of origins that fail: `python -m perf.failing`, or `make failing`.

Three servers behind one node, GET misses at a fixed rate (open loop: a request falls due by the clock, and its time
counts from then). One server begins to fail, each time in another way; counted is what fails or takes over a second of
all that fell due from that moment on. Then all servers go down, nine of ten pages are stored and stale, and the stored
ones are asked for. Bars: 0.1 % and none. Exit 1 when one is missed. Everything runs on loopback in two processes: this
one is origins and clients.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

KINDS = ("refuses", "resets", "hangs", "500", "5 s")
BAD_PERCENT_MAX = 0.1
SLOW_S = 1.0
LATE_S = 5.0
"""Seconds of the server that answers late."""
STALE_PAGES = 1_000
STORED_PERCENT = 90
CONFIGURATION = """\
[node]
workers = 2
[listen]
http = "127.0.0.1:0"
[admin]
listen = "off"
state_dir = "state"
[log]
format = "off"
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = [{servers}]
[origin.app.hedge]
percent = 10
[origin.app.retries]
attempts = 3
statuses = [500, 502, 503, 504]
"""
HEAD = b"HTTP/1.1 %d Answer\r\nCache-Control: %s\r\nContent-Length: 100\r\n\r\n"


class Server:
    """One origin server, which fails as told."""

    def __init__(self) -> None:
        self.kind = ""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def fail(self, kind: str) -> None:
        """From now on."""
        self.kind = kind
        if kind == "refuses":
            await self.stop()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if self.kind == "hangs":
                    await reader.read()
                    break
                if self.kind == "resets":
                    writer.transport.abort()
                    break
                if self.kind == "5 s":
                    await asyncio.sleep(LATE_S)
                stale = b" /stale/" in head
                caching = b"max-age=0, stale-if-error=600" if stale else b"max-age=600"
                writer.write(HEAD % (500 if self.kind == "500" else 200, caching) + b"x" * 100)
        self._writers.discard(writer)
        writer.transport.abort()


@dataclass
class Tally:
    """What became of requests."""

    all: int = 0
    failed: int = 0
    slow: int = 0
    times_s: list[float] = field(default_factory=list)

    @property
    def bad_percent(self) -> float:
        return 100 * (self.failed + self.slow) / max(self.all, 1)

    def line(self) -> str:
        times = sorted(self.times_s) or [0.0]
        p99, worst = times[int(len(times) * 0.99)], times[-1]
        return (
            f"{self.all:6,} requests  {self.failed:3} failed  {self.slow:3} over 1 s  "
            f"{self.bad_percent:6.3f} %  p99 {p99 * 1000:6.1f} ms  longest {worst * 1000:7.1f} ms"
        )


class Client:
    """Kept connections to the node."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def get(self, path: str) -> int:
        """The status of a whole answer; 0 for one that broke."""
        try:
            reader, writer = self._idle.pop() if self._idle else await self._open()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
        except (OSError, asyncio.IncompleteReadError):
            return 0
        self._idle.append((reader, writer))
        return int(head[9:12])

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def timed(self, path: str, due: float, tally: Tally | None) -> None:
        """A request that was due at a time of the loop's clock."""
        status = await self.get(path)
        took = time.monotonic() - due
        if tally is not None:
            tally.all += 1
            tally.failed += status != 200
            tally.slow += status == 200 and took > SLOW_S
            tally.times_s.append(took)


async def load(client: Client, prefix: str, rate: int, seconds: float, tally: Tally | None) -> None:
    """Misses at a rate; returns when all have ended."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(client.timed(f"/{prefix}/{number}", due, tally))


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[tuple[list[Server], Client]]:
    """Three servers, a node before them, and a client."""
    servers = [Server() for _ in range(3)]
    for server in servers:
        await server.start()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "edge.toml"
        file.write_text(CONFIGURATION.format(servers=", ".join(f'"http://127.0.0.1:{each.port}"' for each in servers)))
        node = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge", "serve", "--config", file, stdout=asyncio.subprocess.PIPE
        )
        line = await node.stdout.readline() if node.stdout else b""
        serving = re.search(rb"http on 127\.0\.0\.1:(\d+)", line)
        if serving is None:
            raise SystemExit("the node does not serve")
        try:
            yield servers, Client(int(serving[1]))
        finally:
            node.kill()
            await node.wait()
            for server in servers:
                await server.stop()


async def one_fails(kind: str, rate: int, seconds: float) -> Tally:
    """One of three begins to fail."""
    tally = Tally()
    async with bench() as (servers, client):
        await load(client, "before", rate, seconds / 2, None)
        await servers[0].fail(kind)
        await load(client, "after", rate, seconds, tally)
    return tally


async def all_down(rate: int) -> tuple[Tally, Tally]:
    """All servers down: what was stored, and what was not."""
    stored, absent = Tally(), Tally()
    async with bench() as (servers, client):
        limit = STALE_PAGES * STORED_PERCENT // 100
        await load(client, "stale", rate, limit / rate, None)
        for server in servers:
            await server.stop()
        await load(client, "stale", rate, limit / rate, stored)
        await load(client, "absent", rate, (STALE_PAGES - limit) / rate, absent)
    return stored, absent


async def run(rate: int, seconds: float) -> bool:
    well = True
    for kind in KINDS:
        tally = await one_fails(kind, rate, seconds)
        well &= tally.bad_percent <= BAD_PERCENT_MAX
        print(f"one of three {kind:8} {tally.line()}", flush=True)
    stored, absent = await all_down(rate)
    print(f"all down, stored      {stored.line()}")
    print(f"all down, not stored  {absent.line()}")
    return well and stored.failed == 0


def main() -> int:
    parser = argparse.ArgumentParser("python -m perf.failing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=500, metavar="N", help="requests per second (default: 500)")
    parser.add_argument("--seconds", type=float, default=10, metavar="S", help="time after the failure (default: 10)")
    options = parser.parse_args()
    return 0 if asyncio.run(run(options.rate, options.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
