"""Purges across a fleet of three nodes that are far from each other: from the answer until the last node applied.

Each node stands behind a link of its own, the message server where the links meet. Whatever carries a purge, it takes
the way from one node to the other; what is above that is the fleet's own.
"""

from __future__ import annotations

from contextlib import ExitStack

from perf import wan
from perf.bench import Bench
from perf.fleet import NAMES, Bus, Node, Spot, whole
from perf.results import Bar, Measure
from perf.scenario import Scenario
from perf.spreading import spread_ms
from perf.wan import Link

ORDER = 93
ONE_WAY_MS = (50.0, 100.0)
ABOVE_MS = 20.0


def run(bench: Bench) -> list[Measure]:
    return [_across(bench, one_way_ms) for one_way_ms in (ONE_WAY_MS[:1] if bench.pace.quick else ONE_WAY_MS)]


def _across(bench: Bench, one_way_ms: float) -> Measure:
    measure = Measure(
        f"{one_way_ms:g}",
        f"From the answer until the last node applied, {one_way_ms:g} ms one way between nodes, p99",
        "ms",
    )
    folder = bench.folder / f"{one_way_ms:g}"
    folder.mkdir()
    with ExitStack() as stack:
        hub, arms = stack.enter_context(wan.star(Link(one_way_ms / 2), len(NAMES), folder, bench.cores.load))
        bus = Bus(folder / "bus", bench.cores, "0.0.0.0", hub)
        stack.callback(bus.stop)
        nodes = []
        for name, arm in zip(NAMES, arms, strict=True):
            nodes.append(Node(name, folder, bus, bench.cores, Spot(arm.prefix, arm.hub, arm.space)))
            stack.callback(nodes[-1].stop)
            nodes[-1].start()
        whole(nodes)
        for _ in range(bench.pace.rounds):
            spread_ms(bench, measure, nodes)
    return measure


SCENARIO = Scenario(
    "purge-wan",
    "Purges across a fleet, far apart",
    "Three nodes in network namespaces, 25 ms from the message server, so 50 ms from each other; and twice that.",
    tuple(Bar(f"{one_way_ms:g}", one_way_ms + ABOVE_MS, kind="absolute") for one_way_ms in ONE_WAY_MS),
    run,
    by_name=True,
)
