"""Resident memory once 100,000 objects of 1 KiB are stored: what an index entry and an object's overhead weigh."""

from __future__ import annotations

import asyncio

from perf.bench import Bench
from perf.fill import ask_all
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 40
OBJECTS = 100_000
QUICK_OBJECTS = 10_000
SAMPLES = 500  # objects that are asked for again and must be hits
MIB = 1024 * 1024


def run(bench: Bench) -> list[Measure]:
    count, key = (QUICK_OBJECTS, "rss-quick") if bench.pace.quick else (OBJECTS, "rss")
    measure = Measure(key, f"Resident with {count:,} stored 1 KiB objects", "MiB")
    empty = Measure("empty", "Resident before the first object", "MiB")
    for peer in bench.start(needs=("store",)):
        if not peer.process:
            continue
        empty.add(peer.name, peer.cost().rss_bytes / MIB)
        asyncio.run(ask_all(peer, (_path(number) for number in range(count)), 1024))
        _still_there(bench, peer, count)
        cost = peer.cost()
        pss, peak = cost.pss_bytes / MIB, cost.rss_peak_bytes / MIB
        measure.add(peer.name, cost.rss_bytes / MIB, pss_mib=pss, peak_mib=peak, processes=cost.processes)
        bench.progress(
            f"  {peer.name:22} {cost.rss_bytes / MIB:.0f} MiB resident, peak {peak:.0f}, shared out {pss:.0f}"
        )
        bench.stop([peer])
    measure.notes.append(
        "NGINX keeps the bodies in files: the page cache that holds them is not in its resident memory"
    )
    return [measure, empty]


def _path(number: int) -> str:
    return f"/miss/rss/{number:06d}.html"


def _still_there(bench: Bench, peer: Peer, count: int) -> None:
    for number in range(0, count, count // SAMPLES):
        bench.check(peer, _path(number), "1k", verdict="hit")


SCENARIO = Scenario(
    "rss-100k",
    "Memory of 100,000 objects",
    "100,000 objects of 1 KiB are brought in, samples of them must be hits, then the process tree's memory is read.",
    (Bar("rss", 300.0, kind="absolute"),),
    run,
)
