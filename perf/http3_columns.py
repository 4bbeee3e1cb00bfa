"""HTTP/3 in the scenarios about hits: beside an NGINX that speaks it, where one is there, and beside our own HTTP/2.

Both by the suite's own generator, since wrk and most builds of h2load know no HTTP/3.
"""

from __future__ import annotations

import dataclasses

from perf import bodies, load
from perf.bench import Bench, Pace
from perf.load import Load
from perf.own_load import Door
from perf.peer import Peer
from perf.results import Measure

PEERS = ("headland", "nginx-http3")
DOORS: tuple[Door, ...] = ("h2", "h3")


def over_http3(bench: Bench, path: str, size: str, connections: int = 32, pace: Pace | None = None) -> list[Measure]:
    """CPU per hit of one object over HTTP/3, and what of the node's it is of that over HTTP/2."""
    pace = pace or bench.pace
    peers = bench.start(needs=("h3",), only=PEERS)
    bench.warm(peers, path, size, door="h3")
    what = Load(path, bodies.SIZES[size], "h3", connections)
    measure = Measure(f"{size}-h3", f"{size} hit, HTTP/3, 10 streams", "us CPU/request")
    measures = [bench.cpu_per_request(measure, peers, what, pace=pace)]
    measures += [_beside_http2(bench, peer, what, size, pace) for peer in peers if peer.name == "headland"]
    bench.warm(peers, path, size, door="h3")
    bench.stop(peers)
    return measures


def _beside_http2(bench: Bench, peer: Peer, what: Load, size: str, pace: Pace) -> Measure:
    ratio = Measure(f"{size}-h3-over-h2", f"{size} hit, CPU: HTTP/3 / HTTP/2, one generator", "x")
    for number in range(pace.rounds):
        cost = {door: _cost_us(bench, peer, dataclasses.replace(what, door=door, own=True), pace) for door in DOORS}
        ratio.add(peer.name, cost["h3"] / cost["h2"], cost_us=cost)
        bench.progress(
            f"  {ratio.key} round {number + 1}/{pace.rounds}  HTTP/2 {cost['h2']:.2f} us, HTTP/3 {cost['h3']:.2f}"
        )
    return ratio


def _cost_us(bench: Bench, peer: Peer, what: Load, pace: Pace) -> float:
    before = peer.cost(memory=False)
    run = load.run(what, peer, pace.seconds, bench.cores.load)
    bench.commands[f"own generator {what.door}"] = run.command
    return peer.cost(memory=False).since(before).cpu_s / run.requests * 1e6
