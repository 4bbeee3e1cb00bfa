"""One long answer that may not be stored, HTTP/1.1 on both sides: how fast it passes, and what it leaves in memory.

Length and hash of every answer are checked. The client hashes on the load's core, alike for both sides.
"""

from __future__ import annotations

import os
import subprocess
import sys

import orjson

from perf.bench import SATURATED, Bench
from perf.errors import WrongAnswerError
from perf.machine import pinned
from perf.peer import Peer
from perf.results import Bar, Measure
from perf.scenario import Scenario

ORDER = 21
MIB = 1024 * 1024
BYTES = 1024 * MIB
QUICK_BYTES = 256 * MIB
DEADLINE_S = 120.0


def run(bench: Bench) -> list[Measure]:
    size = QUICK_BYTES if bench.pace.quick else BYTES
    expected = bench.origin.make_large(size)
    peers = [peer for peer in bench.start(needs=("store",)) if peer.process]
    what = f"{size // MIB:,} MiB proxied, not stored"
    time = Measure("time", f"{what}: request to last byte", "s")
    cpu = Measure("cpu", f"{what}: CPU of the server", "s CPU")
    growth = Measure("growth", f"{what}: peak of resident memory above what it was before, the worst round", "MiB")
    worst = dict.fromkeys((peer.name for peer in peers), 0)
    for number in range(bench.pace.rounds + 1):
        for peer in peers:
            seconds, spent, grown, busy = _pass(bench, peer, size, expected)
            worst[peer.name] = max(worst[peer.name], grown)
            bench.progress(
                f"  round {number}  {peer.name:14} {seconds:.3f} s, {spent:.2f} s CPU, +{grown / MIB:.1f} MiB"
            )
            if number:  # the first round brings pages and connections: only its memory counts
                time.add(peer.name, seconds, load_busy=busy, server_busy=spent / seconds)
                cpu.add(peer.name, spent)
    for name, grown in worst.items():
        growth.add(name, grown / MIB)
    for name, rounds in time.details.items():
        limited = sum(float(str(each["load_busy"])) > SATURATED > float(str(each["server_busy"])) for each in rounds)
        if limited:
            time.notes.append(f"{name}: client and origin were the limit in {limited} of {len(rounds)} rounds")
    return [time, cpu, growth]


def _pass(bench: Bench, peer: Peer, size: int, expected: str) -> tuple[float, float, int, float]:
    """Seconds, the server's CPU seconds, bytes that its memory grew by, and how busy the client's core was with it."""
    peer.forget_peak()
    before, load_before = peer.cost(memory=False), os.times()
    command = [sys.executable, "-m", "perf.drain", peer.address, str(peer.http), f"/nocache/large/{size}"]
    done = subprocess.run(
        pinned(bench.cores.load, command), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    load_after, after = os.times(), peer.cost(memory=False)
    peer.check_alive()
    if done.returncode:
        raise WrongAnswerError(f"{peer.name}: {done.stderr.strip()[-500:]}")
    told = orjson.loads(done.stdout)
    if (told["status"], told["length"], told["bytes"], told["xxh3"]) != (200, size, size, expected):
        raise WrongAnswerError(f"{peer.name}: {told} instead of {size} bytes with hash {expected}")
    bench.commands[f"large {peer.name}"] = " ".join(command)
    load_s = load_after.children_user - load_before.children_user
    load_s += load_after.children_system - load_before.children_system
    seconds = float(told["seconds"])
    spent = after.since(before).cpu_s
    return seconds, spent, max(0, after.rss_peak_bytes - before.rss_bytes), load_s / seconds


SCENARIO = Scenario(
    "proxy-large",
    "Proxied, uncacheable 1 GiB",
    "one no-store body of 1 GiB through the node, HTTP/1.1 on both sides, by one client that checks length and hash.",
    (Bar("time", 1.0), Bar("growth", 8.0, kind="absolute")),
    run,
)
