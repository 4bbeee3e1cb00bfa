"""Answers that may not be stored: the node as a proxy with kept-alive connections to the origin, clear and TLS."""

from __future__ import annotations

from perf.bench import Bench
from perf.load import Load
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 20
PATH = "/nocache/1k"


def run(bench: Bench) -> list[Measure]:
    clear = bench.start(needs=("store",))
    measures = [_proxied(bench, clear, Measure("h1", "1 KiB proxied, not stored", "us CPU/request"))]
    bench.stop(clear)
    secure = bench.start(needs=("store",), origin_scheme="https", origin=f"127.0.0.1:{bench.origin.https}")
    title = "1 KiB proxied, not stored, TLS to the origin"
    return [*measures, _proxied(bench, secure, Measure("tls-origin", title, "us CPU/request"))]


def _proxied(bench: Bench, started: list[Peer], measure: Measure) -> Measure:
    peers = [peer for peer in started if peer.process]
    for peer in peers:
        bench.check(peer, PATH, "1k", verdict="miss")
    measure = bench.cpu_per_request(measure, peers, Load(PATH, 1024))
    for peer in peers:
        bench.check(peer, PATH, "1k", verdict="miss")
    return measure


SCENARIO = Scenario(
    "proxy",
    "Proxied, uncacheable 1 KiB",
    "no-store answers through the node, 32 connections. NGINX is told that the path is never cached.",
    (Bar("h1", 1.0, goal=0.8), Bar("tls-origin", 1.0, goal=0.8)),
    run,
)
