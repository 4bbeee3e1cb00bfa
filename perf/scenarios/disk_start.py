"""How long a node with a million objects on disk takes from its start to the first hit from there.

After an orderly end, and after a kill. The time is of the whole process, interpreter and configuration included.
"""

from __future__ import annotations

import os
import signal
import time

from perf import load, node_metrics
from perf.bench import Bench
from perf.errors import NotStartedError, WrongAnswerError
from perf.http_client import fetch
from perf.load import Load
from perf.peer import READY_PATH, Peer
from perf.process import Process
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 36
OBJECTS, QUICK_OBJECTS = 1_000_000, 50_000
PREFIX = "/miss/"
KNOWN = "/miss/known-"
KNOWN_COUNT = 64
"""Objects that are asked for once each after a start: none of them is in memory again."""
DISK = 'disk = { path = "cache", size = "8GiB", admission = "always", segment = "64MiB" }'
FILL_S = 20.0
FILLS_MAX = 30
DEADLINE_S = 60.0
MIB = 1024 * 1024


def run(bench: Bench) -> list[Measure]:
    objects = QUICK_OBJECTS if bench.pace.quick else OBJECTS
    (peer,) = bench.start(only=("headland",), memory="16MiB", disk=DISK)
    for number in range(KNOWN_COUNT):
        bench.check(peer, f"{KNOWN}{number}", "1k", verdict="miss")
    stored = 0.0
    for _ in range(FILLS_MAX):
        load.run(Load(PREFIX, 1024, unique=True), peer, FILL_S / 10 if bench.pace.quick else FILL_S, bench.cores.load)
        stored = node_metrics.read(peer)['store_objects{tier="disk"}']
        bench.progress(f"  {stored:,.0f} objects")
        if stored >= objects:
            break
    if stored < objects:
        raise NotStartedError(f"only {stored:,.0f} objects were stored")
    index = Measure("index", "Index of a record, in memory", "bytes")
    index.add("headland", node_metrics.read(peer)["disk_index_bytes"] / stored)
    times = {
        "orderly": Measure("orderly", f"Start to first hit from disk, {objects:,} objects, orderly end", "s"),
        "killed": Measure("killed", f"Start to first hit from disk, {objects:,} objects, kill -9", "s"),
    }
    for number in range(min(bench.pace.rounds, KNOWN_COUNT // 2)):
        for at, (how, measure) in enumerate(times.items()):
            seconds, serving_s = _again(bench, peer, how, f"{KNOWN}{number * 2 + at}")
            measure.add("headland", seconds, serving_s=serving_s)
            bench.progress(f"  round {number + 1} {how:8} {seconds:.2f} s to the hit, {serving_s:.2f} s to serve")
    return [*times.values(), index]


def _again(bench: Bench, peer: Peer, how: str, known: str) -> tuple[float, float]:
    """Ends the node and starts it anew: seconds until the hit from disk, and until anything is answered."""
    process = peer.process
    if process is None:
        raise NotStartedError("the node is not there")
    if how == "killed":
        os.killpg(process.pid, signal.SIGKILL)
    process.stop()
    begun = time.monotonic()
    peer.process = Process(
        peer.name,
        process.command,
        folder=peer.folder,
        cores=bench.cores.server,
        ready=lambda: fetch(peer.address, peer.http, READY_PATH).status == 200,
    )
    serving = time.monotonic() - begun
    # Asked for too early, it would be a miss and be stored anew.
    while node_metrics.read(peer)["disk_index_loading"]:
        if time.monotonic() - begun > DEADLINE_S:
            raise NotStartedError(f"the index is not there after {DEADLINE_S:.0f} s")
    answer = fetch(peer.address, peer.http, known)
    if "detail=disk" not in answer.headers.get("cache-status", ""):
        raise WrongAnswerError(f"{known} did not come from disk: {answer.headers.get('cache-status')}")
    return time.monotonic() - begun, serving


SCENARIO = Scenario(
    "disk-start",
    "Start with a million objects on disk",
    "The node alone: from the start of its process to the first hit from disk, after an orderly end and after kill -9.",
    (Bar("orderly", 1.0, kind="absolute"), Bar("killed", 5.0, kind="absolute")),
    run,
    by_name=True,
)
