"""Misses before an origin that is 30 ms away and speaks TLS, through eight workers: what a shared pool is for.

The origin closes connections that were idle for 5 s, as Apache does by default. Each worker of a node with a pool
per worker then sees a miss too rarely to keep one open: TCP and TLS handshakes make one round trip into three.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from perf import open_load, wan
from perf.bench import Bench
from perf.load import unique_path
from perf.open_load import Arrivals
from perf.origin import Place
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario
from perf.wan import Link

ORDER = 60
DELAY_MS = 15.0
ROUND_TRIP_US = 2 * DELAY_MS * 1000
WORKERS = "8"
KEEPALIVE = "5s"
PAUSE_S = 8.0  # beyond the origin's keep-alive: what was idle is closed
STEADY_S = {5: 30.0, 20: 15.0, 100: 15.0}  # by requests per second
RATES = tuple(STEADY_S)
QUICK_S = 5.0


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    with wan.up(Link(DELAY_MS), bench.folder, bench.cores.load) as link:
        bench.place_origin(Place(link.address, link.far, KEEPALIVE))
        peers = bench.start(
            needs=("store",),
            only=("headland", "nginx-tuned"),
            origin_scheme="https",
            origin=f"{link.address}:{bench.origin.https}",
            workers=WORKERS,
        )
        measures = [measure for rate in _rates(bench) for measure in _steady(bench, peers, rate)]
        measures.append(_after_pauses(bench, peers))
        bench.stop(peers)
    return measures


def _rates(bench: Bench) -> Sequence[int]:
    return RATES[:1] if bench.pace.quick else RATES


def _steady(bench: Bench, peers: list[Peer], rate: int) -> tuple[Measure, ...]:
    """p95 of the time to first byte, full handshakes with the origin per 1,000 requests, and the share without."""
    waits = Measure(str(rate), f"TTFB p95 of misses, {rate}/s, origin 30 ms away", "us")
    opened = Measure(f"{rate}-opened", f"Origin connections opened per 1,000 misses, {rate}/s", "per 1,000")
    reused = Measure(f"{rate}-reused", f"Misses that found a connection, {rate}/s", "%")
    seconds = QUICK_S if bench.pace.quick else STEADY_S[rate]
    for peer in peers:
        prefix = unique_path("/counted/")
        what = Arrivals(prefix, 1024, rate, seconds, warm_s=3.0, unique=True, verdict="miss")
        before = len(set(_connections(bench)))
        result = open_load.run(what, peer, bench.cores.load)
        after = len(set(_connections(bench)))
        asked = sum(path.startswith(prefix) for _, path in bench.origin.counted())
        bench.commands[f"{rate}/s {peer.name}"] = result.command
        _add(waits, peer, result)
        opened.add(peer.name, (after - before) / asked * 1000)
        reused.add(peer.name, (1 - (after - before) / asked) * 100)
        p95 = result.first_byte_us("p95")
        bench.progress(
            f"  {rate:3}/s  {peer.name:22} p95 {p95 / 1000:6.1f} ms, {after - before} connections for {asked}"
        )
    return waits, opened, reused


def _after_pauses(bench: Bench, peers: list[Peer]) -> Measure:
    """The first misses after nobody asked for longer than the origin waits: is a connection still warm?"""
    measure = Measure("pause", f"TTFB of the first miss after {PAUSE_S:g} s without any", "us")
    for _ in range(1 if bench.pace.quick else 3):
        time.sleep(PAUSE_S)
        for peer in peers:
            what = Arrivals(
                unique_path("/counted/"), 1024, 1.0, 0.5, connections=1, warm_s=0.0, unique=True, verdict="miss"
            )
            _add(measure, peer, open_load.run(what, peer, bench.cores.load))
    measure.notes.append(f"one round trip is {ROUND_TRIP_US:.0f} us; a new connection over TLS 1.3 adds two")
    return measure


def _add(measure: Measure, peer: Peer, result: open_load.Waits) -> None:
    key = "p95" if measure.key != "pause" else "p50"
    report = result.report
    measure.add(
        peer.name,
        result.first_byte_us(key),
        result.spoiled(key),
        latency_us=report["first_byte"],
        late_us=report["late"],
        curve=report["curve"],
    )


def _connections(bench: Bench) -> list[int]:
    return [connection for connection, _ in bench.origin.counted()]


SCENARIO = Scenario(
    "wan-miss",
    "Misses, origin 30 ms away",
    "TLS origin, 15 ms each way, that closes connections idle for 5 s; eight workers; open loop, new URLs.",
    (Bar("5", 0.35), Bar("5", ROUND_TRIP_US + 3000, kind="absolute")),
    run,
)
