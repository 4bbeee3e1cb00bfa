"""Answers that may not be stored: the node as a plain proxy with kept-alive connections to the origin."""

from __future__ import annotations

from perf.bench import Bench
from perf.load import Load
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 20
PATH = "/nocache/1k"


def run(bench: Bench) -> list[Measure]:
    peers = [peer for peer in bench.start(needs=("store",)) if peer.process]
    for peer in peers:
        bench.check(peer, PATH, "1k", verdict="miss")
    measure = bench.cpu_per_request(
        Measure("h1", "1 KiB proxied, not stored", "us CPU/request"), peers, Load(PATH, 1024)
    )
    for peer in peers:
        bench.check(peer, PATH, "1k", verdict="miss")
    return [measure]


SCENARIO = Scenario(
    "proxy",
    "Proxied, uncacheable 1 KiB",
    "no-store answers through the node, 32 connections. NGINX is told that the path is never cached.",
    (Bar("h1", 1.0),),
    run,
)
