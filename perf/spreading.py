"""How long purges take to every node of a fleet: given at each node in turn, at a steady rate."""

from __future__ import annotations

import time

from perf import purges
from perf.bench import Bench
from perf.errors import WrongAnswerError
from perf.fleet import Node
from perf.results import Measure

PURGES, QUICK_PURGES = 400, 60
PER_S = 40.0
DEADLINE_S = 10.0


def spread_ms(bench: Bench, measure: Measure, nodes: list[Node]) -> None:
    """Add the p99, in milliseconds, of the time from a purge's answer until the last other node had it in force."""
    count = QUICK_PURGES if bench.pace.quick else PURGES
    word = purges.unique()
    answered: dict[str, tuple[Node, float]] = {}
    begun = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begun + number / PER_S - time.monotonic()))
        node = nodes[number % len(nodes)]
        purge_id, at_s = node.purge(f"{word}-{number}")
        answered[purge_id] = (node, at_s)
    applied = _applied(nodes, set(answered))
    waits = []
    for purge_id, (node, at_s) in answered.items():
        last_s = max(there[purge_id] for other, there in zip(nodes, applied, strict=True) if other is not node)
        waits.append((last_s - at_s) * 1000)
    p50, p99 = purges.quantile(waits, 0.5), purges.quantile(waits, 0.99)
    measure.add("headland", p99, p50_ms=p50, max_ms=max(waits))
    bench.progress(f"  from the answer to the last node: p50 {p50:.1f} ms, p99 {p99:.1f}, longest {max(waits):.1f}")


def _applied(nodes: list[Node], wanted: set[str]) -> list[dict[str, float]]:
    """What each node says of the newest purges, once all have all of these."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found = [node.newest() for node in nodes]
        if all(wanted <= set(each) for each in found):
            return found
        if time.monotonic() > deadline:
            raise WrongAnswerError("some purges did not reach every node")
        time.sleep(0.1)
