"""HTTP/3 beside our own HTTP/2: the same requests at the same rate by one generator, so the ratio is the protocols'."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from perf import bodies, open_load
from perf.bench import Bench
from perf.open_load import Arrivals, Waits
from perf.own_load import Door
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 35
RATE = 4_000.0
HANDSHAKES = 200.0
HUGE = 100 << 20
HUGE_RATE, HUGE_SECONDS = 0.5, 4.0
DOORS: tuple[Door, ...] = ("h2", "h3")
WORDS = {"h2": "HTTP/2", "h3": "HTTP/3"}
ANEW = Arrivals("/hit/1k", 1024, HANDSHAKES, 5.0, new_connections=True, warm_s=0.0)
"""A new connection for every request."""
Reader = Callable[[Waits, float], float]


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    peer = bench.start(needs=("h3", "store"), only=("headland",))[0]
    for size in ("1k", "10m"):
        bench.warm([peer], f"/hit/{size}", size, door="tls")
    many = Arrivals("/hit/1k", 1024, RATE, bench.pace.seconds, connections=4, warm_s=0.0)
    measures = [*pair(bench, peer, "hit", "1 KiB hit, 4 connections", many, _cost)]
    for resume in (False, True):
        key, words = ("resumed", "resumed") if resume else ("full", "full")
        anew = Arrivals(
            "/hit/1k", 1024, HANDSHAKES, bench.pace.seconds, new_connections=True, warm_s=0.0, resume=resume
        )
        measures += pair(bench, peer, key, f"{words} handshake and one hit", anew, _cost)
    large = Arrivals("/hit/10m", bodies.SIZES["10m"], 4.0, bench.pace.seconds, connections=1, poisson=False)
    measures += pair(bench, peer, "10m", "10 MiB, one connection, to its last byte", large, whole)
    bench.stop([peer])
    return measures + _huge(bench)


def _huge(bench: Bench) -> list[Measure]:
    """100 MiB at a time on one connection: the ratio of the times is that of what comes in a second, the other way."""
    bench.origin.make_sized([HUGE])
    peer = bench.start(needs=("h3",), only=("headland",), disk='object_max = "128MiB"')[0]
    path = f"/sized/{HUGE}/x"
    bench.warm([peer], path, str(HUGE), door="tls")
    huge = Arrivals(path, HUGE, HUGE_RATE, HUGE_SECONDS, connections=1, poisson=False, warm_s=0.0)
    measures = pair(bench, peer, "100m", "100 MiB, one connection, to its last byte", huge, whole)
    bench.stop([peer])
    return measures


def _cost(waits: Waits, cpu_s: float) -> float:
    """Microseconds of the server's CPU per answer."""
    return cpu_s / waits.report["answered"] * 1e6


def whole(waits: Waits, _cpu_s: float) -> float:
    """Microseconds to the last byte."""
    return waits.whole_us("p50")


def first(waits: Waits, _cpu_s: float) -> float:
    """Microseconds to the first byte."""
    return waits.first_byte_us("p50")


def pair(  # noqa: PLR0917 - one row of a table
    bench: Bench, peer: Peer, key: str, title: str, what: Arrivals, read: Reader, prefix: tuple[str, ...] = ()
) -> list[Measure]:
    """A measure for each protocol, and one for the ratio of each round."""
    each = {door: Measure(f"{key}-{door}", f"{title}, {WORDS[door]}", "us") for door in DOORS}
    ratio = Measure(f"{key}-ratio", f"{title}: HTTP/3 / HTTP/2", "x")
    for number in range(bench.pace.rounds):
        values = {}
        for door in DOORS:
            before = peer.cost(memory=False)
            waits = open_load.run(dataclasses.replace(what, door=door), peer, bench.cores.load, prefix)
            values[door] = read(waits, peer.cost(memory=False).since(before).cpu_s)
            bench.commands[f"{key} {door}"] = waits.command
            each[door].add(peer.name, values[door], latency_us=waits.report["first_byte"])
        ratio.add(peer.name, values["h3"] / values["h2"])
        told = ", ".join(f"{WORDS[door]} {value:9.1f} us" for door, value in values.items())
        bench.progress(f"  {key:8} round {number + 1}/{bench.pace.rounds}  {told}")
    return [*each.values(), ratio]


SCENARIO = Scenario(
    "http3",
    "HTTP/3 beside HTTP/2",
    f"One node, one generator, {RATE:g} requests a second over each protocol; its own HTTP/2 is the measure.",
    (
        Bar("hit-ratio", 3.0, kind="absolute"),
        Bar("10m-ratio", 2.0, kind="absolute"),
        Bar("100m-ratio", 2.0, kind="absolute"),
    ),
    run,
    by_name=True,
)
