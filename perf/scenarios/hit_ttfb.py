"""How long a visitor waits for the first byte of a hit, at loads that the weaker side still carries.

An open loop: requests fall due as independent visitors' do, whether or not the server keeps up. The rates are shares
of the weakest peer's capacity, as a closed loop finds it; with a new connection for every request, of one core's time
divided by what a request costs the dearest of all, the generator included, since it has one core too. What a request
costs the servers at each load is drawn beside it. Over HTTP/3 the node stands beside an NGINX that speaks it, or, where
there is none, beside its own HTTP/2.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass

from perf import http3_columns, load, open_load
from perf.bench import Bench
from perf.load import Load
from perf.open_load import Arrivals, Waits
from perf.own_load import Door
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 35
PATH = "/hit/1k"
SHARES = (10, 50, 80)
BAR_SHARE = 80
NEW_PROBE: dict[Door, float] = {"h1": 3000.0, "tls": 500.0, "h2": 500.0, "h3": 500.0}
"""New connections per second that every peer carries."""
DOORS: tuple[Door, ...] = ("h1", "tls", "h2")
WORDS = {"h1": "HTTP/1.1", "tls": "HTTP/1.1 over TLS 1.3", "h2": "HTTP/2", "h3": "HTTP/3"}
MANY_AT_ONCE = {"h2", "h3"}


@dataclass(frozen=True, slots=True)
class Side:
    """One of those that are held against each other: a peer, asked by one door."""

    name: str
    peer: Peer
    door: Door


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    peers = bench.start(needs=("store", "tls", "h2"), only=("headland", "nginx-tuned"))
    measures = []
    for door in ("h1",) if bench.pace.quick else DOORS:
        bench.warm(peers, PATH, "1k", door=door)
        sides = [Side(peer.name, peer, door) for peer in peers]
        for new in (False,) if bench.pace.quick else (False, True):
            measures += _door(bench, sides, door, new=new)
    bench.stop(peers)
    return measures if bench.pace.quick else measures + _over_http3(bench)


def _over_http3(bench: Bench) -> list[Measure]:
    peers = bench.start(needs=("h3",), only=http3_columns.PEERS)
    bench.warm(peers, PATH, "1k", door="h3")
    sides = [Side(peer.name, peer, "h3") for peer in peers]
    if len(peers) == 1:
        sides.append(Side(f"{peers[0].name}, HTTP2", peers[0], "h2"))
    measures = [each for new in (False, True) for each in _door(bench, sides, "h3", new=new)]
    bench.stop(peers)
    return measures


def _door(bench: Bench, sides: list[Side], door: Door, *, new: bool) -> list[Measure]:
    capacity = _capacity_anew(bench, sides) if new else _capacity(bench, sides)
    key, words = (f"{door}-new", f"{WORDS[door]}, new connections") if new else (str(door), WORDS[door])
    cost = Measure(f"{key}-cost", f"CPU per request against load, {words}", "us CPU/request")
    measures = []
    for share in (BAR_SHARE,) if bench.pace.quick else SHARES:
        rate = capacity * share / 100
        title = f"TTFB p99, {words}, {rate:,.0f}/s ({share} % of the weakest one's capacity)"
        has_bar = door == "h1" and not new and share == BAR_SHARE
        pace = bench.pace if has_bar else bench.pace.in_short()
        what = _arrivals(door, rate, pace.seconds, new=new)
        measures.append(_waits(bench, sides, Measure(f"{key}-{share}", title, "us"), what, pace.rounds))
        for side in sides:
            spent = [float(str(each["cpu_us"])) for each in measures[-1].details[side.name]]
            cost.lines.setdefault(side.name, []).append((rate, sum(spent) / len(spent)))
    return [*measures, cost] if len(measures) > 1 else measures


def _arrivals(door: Door, rate: float, seconds: float, *, new: bool) -> Arrivals:
    connections = 8 if door in MANY_AT_ONCE else 64
    return Arrivals(PATH, 1024, rate, seconds, door, new_connections=new, connections=connections)


def _capacity(bench: Bench, sides: Sequence[Side]) -> float:
    """What a closed loop gets out of the weaker one."""
    own = any(side.door == "h3" for side in sides)
    asked = [(side.peer, Load(PATH, 1024, side.door, own=own)) for side in sides]
    runs = [load.run(what, peer, 1.0, bench.cores.load) for peer, what in asked]
    return min(each.requests / each.wall_s for each in runs)


def _capacity_anew(bench: Bench, sides: Sequence[Side]) -> float:
    """New connections wear the generator out before the server: computed from what one costs each of them."""
    costs_us = []
    for side in sides:
        what = _arrivals(side.door, NEW_PROBE[side.door], 1.0, new=True)
        before = os.times()
        costs_us.append(_run(bench, side.peer, what)[1])
        after = os.times()
        spent_s = after.children_user + after.children_system - before.children_user - before.children_system
        costs_us.append(spent_s * 1e6 / (what.rate * (what.warm_s + what.seconds)))
    return 1e6 / max(costs_us)


def _run(bench: Bench, peer: Peer, what: Arrivals) -> tuple[Waits, float]:
    """One run, and the server's CPU per request in microseconds."""
    before = peer.cost(memory=False)
    waits = open_load.run(what, peer, bench.cores.load)
    cpu_s = peer.cost(memory=False).since(before).cpu_s
    return waits, cpu_s * 1e6 / (what.rate * (what.warm_s + what.seconds))


def _waits(bench: Bench, sides: Sequence[Side], measure: Measure, what: Arrivals, rounds: int) -> Measure:
    for number in range(rounds):
        for side in sides:
            waits, cpu_us = _run(bench, side.peer, dataclasses.replace(what, door=side.door))
            bench.commands[f"{measure.key} {side.name}"] = waits.command
            p99, spoiled = waits.first_byte_us("p99"), waits.spoiled("p99")
            measure.add(
                side.name,
                p99,
                spoiled,
                latency_us=waits.report["first_byte"],
                late_us=waits.report["late"],
                cpu_us=cpu_us,
                server_busy=cpu_us * what.rate / 1e6,
                answered_per_s=waits.report["answered_per_s"],
                retried=waits.report["retried"],
                curve=waits.report["curve"],
            )
            told = f"p99 {p99:9.0f} us" + (f"  ({spoiled}: not counted)" if spoiled else "")
            bench.progress(f"  {measure.key:10} round {number + 1}/{rounds}  {side.name:22} {told}")
    return measure


SCENARIO = Scenario(
    "hit-ttfb",
    "Waiting for a hit, 1 KiB",
    "Open loop, Poisson arrivals, latency from the due moment; the value is the p99 of the time to first byte.",
    (Bar(f"h1-{BAR_SHARE}", 0.7),),
    run,
)
