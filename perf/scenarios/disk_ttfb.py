"""Whether hits in memory notice that the disk is written to: two nodes with the same fills, one of them has a disk.

The fills are objects of 1 MiB, each new, in an open loop: with `always` each of them is written as it is stored.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from perf import open_load
from perf.bench import Bench
from perf.open_load import Arrivals, Waits
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 34
PATH = "/hit/1k"
RATE = 1_000.0
FILL_BYTES = 1_048_576
FILLS = 30.0
ROUND_S = 4.0
WRITING = "headland-writing"
DISK = 'disk = { path = "cache", size = "1GiB", admission = "always", segment = "64MiB" }'


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    bench.origin.make_sized([FILL_BYTES])
    bench.profiles = {**bench.profiles, WRITING: replace(bench.profiles["headland"], name=WRITING)}
    bench.chosen = (*bench.chosen, WRITING)
    (plain,) = bench.start(only=("headland",), memory="256MiB")
    (writing,) = bench.start(only=(WRITING,), memory="256MiB", disk=DISK)
    bench.warm([plain, writing], PATH, "1k")
    measure = Measure("ratio", f"TTFB p99 of hits while {FILLS:.0f} MiB/s are filled: written to disk / not", "x")
    for number in range(bench.pace.rounds + 1):
        pair = (plain, writing) if number % 2 else (writing, plain)
        each = {peer.name: _hits_beside_fills(bench, peer, number) for peer in pair}
        with_us, without_us = (each[peer.name].first_byte_us("p99") for peer in (writing, plain))
        bench.progress(f"  p99 with {with_us:.0f} us, without {without_us:.0f} us")
        if number > 0:  # the first fills memory
            spoiled = each[writing.name].spoiled() or each[plain.name].spoiled()
            measure.add("headland", with_us / without_us, spoiled, with_us=with_us, without_us=without_us)
            bench.commands["disk-ttfb"] = each[writing.name].command
    return [measure]


def _hits_beside_fills(bench: Bench, peer: Peer, number: int) -> Waits:
    fills = Arrivals(
        f"/sized/{FILL_BYTES}/{number}-", FILL_BYTES, FILLS, ROUND_S + 0.6, connections=8, unique=True, verdict="miss"
    )
    thread = threading.Thread(target=open_load.run, args=(fills, peer, bench.cores.load))
    thread.start()
    try:
        return open_load.run(Arrivals(PATH, 1024, RATE, ROUND_S), peer, bench.cores.load)
    finally:
        thread.join()


SCENARIO = Scenario(
    "disk-ttfb",
    "Hits in memory while the disk is written",
    f"Two nodes, {RATE:,.0f} hits/s of 1 KiB beside {FILLS:.0f} fills/s of 1 MiB; one writes each of these to disk.",
    (Bar("ratio", 1.2, kind="absolute"),),
    run,
    by_name=True,
)
