"""Misses that come in one by one, before an origin that is 30 ms away and speaks TLS, after two minutes of silence.

What the first of them meet is what was kept open for nobody: connections to an origin that closes what is idle for 5 s.
"""

from __future__ import annotations

import time

from perf import open_load, wan
from perf.bench import Bench
from perf.load import unique_path
from perf.open_load import Arrivals
from perf.origin import Place
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario
from perf.scenarios.wan_miss import DELAY_MS, KEEPALIVE, RATES, ROUND_TRIP_US, WORKERS
from perf.wan import Link

ORDER = 61
SILENCE_S = 120.0
SECONDS = 10.0


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    with wan.up(Link(DELAY_MS), bench.folder, bench.cores.load) as link:
        bench.place_origin(Place(link.address, link.far, KEEPALIVE))
        (peer,) = bench.start(
            needs=("store",),
            only=("headland",),
            origin_scheme="https",
            origin=f"{link.address}:{bench.origin.https}",
            workers=WORKERS,
        )
        measures = [measure for rate in RATES for measure in _waits(bench, peer, rate, 0.0)]
        measures += _waits(bench, peer, RATES[0], SILENCE_S)
        measures += _floor(bench)
        bench.stop([peer])
    return measures


def _waits(bench: Bench, peer: Peer, rate: int, silence_s: float) -> list[Measure]:
    time.sleep(silence_s)
    warm_s = 0.0 if silence_s else 3.0
    what = Arrivals(unique_path("/counted/"), 1024, rate, SECONDS, warm_s=warm_s, unique=True, verdict="miss")
    result = open_load.run(what, peer, bench.cores.load)
    measures = []
    for quantile in ("p50", "p99"):
        after = f" after {silence_s:g} s of none" if silence_s else ""
        key = f"{rate}{'-silence' if silence_s else ''}-{quantile}"
        measure = Measure(key, f"TTFB {quantile} of misses, {rate}/s{after}", "us")
        measure.add(peer.name, result.first_byte_us(quantile), result.spoiled(quantile))
        measures.append(measure)
    return measures


def _floor(bench: Bench) -> list[Measure]:
    """The same of the origin itself, asked over kept connections: what the way takes on this machine."""
    (origin,) = bench.start(only=("direct",))
    what = Arrivals(
        unique_path("/counted/"),
        1024,
        RATES[1],
        SECONDS,
        door="tls",
        connections=4,
        warm_s=3.0,
        unique=True,
        verdict="",
    )
    result = open_load.run(what, origin, bench.cores.load)
    measures = []
    for quantile in ("p50", "p99"):
        measure = Measure(f"floor-{quantile}", f"TTFB {quantile} of the origin asked directly, {RATES[1]}/s", "us")
        measure.add(origin.name, result.first_byte_us(quantile), result.spoiled(quantile))
        measures.append(measure)
    return measures


def _bars() -> tuple[Bar, ...]:
    keys = [f"{rate}" for rate in RATES] + [f"{RATES[0]}-silence"]
    return tuple(
        Bar(f"{key}-{quantile}", ROUND_TRIP_US + more, kind="absolute")
        for key in keys
        for quantile, more in (("p50", 1_000), ("p99", 3_000))
    )


SCENARIO = Scenario(
    "wan-miss-silence",
    "Misses after silence, origin 30 ms away",
    "as wan-miss, p50 and p99 of 5, 20 and 100 misses per second, and of 5 per second after two minutes without any.",
    _bars(),
    run,
    by_name=True,
)
