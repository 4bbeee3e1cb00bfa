"""Misses that are stored where most objects are asked for once: what they cost, and what of them is written to disk.

Of the objects 70 % are asked for once, the others three times, a few hundred requests apart. NGINX writes every answer
as it stores it; the node writes what was asked for again.
"""

from __future__ import annotations

import random
from pathlib import Path

from perf import node_metrics, open_load
from perf.bench import Bench
from perf.open_load import Arrivals
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 33
SIZE = 1_024
RATE = 4_000.0
FILL_S = 8.0
ONCE_SHARE = 0.7
TIMES, APART = 3, 300
DISK = 'disk = { path = "cache", size = "4GiB", admission = "second-hit", segment = "64MiB" }'


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    bench.origin.make_sized([SIZE])
    requests = int(RATE * (FILL_S + bench.pace.seconds * 2 * bench.pace.rounds))
    listed = bench.folder / "requests.txt"
    listed.write_text("".join(f"/sized/{SIZE}/{number} {SIZE} perf\n" for number in _asked(requests)), encoding="ascii")
    cpu = Measure("cpu", "CPU per stored miss, 70 % of objects asked for once", "us CPU/miss")
    written = Measure("written", "Bytes written to disk per byte filled", "of all")
    peers = [peer for peer in bench.start(needs=("store",), memory="16MiB", disk=DISK) if peer.process]
    for peer in peers:
        open_load.run(_arrivals(listed, 0.0, FILL_S), peer, bench.cores.load)
    for number in range(bench.pace.rounds):
        for peer in peers:
            begins = FILL_S + bench.pace.seconds * 2 * number
            _round(bench, peer, cpu, written, _arrivals(listed, begins, bench.pace.seconds * 2))
    return [cpu, written]


def _asked(requests: int) -> list[int]:
    """Numbers of objects, in the order in which they are asked for."""
    choice = random.Random(5)
    due: dict[int, list[int]] = {}
    asked: list[int] = []
    number = 0
    while len(asked) < requests:
        again = due.pop(len(asked), [])
        asked.extend(again)
        if again:
            continue
        if choice.random() >= ONCE_SHARE:
            for time in range(1, TIMES):
                due.setdefault(len(asked) + time * choice.randrange(APART // 2, APART), []).append(number)
        asked.append(number)
        number += 1
    return asked[:requests]


def _round(bench: Bench, peer: Peer, cpu: Measure, written: Measure, what: Arrivals) -> None:
    is_node = peer.profile.name == "headland"
    before, told = peer.cost(memory=False), node_metrics.read(peer) if is_node else {}
    result = open_load.run(what, peer, bench.cores.load)
    spent = peer.cost(memory=False).since(before)
    bench.commands[f"disk-miss {peer.name}"] = result.command
    values = result.report["values"]
    misses = sum(count for word, count in values.items() if not peer.profile.hit.search(word))
    cpu_us = spent.cpu_s / misses * 1e6
    cpu.add(peer.name, cpu_us, **values)
    share = 1.0
    if is_node:
        now = node_metrics.read(peer)
        gone, filled = (now[name] - told[name] for name in ("disk_written_bytes_total", "origin_bytes_total"))
        share = gone / filled
        written.add(peer.name, share)
    bench.progress(f"  {peer.name:22} {cpu_us:6.1f} us a miss, {misses} misses, {share:.2f} written")


def _arrivals(listed: Path, begins_s: float, seconds: float) -> Arrivals:
    first = int(RATE * begins_s)
    return Arrivals("", 0, RATE, seconds, warm_s=0.0, connections=32, verdict="any", listed=str(listed), first=first)


SCENARIO = Scenario(
    "disk-miss",
    "Misses with a disk, most of them asked for once",
    f"{SIZE // 1_024} KiB, {RATE:,.0f} requests/s, memory for some ten thousand of them; NGINX writes all of them, "
    "the node what is asked for again.",
    (Bar("cpu", 0.4), Bar("written", 0.5, kind="absolute")),
    run,
    by_name=True,
)
