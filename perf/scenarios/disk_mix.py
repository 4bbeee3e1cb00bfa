"""The hour of a PoP in small, with a disk under the node's memory, and the same room in files as NGINX has."""

from __future__ import annotations

from perf.bench import Bench
from perf.results import Bar, Measure
from perf.scenario import Scenario
from perf.scenarios import mix

ORDER = 81
MEMORY = "64MiB"
DISK = 'disk = { path = "cache", size = "ROOM", admission = "second-hit", segment = "16MiB" }'


def run(bench: Bench) -> list[Measure]:
    return mix.compare(bench, MEMORY, DISK)


SCENARIO = Scenario(
    "disk-mix",
    "A PoP in small, with a disk",
    f"As mix, but the node has {MEMORY} of memory and, as NGINX, a disk; its files are in the page cache, too.",
    (Bar("miss", 1.0), Bar("byte-miss", 1.0), Bar("cpu", 0.5)),
    run,
    by_name=True,
)
