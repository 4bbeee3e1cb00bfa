"""Objects that are on disk and in the page cache, but not in the node's memory: what the second tier costs.

So many objects are asked for in turn that the node's memory, at its smallest, holds few of them. NGINX has all open.
"""

from __future__ import annotations

import asyncio

from perf.bench import Bench
from perf.errors import WrongAnswerError
from perf.fill import ask_all
from perf.http_client import fetch
from perf.load import Load
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 32
DISK = 'disk = { path = "disk", size = "1GiB", admission = "always", segment = "64MiB" }'
SIZES = {"1k": (1024, 18_000, 32), "100k": (102_400, 1_000, 32), "1m": (1_048_576, 128, 16)}
"""Bytes of a body, how many there are, connections."""
SAMPLES = 50
SHARE_LEAST = 0.4
"""Of the samples, those that have to come from the node's disk."""


def run(bench: Bench) -> list[Measure]:
    bench.origin.make_sized(size for size, _, _ in SIZES.values())
    measures = []
    for key, (size, count, connections) in SIZES.items():
        peers = bench.start(
            needs=("store",), variants=not bench.pace.quick, memory="16MiB", disk=DISK, open_files="18500"
        )
        peers = [peer for peer in peers if peer.process]
        prefix = f"/sized/{size}/"
        for peer in peers:
            asyncio.run(ask_all(peer, (f"{prefix}{number}" for number in range(count)), size))
            asyncio.run(ask_all(peer, (f"{prefix}{number}" for number in range(count)), size))
        measure = Measure(key, f"{key} from disk, in the page cache", "us CPU/request")
        measures.append(bench.cpu_per_request(measure, peers, Load(prefix, size, connections=connections, cycle=count)))
        for peer in peers:
            if peer.profile.name == "headland":
                share = _share_from_disk(peer, prefix, count)
                measure.notes.append(f"{share:.0%} of what the node was asked for came from its disk")
        bench.stop(peers)
    return measures


def _share_from_disk(peer: Peer, prefix: str, count: int) -> float:
    answers = [
        fetch(peer.address, peer.http, f"{prefix}{number}") for number in range(0, count, max(1, count // SAMPLES))
    ]
    share = sum("detail=disk" in answer.headers.get("cache-status", "") for answer in answers) / len(answers)
    if share < SHARE_LEAST:
        raise WrongAnswerError(f"{peer.name}: {share:.0%} of {prefix} came from disk")
    return share


SCENARIO = Scenario(
    "disk-hit",
    "Hit on disk, not in memory",
    "More objects in turn than the node's memory holds, all in the page cache. NGINX keeps all files open.",
    (Bar("1k", 1.0), Bar("100k", 1.0), Bar("1m", 1.0)),
    run,
    by_name=True,
)
