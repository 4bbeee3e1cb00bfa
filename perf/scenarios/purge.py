"""Purging a node that holds a million objects: how long one purge takes, durable and in force; how many pass.

The disk's own part is told beside it: the same number of synced appends on the same file system.
"""

from __future__ import annotations

from perf import load, purges
from perf.bench import Bench
from perf.load import Load
from perf.peer import Peer
from perf.purges import Purger
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 90
OBJECTS, QUICK_OBJECTS = 1_000_000, 20_000
PURGES, QUICK_PURGES = 2_000, 200
CLIENTS = 64
FILL_S = 10.0
HOST = "https://www.example.com"
TITLES = {"url": "one URL", "tag": "a tag", "all": "everything"}


def run(bench: Bench) -> list[Measure]:
    objects, count = (QUICK_OBJECTS, QUICK_PURGES) if bench.pace.quick else (OBJECTS, PURGES)
    (peer,) = bench.start(only=("headland",), memory="6GiB")
    _fill(bench, peer, objects)
    measures = [measure for kind in TITLES for measure in _latency(bench, peer, kind, count)]
    measures.append(_rate(bench, peer))
    return measures


def _fill(bench: Bench, peer: Peer, objects: int) -> None:
    stored = 0
    while stored < objects:
        stored += load.run(
            Load("/miss/", 1024, unique=True), peer, 1.0 if bench.pace.quick else FILL_S, bench.cores.load
        ).requests
    bench.progress(f"  {stored:,} objects are stored, {peer.cost().rss_bytes / 2**20:,.0f} MiB resident")


def _latency(bench: Bench, peer: Peer, kind: str, count: int) -> tuple[Measure, Measure]:
    """p99 of purges one after the other, and how far that is above a synced append."""
    whole = Measure(kind, f"Purge of {TITLES[kind]}, p99, durable", "us")
    own = Measure(f"{kind}-own", f"Purge of {TITLES[kind]}, p99, less the disk's fsync", "us")
    for _ in range(bench.pace.rounds):
        word = purges.unique()
        disk = purges.synced(bench.folder, count // 4)
        with Purger(peer, bench.cores.load) as purger:
            took = [purger.purge(kind, _items(kind, word, number)) for number in range(count)]
        disk += purges.synced(bench.folder, count // 4)
        p50, p99 = (purges.quantile(took, share) * 1e6 for share in (0.5, 0.99))
        disk_p99 = purges.quantile(disk, 0.99) * 1e6
        whole.add(peer.name, p99, p50_us=p50, max_us=max(took) * 1e6, fsync_p99_us=disk_p99)
        own.add(peer.name, p99 - disk_p99)
        bench.progress(
            f"  {kind:4} p50 {p50:5.0f} us, p99 {p99:5.0f}, longest {max(took) * 1e6:6.0f}; fsync p99 {disk_p99:.0f}"
        )
    return whole, own


def _items(kind: str, word: str, number: int) -> list[str]:
    return {"url": [f"{HOST}/{word}/{number}"], "tag": [f"{word}-{number}"], "all": []}[kind]


def _rate(bench: Bench, peer: Peer) -> Measure:
    measure = Measure("each", f"Time per purge, {CLIENTS} clients at once, durable", "us")
    for _ in range(bench.pace.rounds):
        count, seconds, command = purges.at_once(peer.admin, CLIENTS, max(2.0, bench.pace.seconds), bench.cores.load)
        bench.commands["at once"] = command
        measure.add(peer.name, seconds / count * 1e6, per_s=count / seconds)
        bench.progress(f"  {count / seconds:,.0f} purges per second from {CLIENTS} clients")
    return measure


SCENARIO = Scenario(
    "purge",
    "Purges, durable, a million objects",
    "A million objects of 1 KiB are stored; purges one after the other, then from 64 clients at once; all are synced.",
    (
        *(Bar(kind, 5_000, kind="absolute") for kind in TITLES),
        *(Bar(f"{kind}-own", 1_000, kind="absolute") for kind in TITLES),
        Bar("each", 200, kind="absolute"),
    ),
    run,
    by_name=True,
)
