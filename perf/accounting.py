"""What a process tree has cost so far, read from /proc.

CPU is utime + stime of every process of the tree (all threads, the ended ones too) plus cutime + cstime (children
that were waited for). Linux scales utime + stime to the scheduler's exact run time, so that the sum is good to one
clock tick (10 ms) per process however short the bursts were. Interrupt work is charged to whoever it interrupts: on
loopback that is the sender, alike for every peer. Memory: RSS counts a shared page once per process, PSS shares it
out; both are kept.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Cost:
    """Sums over a process tree: seconds of CPU, context switches, bytes of memory."""

    cpu_s: float = 0.0
    voluntary: int = 0
    involuntary: int = 0
    rss_bytes: int = 0
    rss_peak_bytes: int = 0
    pss_bytes: int = 0
    processes: int = 0
    threads: int = 0

    def since(self, earlier: Cost) -> Cost:
        """CPU and switches spent after `earlier`; memory as it is now."""
        return Cost(
            self.cpu_s - earlier.cpu_s,
            self.voluntary - earlier.voluntary,
            self.involuntary - earlier.involuntary,
            self.rss_bytes,
            self.rss_peak_bytes,
            self.pss_bytes,
            self.processes,
            self.threads,
        )


def tree(root: int) -> list[int]:
    """Process ids of `root` and all its living descendants; empty when it is gone."""
    children: dict[int, list[int]] = defaultdict(list)
    for pid in _pids():
        fields = _stat(pid)
        if fields:
            children[int(fields[1])].append(pid)
    found: list[int] = []
    todo = [root] if _stat(root) else []
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children[pid])
    return found


def cost(root: int, *, memory: bool = True) -> Cost:
    """What the tree under `root` has used since it began; `memory=False` leaves out PSS, whose reading walks the
    pages.
    """
    total = Cost()
    for pid in tree(root):
        total = _add(total, _one(pid, memory=memory))
    return total


def forget_peak(root: int) -> None:
    """From now on the peak of resident memory is counted anew (proc(5), clear_refs)."""
    for pid in tree(root):
        (PROC / str(pid) / "clear_refs").write_text("5", encoding="ascii")


def _one(pid: int, *, memory: bool) -> Cost:
    fields = _stat(pid)
    if not fields:
        return Cost()
    # After "(comm) ": 0 state, 11 utime, 12 stime, 13 cutime, 14 cstime, 17 threads (proc(5) counts from 1 with pid).
    cpu_s = sum(int(fields[place]) for place in (11, 12, 13, 14)) / TICKS_PER_SECOND
    status = _colon_lines(PROC / str(pid) / "status")
    voluntary, involuntary = _switches(pid)
    return Cost(
        cpu_s,
        voluntary,
        involuntary,
        _kib(status, "VmRSS"),
        _kib(status, "VmHWM"),
        _kib(_colon_lines(PROC / str(pid) / "smaps_rollup"), "Pss") if memory else 0,
        1,
        int(fields[17]),
    )


def _add(a: Cost, b: Cost) -> Cost:
    return Cost(
        a.cpu_s + b.cpu_s,
        a.voluntary + b.voluntary,
        a.involuntary + b.involuntary,
        a.rss_bytes + b.rss_bytes,
        a.rss_peak_bytes + b.rss_peak_bytes,
        a.pss_bytes + b.pss_bytes,
        a.processes + b.processes,
        a.threads + b.threads,
    )


def _switches(pid: int) -> tuple[int, int]:
    voluntary = involuntary = 0
    for task in _listed(PROC / str(pid) / "task"):
        status = _colon_lines(task / "status")
        voluntary += int(status.get("voluntary_ctxt_switches", "0"))
        involuntary += int(status.get("nonvoluntary_ctxt_switches", "0"))
    return voluntary, involuntary


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name (which may hold spaces and brackets); empty when the process is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _colon_lines(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _kib(lines: dict[str, str], name: str) -> int:
    words = lines.get(name, "0").split()
    return int(words[0]) * 1024 if words else 0
