"""An hour of a PoP in small: popularity and sizes of Meta's CDN, URLs and agents of a real access log, a working set
eight times what may be kept.

Requests are drawn once and are the same for every peer. The first part fills the caches and is not counted; what
follows is asked in rounds, each continuing where the last one ended. NGINX keeps bodies in files, so that its
resident memory shows the index alone; what those files take stands beside it. It looks at its bound only every ten
seconds and holds far more in between, so it is filled first, and what it was then seen to hold, on average, is what
the others get: the same room for all.
"""

from __future__ import annotations

import bisect
import contextlib
import math
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from perf import open_load, traces
from perf.bench import Bench
from perf.open_load import Arrivals
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 80
KEYS = 60_000
RATE = 3_000.0
FILL_S, ROUND_S, ROUNDS = 40.0, 15.0, 3
QUICK_FILL_S, QUICK_ROUND_S, QUICK_ROUNDS = 4.0, 3.0, 1
SIZE_CLASSES = 96
SMALLEST, LARGEST = 128, 4_200_000
CHECKED, QUICK_CHECKED = 200, 50
CONFIGURED_MIB = 256
SAMPLE_EVERY_S = 1.0
MIB = 1024 * 1024


def run(bench: Bench) -> list[Measure]:
    return compare(bench)


def compare(bench: Bench, memory: str = "", disk: str = "") -> list[Measure]:
    """The hour; the node has memory alone, or so much and a disk with the room that NGINX has."""
    open_load.generator()
    fill_s, round_s, rounds = (
        (QUICK_FILL_S, QUICK_ROUND_S, QUICK_ROUNDS) if bench.pace.quick else (FILL_S, ROUND_S, ROUNDS)
    )
    bench.origin.make_sized(_classes())
    listed = bench.folder / "requests.txt"
    listed.write_text(_lines(int(RATE * (fill_s + round_s * rounds))), encoding="ascii")
    measures = _measures()
    peers: list[Peer] = []
    room_mib = CONFIGURED_MIB
    for name in ("nginx-tuned", "headland"):
        room = f"{room_mib}MiB"
        size = f"{CONFIGURED_MIB}m"
        disk_of_it = disk.replace("ROOM", room)
        for peer in bench.start(needs=("store",), only=(name,), memory=memory or room, max_size=size, disk=disk_of_it):
            peers.append(peer)
            _sampled(bench, peer, listed)
            with FilesSeen(peer) as seen:
                open_load.run(_arrivals(listed, 0, fill_s), peer, bench.cores.load)
            room_mib = max(room_mib, int(seen.late_mean() / MIB))
    bench.progress(f"  NGINX, bound to {CONFIGURED_MIB} MiB, held {room_mib} MiB: so much is given to the node")
    for number in range(rounds):
        first = int(RATE * (fill_s + round_s * number))
        for peer in peers:
            _round(bench, peer, measures, _arrivals(listed, first, round_s))
    for peer in peers:
        _sampled(bench, peer, listed)
    measures["rss"].notes.append(
        "NGINX's bodies are in files: 'memory and files' adds what these take of the page cache"
    )
    return list(measures.values())


class FilesSeen:
    """What a peer's cache takes in files while it is under load, sampled by a thread of its own."""

    def __init__(self, peer: Peer) -> None:
        self._folder = peer.folder / "cache"
        self._ended = threading.Event()
        self._samples: list[int] = []
        self._thread = threading.Thread(target=self._watch)

    def mean(self) -> float:
        """Bytes, over all samples."""
        return sum(self._samples) / max(1, len(self._samples))

    def late_mean(self) -> float:
        """Bytes, over the second half of the samples, when a cache that started empty is full."""
        late = self._samples[len(self._samples) // 2 :]
        return sum(late) / max(1, len(late))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_EVERY_S):
            self._samples.append(self._bytes())

    def _bytes(self) -> int:
        found = 0
        for path in self._folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # removed by its owner meanwhile
                found += path.stat().st_size if path.is_file() else 0
        return found


def _measures() -> dict[str, Measure]:
    return {
        "cpu": Measure("cpu", "A PoP in small, CPU per request", "us"),
        "miss": Measure("miss", "A PoP in small, object miss ratio", "of all"),
        "byte-miss": Measure("byte-miss", "Byte miss ratio (what the origin sent)", "of all"),
        "p99": Measure("p99", f"TTFB p99 at {RATE:,.0f} requests/s", "us"),
        "rss": Measure("rss", "A PoP in small, resident memory", "MiB"),
        "memory": Measure("memory", "Memory and files of the cache", "MiB"),
    }


def _round(bench: Bench, peer: Peer, measures: dict[str, Measure], what: Arrivals) -> None:
    before = peer.cost(memory=False)
    with FilesSeen(peer) as files:
        result = open_load.run(what, peer, bench.cores.load)
    cost = peer.cost()
    report = result.report
    cpu_us = cost.since(before).cpu_s / report["answered"] * 1e6
    hits = [word for word in report["values"] if peer.profile.hit.search(word)]
    missed = 1 - sum(report["values"][word] for word in hits) / report["answered"]
    bytes_hit = sum(report["value_bytes"][word] for word in hits)
    byte_missed = 1 - bytes_hit / sum(report["value_bytes"].values())
    measures["cpu"].add(peer.name, cpu_us, **report["values"])
    measures["miss"].add(peer.name, missed)
    measures["byte-miss"].add(peer.name, byte_missed)
    measures["p99"].add(peer.name, result.first_byte_us("p99"), latency_us=report["first_byte"], curve=report["curve"])
    measures["rss"].add(peer.name, cost.rss_bytes / MIB, peak_mib=cost.rss_peak_bytes / MIB)
    measures["memory"].add(peer.name, (cost.pss_bytes + files.mean()) / MIB)
    bench.commands[f"mix {peer.name}"] = result.command
    p99 = result.first_byte_us("p99")
    bench.progress(
        f"  {peer.name:22} {cpu_us:6.1f} us, {missed:.1%} missed, p99 {p99:,.0f} us, {cost.rss_bytes / MIB:.0f} MiB"
    )


def _arrivals(listed: Path, first: int, seconds: float) -> Arrivals:
    return Arrivals("", 0, RATE, seconds, warm_s=0.0, connections=64, verdict="any", listed=str(listed), first=first)


def _sampled(bench: Bench, peer: Peer, listed: Path) -> None:
    """Some answers byte by byte: a mixed body of the right length would go unnoticed under load."""
    lines = listed.read_text(encoding="ascii").splitlines()
    checked = QUICK_CHECKED if bench.pace.quick else CHECKED
    for line in lines[:: max(1, len(lines) // checked)]:
        path, size = line.split(" ")[:2]
        bench.check(peer, path, size)


def _classes() -> list[int]:
    """Sizes that are made: steps of one part in nine, each a multiple of 8 bytes."""
    step = math.log(LARGEST / SMALLEST) / (SIZE_CLASSES - 1)
    return sorted({int(SMALLEST * math.exp(step * number)) // 8 * 8 for number in range(SIZE_CLASSES)})


def _lines(requests: int) -> str:
    """Keys and sizes from Meta's distributions, the shape of URLs and the User-Agents from a real access log."""
    classes = _classes()
    paths, agents = traces.visits()
    named = (
        (key, classes[min(bisect.bisect(classes, size), len(classes) - 1)]) for key, size in traces.meta(KEYS, requests)
    )
    return "".join(
        f"/sized/{size}/{key}{paths[key % len(paths)]} {size} {agents[number % len(agents)]}\n"
        for number, (key, size) in enumerate(named)
    )


SCENARIO = Scenario(
    "mix",
    "A PoP in small",
    f"Meta's popularity and sizes, a site's URLs and agents, {KEYS:,} objects, the same room for all, "
    f"{RATE:,.0f} requests/s as they come.",
    (Bar("cpu", 0.5), Bar("rss", 0.6), Bar("miss", 1.0)),
    run,
)
