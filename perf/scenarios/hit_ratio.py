"""How good the node's choice of what to keep is: its own store under traces, beside LRU and Belady's choice.

No network.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import orjson

from perf import traces
from perf.bench import Bench
from perf.build import built
from perf.errors import NotStartedError
from perf.results import Measure
from perf.scenario import Scenario
from perf.traces import Request

ORDER = 90
PERCENTS = ("1", "5", "20")
POLICIES = {"ours": "headland", "lru": "lru", "belady": "belady"}
META_KEYS, META_REQUESTS = 60_000, 400_000


def run(bench: Bench) -> list[Measure]:
    found: dict[str, tuple[str, list[Request]]] = {
        "web12": ("shop, December 2012", traces.shop("web12")),
    }
    if not bench.pace.quick:
        found["web07"] = ("shop, July 2013", traces.shop("web07"))
        found["meta"] = ("drawn from Meta's CDN", traces.meta(META_KEYS, META_REQUESTS))
    return [measure for name, (title, trace) in found.items() for measure in _replay(bench, name, title, trace)]


def _replay(bench: Bench, name: str, title: str, trace: list[Request]) -> list[Measure]:
    path = bench.folder / f"{name}.trace"
    path.write_bytes(traces.pack(trace))
    report = orjson.loads(_output([built("replay"), str(path), *PERCENTS], path))
    measures = []
    for row in report["rows"]:
        kinds = {"requests": "object", "bytes": "byte"} if name == "meta" else {"requests": "object"}
        for kind, word in kinds.items():
            key = f"{name}-{row['percent']:g}-{word}"
            measure = Measure(key, f"{word.capitalize()} miss ratio, {title}, cache of {row['percent']:g} %", "of all")
            for policy, shown in POLICIES.items():
                measure.add(shown, 1 - row[policy][kind])
            line = ", ".join(f"{shown} {measure.values[shown][0]:.3f}" for shown in POLICIES.values())
            bench.progress(f"  {key:18} {line}")
            measures.append(measure)
    measures[0].notes.append(
        f"{report['requests']:,} requests for {report['keys']:,} keys; the first for each is a miss"
    )
    return measures


def _output(command: list[str], path: Path) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise NotStartedError(f"{path.name}: {done.stderr.decode()[-300:]}")
    return done.stdout


SCENARIO = Scenario(
    "hit-ratio",
    "What is kept: miss ratios of eviction",
    "Traces against the node's own store (everything counted), LRU and Belady's choice (furthest next use first).",
    (),
    run,
)
