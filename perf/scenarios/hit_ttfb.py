"""How long a visitor waits for the first byte of a hit, at loads that the weaker side still carries.

An open loop: requests fall due as independent visitors' do, whether or not the server keeps up. The rates are shares
of the capacity of the weakest peer, found by a short closed loop.
"""

from __future__ import annotations

from perf import load, open_load
from perf.bench import Bench
from perf.load import Door, Load
from perf.open_load import Arrivals
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 35
PATH = "/hit/1k"
SHARES = (10, 50, 80)
HANDSHAKES_PER_S = 400.0  # new TLS connections: what every peer's core carries at half its capacity
DOORS: tuple[Door, ...] = ("h1", "tls", "h2")
WORDS = {"h1": "HTTP/1.1", "tls": "TLS 1.3", "h2": "HTTP/2"}


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    peers = bench.start(needs=("store", "tls", "h2"), only=("headland", "nginx-tuned"))
    measures = []
    for door in ("h1",) if bench.pace.quick else DOORS:
        bench.warm(peers, PATH, "1k", door=door)
        capacity = _capacity(bench, peers, door)
        for share in (80,) if bench.pace.quick else SHARES:
            rate = capacity * share / 100
            title = f"TTFB p99, {WORDS[door]}, {rate:,.0f}/s ({share} % of the weaker peer's capacity)"
            measures.append(_waits(bench, peers, Measure(f"{door}-{share}", title, "us"), _arrivals(bench, door, rate)))
    if not bench.pace.quick:
        title = f"TTFB p99, a new TLS 1.3 connection per request, {HANDSHAKES_PER_S:g}/s"
        what = _arrivals(bench, "tls", HANDSHAKES_PER_S, new=True)
        measures.append(_waits(bench, peers, Measure("tls-new", title, "us"), what))
    return measures


def _arrivals(bench: Bench, door: Door, rate: float, *, new: bool = False) -> Arrivals:
    connections = 8 if door == "h2" else 64
    return Arrivals(PATH, 1024, rate, bench.pace.seconds, door, new_connections=new, connections=connections)


def _capacity(bench: Bench, peers: list[Peer], door: Door) -> float:
    runs = [load.run(Load(PATH, 1024, door), peer, 1.0, bench.cores.load) for peer in peers]
    return min(each.requests / each.wall_s for each in runs)


def _waits(bench: Bench, peers: list[Peer], measure: Measure, what: Arrivals) -> Measure:
    for number in range(bench.pace.rounds):
        for peer in peers:
            before = peer.cost(memory=False)
            waits = open_load.run(what, peer, bench.cores.load)
            cpu_s = peer.cost(memory=False).since(before).cpu_s
            bench.commands[f"{measure.key} {peer.name}"] = waits.command
            p99 = waits.first_byte_us("p99")
            measure.add(
                peer.name,
                p99,
                latency_us=waits.report["first_byte"],
                late_us=waits.report["late"],
                generator_was_late=waits.generator_was_late,
                server_busy=cpu_s / (what.warm_s + what.seconds),
                answered_per_s=waits.report["answered_per_s"],
                curve=waits.report["curve"],
            )
            bench.progress(
                f"  {measure.key:10} round {number + 1}/{bench.pace.rounds}  {peer.name:22} p99 {p99:9.0f} us"
            )
    late = {name for name, rounds in measure.details.items() if any(each["generator_was_late"] for each in rounds)}
    measure.notes.extend(f"{name}: the generator itself was late in some rounds: its p99 is too high" for name in late)
    return measure


SCENARIO = Scenario(
    "hit-ttfb",
    "Waiting for a hit, 1 KiB",
    "Open loop, Poisson arrivals, latency from the due moment; the value is the p99 of the time to first byte.",
    (Bar("h1-80", 0.7),),
    run,
)
