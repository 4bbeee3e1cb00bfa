"""HTTP/3 beside our own HTTP/2 for a visitor 50 ms away over a link that loses packets."""

from __future__ import annotations

import dataclasses

from perf import bodies, open_load, wan
from perf.bench import Bench
from perf.results import Bar, Measure
from perf.scenario import Scenario
from perf.scenarios.http3 import ANEW, first, pair, whole

ORDER = 36
LINK = wan.Link(delay_ms=25.0, loss_percent=1.0, mbit=100.0)
RATE = 20.0
"""New connections a second, each for one small hit."""
LARGE_RATE = 2.0


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    with wan.up(LINK, bench.folder, bench.cores.load) as up:
        peer = bench.start(needs=("h3", "store"), only=("headland",), listen=up.near_address)[0]
        for size in ("1k", "1m"):
            bench.warm([peer], f"/hit/{size}", size, door="tls")
        small = dataclasses.replace(ANEW, rate=RATE, seconds=bench.pace.seconds)
        measures = pair(bench, peer, "ttfb", "TTFB of a hit, new connection", small, first, up.far)
        large = dataclasses.replace(ANEW, path="/hit/1m", body_bytes=bodies.SIZES["1m"], rate=LARGE_RATE)
        measures += pair(bench, peer, "1m", "1 MiB, new connection, to its last byte", large, whole, up.far)
        bench.stop([peer])
    return measures


SCENARIO = Scenario(
    "http3-wan",
    "HTTP/3 beside HTTP/2, visitor 50 ms away",
    f"{LINK.delay_ms:g} ms each way, {LINK.loss_percent:g} % loss, {LINK.mbit:g} Mbit/s; open loop, medians.",
    (Bar("ttfb-ratio", 0.7, kind="absolute"), Bar("1m-ratio", 1.0, kind="absolute")),
    run,
    by_name=True,
)
