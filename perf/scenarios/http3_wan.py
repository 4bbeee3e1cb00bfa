"""HTTP/3 beside our own HTTP/2 for a visitor 50 ms away over a link that loses packets."""

from __future__ import annotations

import dataclasses

from perf import bodies, open_load, wan
from perf.bench import Bench
from perf.open_load import Arrivals
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario
from perf.scenarios.http3 import ANEW, first, pair, whole

ORDER = 36
LINK = wan.Link(delay_ms=25.0, loss_percent=1.0, mbit=100.0)
EARLY_US = 55_000.0
"""One round trip and 5 ms."""
RATE = 20.0
"""New connections a second, each for one small hit."""
LARGE_RATE = 2.0
EARLY_WARM_S = 1.0
"""In which the first sessions come."""


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    with wan.up(LINK, bench.folder, bench.cores.load) as up:
        peer = bench.start(needs=("h3", "store"), only=("headland",), listen=up.near_address)[0]
        for size in ("1k", "1m"):
            bench.warm([peer], f"/hit/{size}", size, door="tls")
        small = dataclasses.replace(ANEW, rate=RATE, seconds=bench.pace.seconds)
        measures = pair(bench, peer, "ttfb", "TTFB of a hit, new connection", small, first, up.far)
        measures += [_early(bench, peer, small, up.far)]
        large = dataclasses.replace(ANEW, path="/hit/1m", body_bytes=bodies.SIZES["1m"], rate=LARGE_RATE)
        measures += pair(bench, peer, "1m", "1 MiB, new connection, to its last byte", large, whole, up.far)
        bench.stop([peer])
    return measures


def _early(bench: Bench, peer: Peer, what: Arrivals, prefix: tuple[str, ...]) -> Measure:
    """The median: one packet in a hundred is lost."""
    measure = Measure("early", "TTFB of a hit, resumed connection, 0-RTT", "us")
    asked = dataclasses.replace(what, door="h3", resume=True, early=True, warm_s=EARLY_WARM_S)
    for number in range(bench.pace.rounds):
        waits = open_load.run(asked, peer, bench.cores.load, prefix)
        bench.commands["early"] = waits.command
        measure.add(peer.name, waits.first_byte_us("p50"), latency_us=waits.report["first_byte"])
        bench.progress(f"  early    round {number + 1}/{bench.pace.rounds}  {waits.first_byte_us('p50'):9.1f} us")
    return measure


SCENARIO = Scenario(
    "http3-wan",
    "HTTP/3 beside HTTP/2, visitor 50 ms away",
    f"{LINK.delay_ms:g} ms each way, {LINK.loss_percent:g} % loss, {LINK.mbit:g} Mbit/s; open loop, medians.",
    (
        Bar("ttfb-ratio", 0.7, kind="absolute"),
        Bar("early", EARLY_US, kind="absolute"),
        Bar("1m-ratio", 1.0, kind="absolute"),
    ),
    run,
    by_name=True,
)
