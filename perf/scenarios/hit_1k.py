"""A small object from the cache, over the four doors: what most requests of a CDN are."""

from __future__ import annotations

from perf.bench import Bench
from perf.http3_columns import over_http3
from perf.load import Load
from perf.own_load import Door
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 10
PATH = "/hit/1k"
TITLES: dict[Door, str] = {
    "h1": "1 KiB hit, HTTP/1.1",
    "tls": "1 KiB hit, TLS 1.3",
    "h2": "1 KiB hit, HTTP/2 over TLS 1.3, 10 streams",
}


def run(bench: Bench) -> list[Measure]:
    started = [peer for peer in bench.start(needs=("h1",), variants=not bench.pace.quick) if peer.process]
    measures = []
    for door, title in TITLES.items():
        peers = [peer for peer in started if door in peer.profile.capabilities]
        bench.warm(peers, PATH, "1k", door=door)
        measure = Measure(door, title, "us CPU/request")
        measures.append(bench.cpu_per_request(measure, peers, Load(PATH, 1024, door)))
        bench.warm(peers, PATH, "1k", door=door)
    if not bench.pace.quick:
        bench.stop(started)
        measures += over_http3(bench, PATH, "1k")
    return measures


SCENARIO = Scenario(
    "hit-1k",
    "Hit, 1 KiB",
    "32 connections, request headers of a browser, one object in the cache; server's CPU per request.",
    (
        Bar("h1", 0.75, goal=0.60),
        Bar("tls", 0.85, goal=0.70),
        Bar("h2", 0.85, goal=0.75),
        Bar("1k-h3", 0.9, reference="nginx-http3"),
        Bar("1k-h3-over-h2", 3.0, kind="absolute"),
    ),
    run,
)
