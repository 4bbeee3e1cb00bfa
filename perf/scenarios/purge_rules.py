"""What a million live purge rules cost a hit: two nodes side by side, one with the rules and one without."""

from __future__ import annotations

from dataclasses import replace

from perf import load, purges
from perf.bench import Bench
from perf.load import Load
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 91
RULES, QUICK_RULES = 1_000_000, 20_000
ROUNDS = 9
PATH = "/hit/1k"
RULED = "headland-ruled"
MIB = 2**20


def run(bench: Bench) -> list[Measure]:
    rules = QUICK_RULES if bench.pace.quick else RULES
    bench.profiles = {**bench.profiles, RULED: replace(bench.profiles["headland"], name=RULED)}
    bench.chosen = (*bench.chosen, RULED)
    plain, ruled = bench.start(only=("headland", RULED))
    before = ruled.cost().rss_bytes
    purges.many_tags(ruled, rules)
    memory = Measure("memory", f"Memory of {rules:,} rules", "MiB")
    memory.add("headland", (ruled.cost().rss_bytes - before) / MIB)
    bench.warm([plain, ruled], PATH, "1k")
    measure = Measure("ratio", f"CPU per 1 KiB hit, {rules:,} rules that do not match / none", "x")
    what = Load(PATH, 1024)
    for peer in (plain, ruled):
        load.run(what, peer, 1.0, bench.cores.load)  # not counted
    for number in range(bench.pace.rounds if bench.pace.quick else max(ROUNDS, bench.pace.rounds)):
        pair = (plain, ruled) if number % 2 else (ruled, plain)
        each = {peer.name: _cpu_us(bench, peer, what) for peer in pair}
        value = each[ruled.name] / each[plain.name]
        measure.add("headland", value, with_us=each[ruled.name], without_us=each[plain.name])
        bench.progress(f"  with {each[ruled.name]:.2f} us, without {each[plain.name]:.2f} us: {value:.3f}")
    return [measure, memory]


def _cpu_us(bench: Bench, peer: Peer, what: Load) -> float:
    before = peer.cost(memory=False)
    run = load.run(what, peer, bench.pace.seconds, bench.cores.load)
    return peer.cost(memory=False).since(before).cpu_s / run.requests * 1e6


SCENARIO = Scenario(
    "purge-rules",
    "Hits with a million purge rules",
    "Two nodes; one has a million rules by tag that match nothing. CPU per hit, interleaved.",
    (Bar("ratio", 1.05, kind="absolute"),),
    run,
    by_name=True,
)
