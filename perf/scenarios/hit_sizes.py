"""Larger objects from the cache. NGINX runs corked and uncorked (tcp_nopush): the better one counts at every size."""

from __future__ import annotations

from perf import bodies
from perf.bench import Bench
from perf.http3_columns import over_http3
from perf.load import Load
from perf.own_load import Door
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 30
CONNECTIONS = {"16k": 32, "100k": 32, "1m": 16, "10m": 8}
QUICK_SIZES = ("1m",)
DOORS: tuple[Door, ...] = ("h1", "tls", "h2")
WORDS = {"h1": "HTTP/1.1", "tls": "TLS 1.3", "h2": "HTTP/2 over TLS 1.3"}
BARRED = ("1m-h1", "1m-tls")
HTTP3_SIZES = ("100k", "1m")
HTTP3_CONNECTIONS = 4  # of ten streams each


def run(bench: Bench) -> list[Measure]:
    peers = bench.start(needs=("store", "tls", "h2"), variants=True, only=("headland", "nginx-tuned"))
    measures = []
    for size, connections in CONNECTIONS.items():
        if bench.pace.quick and size not in QUICK_SIZES:
            continue
        for door in DOORS[:1] if bench.pace.quick else DOORS:
            path = f"/hit/{size}"
            bench.warm(peers, path, size, door=door)
            key = f"{size}-{door}"
            measure = Measure(key, f"{size} hit, {WORDS[door]}", "us CPU/request")
            load = Load(path, bodies.SIZES[size], door, connections)
            pace = bench.pace if key in BARRED else bench.pace.in_short()
            measures.append(bench.cpu_per_request(measure, peers, load, pace=pace))
            bench.warm(peers, path, size, door=door)
    if not bench.pace.quick:
        bench.stop(peers)
        for size in HTTP3_SIZES:
            measures += over_http3(bench, f"/hit/{size}", size, HTTP3_CONNECTIONS, bench.pace.in_short())
    return measures


SCENARIO = Scenario(
    "hit-sizes",
    "Hit, 16 KiB to 10 MiB",
    "Cached objects of four sizes over three doors; server's CPU per request.",
    (Bar("1m-h1", 1.0), Bar("1m-tls", 0.9)),
    run,
)
