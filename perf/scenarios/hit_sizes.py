"""Larger objects from the cache. NGINX runs corked and uncorked (tcp_nopush): the better one counts at every size."""

from __future__ import annotations

from perf import bodies
from perf.bench import Bench
from perf.load import Door, Load
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 30
CONNECTIONS = {"16k": 32, "100k": 32, "1m": 16, "10m": 8}
QUICK_SIZES = ("1m",)
DOORS: tuple[Door, ...] = ("h1", "tls")


def run(bench: Bench) -> list[Measure]:
    peers = bench.start(needs=("store", "tls"), variants=True)
    measures = []
    for size, connections in CONNECTIONS.items():
        if bench.pace.quick and size not in QUICK_SIZES:
            continue
        for door in DOORS[:1] if bench.pace.quick else DOORS:
            path = f"/hit/{size}"
            bench.warm(peers, path, size, door=door)
            measure = Measure(
                f"{size}-{door}", f"{size} hit, {'TLS 1.3' if door == 'tls' else 'HTTP/1.1'}", "us CPU/request"
            )
            load = Load(path, bodies.SIZES[size], door, connections)
            measures.append(bench.cpu_per_request(measure, peers, load))
            bench.warm(peers, path, size, door=door)
    return measures


SCENARIO = Scenario(
    "hit-sizes",
    "Hit, 16 KiB to 10 MiB",
    "Cached objects of four sizes over HTTP/1.1 and TLS; server's CPU per request.",
    (Bar("1m-h1", 1.0), Bar("1m-tls", 0.9)),
    run,
)
