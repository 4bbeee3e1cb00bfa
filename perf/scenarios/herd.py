"""Five hundred clients ask for one cold 10 MiB object at the same moment; the origin is slow.

One fetch must do, and nobody should wait for the object to be whole: everybody's first byte comes when the origin's
does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from perf import bodies, open_load
from perf.bench import Bench
from perf.errors import WrongAnswerError
from perf.http_client import fetch
from perf.load import unique_path
from perf.open_load import Arrivals
from perf.peer import Peer
from perf.process import Process, free_ports
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 65
CLIENTS = 500
WITHIN_S = 0.01
ROOT = Path(__file__).parents[2]


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    (port,) = free_ports(1)
    command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "perf.slow_origin", str(port)]
    origin = Process(
        "slow origin",
        command,
        folder=bench.folder,
        cores=bench.cores.origin,
        ready=lambda: fetch("127.0.0.1", port, "/ready").status == 200,
    )
    try:
        peers = bench.start(needs=("store",), only=("headland", "nginx-tuned"), origin=f"127.0.0.1:{port}")
        return _measures(bench, [peer for peer in peers if peer.process], port)
    finally:
        origin.stop()


def _measures(bench: Bench, peers: list[Peer], port: int) -> list[Measure]:
    spread = Measure("spread", "Slowest client's first byte / first client's", "x")
    fetches = Measure("fetches", "Origin fetches of the one object", "fetches")
    first = Measure("first-byte", f"First byte of the median client of {CLIENTS}", "us")
    whole = Measure("whole", f"Last byte of the slowest client of {CLIENTS}", "us")
    for _ in range(1 if bench.pace.quick else 3):
        for peer in peers:
            path = unique_path("/slow/")
            what = Arrivals(
                path,
                bodies.SIZES["10m"],
                CLIENTS / WITHIN_S,
                WITHIN_S,
                new_connections=True,
                warm_s=0.0,
                poisson=False,
                verdict="any",
            )
            result = open_load.run(what, peer, bench.cores.load)
            bench.commands[f"herd {peer.name}"] = result.command
            if result.report["answered"] < CLIENTS - 1:
                raise WrongAnswerError(f"{peer.name}: {result.report['answered']} of {CLIENTS} clients were answered")
            fastest = float(result.report["curve"][0][1])
            spread.add(peer.name, result.first_byte_us("max") / fastest)
            fetches.add(peer.name, float(_count(port, path)))
            first.add(
                peer.name,
                result.first_byte_us("p50"),
                latency_us=result.report["first_byte"],
                curve=result.report["curve"],
            )
            whole.add(peer.name, result.whole_us("max"))
            bench.progress(
                f"  {peer.name:22} first byte {fastest / 1e6:.2f} to {result.first_byte_us('max') / 1e6:.2f} s, "
                f"last {result.whole_us('max') / 1e6:.1f} s, {fetches.values[peer.name][-1]:.0f} fetches"
            )
    return [spread, fetches, first, whole]


def _count(port: int, path: str) -> int:
    return int(fetch("127.0.0.1", port, f"/count{path}").body)


SCENARIO = Scenario(
    "herd",
    "500 clients, one cold object",
    "10 MiB, first byte of the origin after 500 ms, then 10 MB/s; all clients ask within 10 ms over new connections.",
    (Bar("spread", 1.1, kind="absolute"), Bar("fetches", 1.0, kind="absolute")),
    run,
)
