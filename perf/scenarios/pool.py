"""How many connections the origin sees for 2,000 misses, one after the other, through eight workers.

Every request comes over a new client connection, so that all workers get their share: a pool per worker then opens at
least one connection each, one pool for all of them opens one.
"""

from __future__ import annotations

from perf.bench import Bench
from perf.errors import WrongAnswerError
from perf.load import unique_path
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 50
MISSES = 2_000
WORKERS = "8"
KEPT_DETAIL = 12


def run(bench: Bench) -> list[Measure]:
    measure = Measure(
        "connections", f"Origin connections for {MISSES:,} sequential misses, {WORKERS} workers", "connections"
    )
    for peer in bench.start(needs=("store",), workers=WORKERS):
        if not peer.process:
            continue
        prefix = unique_path("/counted/")
        for number in range(MISSES):
            bench.check(peer, f"{prefix}{number}", "1k", verdict="miss")
        seen = [connection for connection, path in bench.origin.counted() if path.startswith(prefix)]
        if len(seen) != MISSES:
            raise WrongAnswerError(f"{peer.name}: the origin saw {len(seen)} requests instead of {MISSES}")
        shares = sorted((seen.count(each) for each in set(seen)), reverse=True)
        measure.add(peer.name, float(len(shares)), requests_per_connection=shares[:KEPT_DETAIL])
        bench.progress(f"  {peer.name:22} {len(shares)} connections")
        bench.stop([peer])
    return [measure]


SCENARIO = Scenario(
    "pool",
    "Origin connections of eight workers",
    "2,000 misses one after the other, each over a new client connection; connections that the origin saw.",
    (Bar("connections", 2.0, kind="absolute", goal=1.0),),
    run,
)
