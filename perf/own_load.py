"""The suite's own load generator (`load/`, a crate of the workspace), built when first needed; its JSON is read here.

It asks by an open loop (`open_load`) or, over protocols that no other generator at hand speaks, by a closed one. What
may not be reported is refused: a request without an answer, a wrong status or length, a wrong cache verdict.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from perf import browser
from perf.build import built
from perf.errors import NotStartedError, WrongAnswerError
from perf.http_client import HOST
from perf.machine import pinned
from perf.peer import Peer

GRACE_S = 30.0

Door = Literal["h1", "tls", "h2", "h3"]


@dataclass(frozen=True, slots=True)
class Told:
    """What the generator reported, and what it took itself."""

    report: dict[str, Any]
    wall_s: float
    cpu_s: float


def program() -> str:
    """Path of the built generator."""
    return built("load")


def command(peer: Peer, door: Door, words: Sequence[str], *, agent: bool = True) -> list[str]:
    """Its command line: `words`, and what is asked of every peer alike; without `agent` no User-Agent."""
    port = peer.http if door == "h1" else peer.https
    made = [program(), "--address", f"{peer.address}:{port}", "--host", HOST, "--door", door, *words]
    made += ["--count-header", peer.profile.verdict_header]
    sent = [(name, value) for name, value in browser.HEADERS if agent or name != "User-Agent"]
    return made + [word for name, value in sent for word in ("--header", f"{name}: {value}")]


def run(
    peer: Peer,
    words: Sequence[str],
    seconds: float,
    cores: tuple[int, ...],
    *,
    verdict: str,
    prefix: tuple[str, ...] = (),
) -> Told:
    """Run it for about `seconds` and check its report; `prefix` puts words before it, as for a network namespace."""
    begun, before = time.monotonic(), os.times()
    done = subprocess.run(
        [*prefix, *pinned(cores, list(words))], capture_output=True, text=True, timeout=seconds + GRACE_S, check=False
    )
    wall_s, after = time.monotonic() - begun, os.times()
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    if done.returncode:
        raise NotStartedError(f"{peer.name}: {done.stderr.strip()[-500:]}")
    report = orjson.loads(done.stdout)
    _check(peer, report, verdict)
    return Told(report, wall_s, cpu_s)


def _check(peer: Peer, report: dict[str, Any], verdict: str) -> None:
    wrong = {name: report[name] for name in ("unanswered", "errors", "wrong_length") if report[name]}
    if wrong or set(report["statuses"]) != {"200"}:
        raise WrongAnswerError(f"{peer.name}: statuses {report['statuses']}, {wrong}")
    wanted = {"hit": peer.profile.hit, "miss": peer.profile.miss}.get(verdict)
    words = [word for word in report["values"] if wanted and not wanted.search(word)]
    if words:
        raise WrongAnswerError(f"{peer.name}: a {verdict} was expected, among the answers were {words}")
