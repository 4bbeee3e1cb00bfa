"""How much later a miss comes than from the origin itself: what standing in between costs a visitor.

An open loop at a rate that leaves everyone idle most of the time, so that nothing queues; `direct` is the origin asked
without a cache, the floor. Both kinds of miss: answers that may not be stored, and new ones that are.
"""

from __future__ import annotations

from perf import open_load
from perf.bench import Bench
from perf.load import unique_path
from perf.open_load import Arrivals
from perf.results import Measure
from perf.scenario import Scenario

ORDER = 36
RATE = 1_000.0
FLOOR = "direct"
KINDS = {"uncacheable": "/nocache/1k", "stored": "/miss/"}


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    pace = bench.pace.in_short()
    peers = bench.start(only=("headland", "nginx-tuned", FLOOR))
    measures = []
    for kind, path in KINDS.items():
        whole = Measure(kind, f"TTFB p50 of misses, {kind}, {RATE:,.0f}/s", "us")
        over = Measure(f"{kind}-over", f"The same over the origin's own, {kind}", "us")
        for number in range(1 if bench.pace.quick else pace.rounds):
            for peer in peers:
                unique = kind == "stored"
                what = Arrivals(
                    unique_path(path) if unique else path,
                    1024,
                    RATE,
                    pace.seconds,
                    unique=unique,
                    verdict="any" if peer.name == FLOOR else "miss",
                )
                waits = open_load.run(what, peer, bench.cores.load)
                bench.commands[f"{kind} {peer.name}"] = waits.command
                p50, spoiled = waits.first_byte_us("p50"), waits.spoiled("p50")
                whole.add(peer.name, p50, spoiled, latency_us=waits.report["first_byte"], curve=waits.report["curve"])
                bench.progress(f"  {kind:11} round {number + 1}  {peer.name:22} p50 {p50:6.0f} us  {spoiled}")
            if FLOOR in whole.values:
                for peer in (each for each in peers if each.name != FLOOR):
                    spoiled = whole.spoiled(peer.name).get(number, "") or whole.spoiled(FLOOR).get(number, "")
                    over.add(peer.name, whole.values[peer.name][number] - whole.values[FLOOR][number], spoiled)
        measures += [whole, over] if over.values else [whole]
    return measures


SCENARIO = Scenario(
    "miss-ttfb",
    "Waiting for a miss, 1 KiB",
    "Open loop; the median time to first byte, and what of it is above the origin asked directly.",
    (),
    run,
)
