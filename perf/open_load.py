"""The open loop: perf/load's generator asked for a rate.

Latency is from the moment a request was due. A generator that was itself late says so in the result.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from perf import own_load
from perf.own_load import Door
from perf.peer import Peer

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
    early: bool = False
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
    return own_load.program()


def run(what: Arrivals, peer: Peer, cores: tuple[int, ...], prefix: tuple[str, ...] = ()) -> Waits:
    """Load `peer` once; `prefix` puts words before the command, such as another network namespace."""
    words = ["--list", what.listed, "--first", str(what.first)] if what.listed else ["--path", what.path]
    words += ["--rate", f"{what.rate:.3f}", "--seconds", f"{what.seconds:g}", "--warm", f"{what.warm_s:g}"]
    words += ["--mode", "new" if what.new_connections else "reuse", "--connections", str(what.connections)]
    words += ["--bytes", str(what.body_bytes)] if what.body_bytes else []
    words += ["--arrivals", "poisson" if what.poisson else "even", "--unique", "yes" if what.unique else "no"]
    words += ["--resume", "yes" if what.resume else "no"]
    words += ["--early", "yes"] if what.early else []
    command = own_load.command(peer, what.door, words, agent=not what.listed)
    told = own_load.run(peer, command, what.warm_s + what.seconds, cores, verdict=what.verdict, prefix=prefix)
    return Waits(told.report, shlex.join(command))
