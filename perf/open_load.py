"""The open loop: perf/load's generator, built when first needed, asked for a rate, and its JSON read.

Latency is from the moment a request was due. What may not be reported is refused here: a request without an answer, a
wrong status or length, a wrong cache verdict; and a generator that was itself late says so in the result.
"""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from typing import Any

import orjson

from perf import browser
from perf.build import built
from perf.errors import NotStartedError, WrongAnswerError
from perf.http_client import HOST
from perf.load import Door
from perf.machine import pinned
from perf.peer import Peer

GRACE_S = 30.0
LATE_SHARE = 0.2  # of what was waited: from there on the generator's own lateness spoils it


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What is asked of every peer alike: `rate` per second for `seconds`, after `warm_s` of the same, not counted.

    `listed` is a file with a line (path, bytes, User-Agent) for every request instead of one path; `first` is the line
    to begin with.
    """

    path: str
    body_bytes: int
    rate: float
    seconds: float
    door: Door = "h1"
    new_connections: bool = False
    connections: int = 32
    warm_s: float = 0.3
    unique: bool = False
    poisson: bool = True
    verdict: str = "hit"
    resume: bool = False
    listed: str = ""
    first: int = 0


@dataclass(frozen=True, slots=True)
class Waits:
    """One run's result; times in microseconds from the due moment."""

    report: dict[str, Any]
    command: str

    def first_byte_us(self, quantile: str) -> float:
        """Time to first byte: p50, p90, p95, p99, p999 or max."""
        return float(self.report["first_byte"][quantile])

    def whole_us(self, quantile: str) -> float:
        """Time until the last byte."""
        return float(self.report["whole"][quantile])

    def spoiled(self, quantile: str = "p99") -> str:
        """Why this run's waits may not be reported, or nothing: the generator sent too late to know them."""
        late, waited = float(self.report["late"][quantile]), self.first_byte_us(quantile)
        return f"the generator was {late:.0f} us late itself" if late > LATE_SHARE * waited else ""


def generator() -> str:
    """Path of the built generator."""
    return built("load")


def run(what: Arrivals, peer: Peer, cores: tuple[int, ...], prefix: tuple[str, ...] = ()) -> Waits:
    """Load `peer` once; `prefix` puts words before the command, such as another network namespace."""
    port = peer.http if what.door == "h1" else peer.https
    command = [generator(), "--address", f"{peer.address}:{port}", "--host", HOST]
    command += ["--list", what.listed, "--first", str(what.first)] if what.listed else ["--path", what.path]
    command += ["--rate", f"{what.rate:.3f}", "--seconds", f"{what.seconds:g}", "--warm", f"{what.warm_s:g}"]
    command += ["--door", what.door, "--mode", "new" if what.new_connections else "reuse"]
    command += ["--connections", str(what.connections)]
    command += ["--bytes", str(what.body_bytes)] if what.body_bytes else []
    command += ["--arrivals", "poisson" if what.poisson else "even", "--unique", "yes" if what.unique else "no"]
    command += ["--resume", "yes" if what.resume else "no"]
    command += ["--count-header", peer.profile.verdict_header]
    sent = [(name, value) for name, value in browser.HEADERS if not (what.listed and name == "User-Agent")]
    command += [word for name, value in sent for word in ("--header", f"{name}: {value}")]
    deadline = what.warm_s + what.seconds + GRACE_S
    done = subprocess.run(
        [*prefix, *pinned(cores, command)], capture_output=True, text=True, timeout=deadline, check=False
    )
    if done.returncode:
        raise NotStartedError(f"{peer.name}: {done.stderr.strip()[-500:]}")
    report = orjson.loads(done.stdout)
    _check(what, peer, report)
    return Waits(report, shlex.join(command))


def _check(what: Arrivals, peer: Peer, report: dict[str, Any]) -> None:
    wrong = {name: report[name] for name in ("unanswered", "errors", "wrong_length") if report[name]}
    if wrong or set(report["statuses"]) != {"200"}:
        raise WrongAnswerError(f"{peer.name}: statuses {report['statuses']}, {wrong}")
    wanted = {"hit": peer.profile.hit, "miss": peer.profile.miss}.get(what.verdict)
    words = [word for word in report["values"] if wanted and not wanted.search(word)]
    if words:
        raise WrongAnswerError(f"{peer.name}: a {what.verdict} was expected, among the answers were {words}")
