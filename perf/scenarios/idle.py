"""What a kept connection weighs while nothing happens on it: thousands of them, each after one request."""

from __future__ import annotations

import contextlib
import http.client
import resource

from perf.bench import Bench
from perf.http_client import connected, get
from perf.peer import Peer
from perf.results import Measure
from perf.scenario import Scenario

ORDER = 75
CONNECTIONS = 3_000
QUICK_CONNECTIONS = 200
SPARE_DESCRIPTORS = 200
PATH = "/hit/1k"


def run(bench: Bench) -> list[Measure]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = QUICK_CONNECTIONS if bench.pace.quick else CONNECTIONS
    count = min(wanted, (hard if hard > 0 else wanted * 2) - SPARE_DESCRIPTORS)
    if count + SPARE_DESCRIPTORS > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + SPARE_DESCRIPTORS, hard))
    measures = []
    for door, word in (("h1", "clear"), ("tls", "TLS 1.3")):
        measure = Measure(door, f"Memory per idle connection, {word}, {count:,} of them", "KiB")
        for peer in bench.start(needs=("tls", "store"), only=("headland", "nginx-tuned")):
            bench.warm([peer], PATH, "1k", door="tls" if door == "tls" else "h1")
            value = _per_connection(peer, count, tls=door == "tls") / 1024
            measure.add(peer.name, value)
            bench.progress(f"  {word:8} {peer.name:22} {value:6.1f} KiB per connection")
            bench.stop([peer])
        measures.append(measure)
    return measures


def _per_connection(peer: Peer, count: int, *, tls: bool) -> float:
    """Bytes of the server's own memory (not the kernel's buffers) that each of `count` idle connections takes."""
    with contextlib.ExitStack() as held:
        connections: list[http.client.HTTPConnection] = []
        before = peer.cost().pss_bytes
        for _ in range(count):
            connection = held.enter_context(connected(peer.address, peer.https if tls else peer.http, tls=tls))
            get(connection, PATH)
            connections.append(connection)
        return (peer.cost().pss_bytes - before) / count


SCENARIO = Scenario(
    "idle",
    "Idle connections",
    f"{CONNECTIONS:,} kept connections after one request each; growth of the server's own memory (PSS).",
    (),
    run,
)
