"""Purges across a fleet of three: from the answer until the last node applied; how soon one that was down is back."""

from __future__ import annotations

import time
from contextlib import ExitStack

from perf import purges
from perf.bench import Bench
from perf.errors import WrongAnswerError
from perf.fleet import NAMES, Bus, Node, Spot, whole
from perf.results import Bar, Measure
from perf.scenario import Scenario
from perf.spreading import spread_ms

ORDER = 92
MISSED, QUICK_MISSED = 100_000, 5_000
CLIENTS = 64
PUBLISH_S = 60.0


def run(bench: Bench) -> list[Measure]:
    with ExitStack() as stack:
        bus = Bus(bench.folder / "bus", bench.cores)
        stack.callback(bus.stop)
        nodes = [Node(name, bench.folder, bus, bench.cores, Spot()) for name in NAMES]
        for node in nodes:
            stack.callback(node.stop)
            node.start()
        whole(nodes)
        last = Measure("last", "From the answer until the last of three nodes applied, p99", "ms")
        for _ in range(bench.pace.rounds):
            spread_ms(bench, last, nodes)
        return [last, _missed(bench, nodes)]


def _missed(bench: Bench, nodes: list[Node]) -> Measure:
    """Seconds from the start of a node until it serves, having read what it missed; less those of a start alone."""
    missed = QUICK_MISSED if bench.pace.quick else MISSED
    measure = Measure("missed", f"A node that missed {missed:,} purges: seconds until it has them and serves", "s")
    alone = Measure("start", "The same node, having missed none", "s")
    for _ in range(1 if bench.pace.quick else 2):
        nodes[2].stop()
        alone.add("headland", nodes[2].start())
        whole(nodes)
        nodes[2].stop()
        given, begun = 0, nodes[0].number("published_total")
        while given < missed:
            given += purges.at_once(nodes[0].admin, CLIENTS, 2.0, bench.cores.load)[0]
        _published(nodes[0], begun + given)
        took = nodes[2].start()
        if nodes[2].number("sequence") != nodes[0].number("sequence"):
            bench.progress("  it serves before it is at the end of the stream")
        per_missed = took * missed / given
        measure.add("headland", per_missed, missed=given, seconds=took)
        bench.progress(
            f"  {given:,} purges were missed: back after {took:.2f} s; without any {alone.values['headland'][-1]:.2f}"
        )
    return measure


def _published(node: Node, count: float) -> None:
    """Wait until a node has given so many purges to the fleet. Raises `WrongAnswerError` when it does not."""
    deadline = time.monotonic() + PUBLISH_S
    while (published := node.number("published_total")) < count:
        if time.monotonic() > deadline:
            raise WrongAnswerError(f"{count - published:,.0f} purges were not published after {PUBLISH_S:g} s")
        time.sleep(0.1)


SCENARIO = Scenario(
    "purge-fleet",
    "Purges across a fleet of three",
    "Three nodes and a NATS server on one machine; purges by tag, one after the other, at each node in turn.",
    (Bar("last", 20, kind="absolute"), Bar("missed", 3, kind="absolute")),
    run,
    by_name=True,
)
