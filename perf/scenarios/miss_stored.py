"""Every request asks for a new object that is then stored: what crawlers, long tails and cold nodes cost."""

from __future__ import annotations

from perf.bench import Bench
from perf.load import Load, unique_path
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 25
PREFIX = "/miss/"


def run(bench: Bench) -> list[Measure]:
    peers = [peer for peer in bench.start(needs=("store",)) if peer.process]
    _is_stored(bench, peers)
    measure = bench.cpu_per_request(
        Measure("h1", "1 KiB miss, stored", "us CPU/request"), peers, Load(PREFIX, 1024, unique=True)
    )
    _is_stored(bench, peers)
    return [measure]


def _is_stored(bench: Bench, peers: list[Peer]) -> None:
    """A miss that is not a hit the second time was not stored, and its cost would be another's."""
    for peer in peers:
        path = unique_path(PREFIX)
        bench.check(peer, path, "1k", verdict="miss")
        bench.check(peer, path, "1k", verdict="hit")


SCENARIO = Scenario(
    "miss-stored",
    "Miss that is stored, 1 KiB",
    "Unique URLs, 32 connections. NGINX stores on disk (page cache), the node as its profile says; one filesystem.",
    (Bar("h1", 0.6, goal=0.40),),
    run,
)
