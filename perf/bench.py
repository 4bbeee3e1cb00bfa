"""What a scenario works with: an origin, peers on demand, checks of their answers, and interleaved rounds of load.

One bench serves one scenario: everything it started ends with it, and its folder is removed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perf import accounting, bodies, certificate, flame, load
from perf.accounting import Cost
from perf.errors import ClockSetError, NotAvailableError, PerfError, WrongAnswerError
from perf.http_client import Answer, fetch, fetch_h2, fetch_h3
from perf.load import Load, Run
from perf.machine import Cores
from perf.origin import Origin, Place
from perf.own_load import Door
from perf.peer import Peer, Site
from perf.profile import Profile
from perf.results import Measure

SATURATED = 0.95  # share of a core from which on its owner counts as the limit
CLOCK_SET_MAX = 3  # runs that are made again because the clock was set meanwhile, one after the other
SHORT_ROUNDS, SHORT_SECONDS = 3, 1.0
STEADY_CHECKS = 3  # answers that are compared byte by byte before and after the rounds


@dataclass(frozen=True, slots=True)
class Pace:
    """How long and how often."""

    rounds: int
    seconds: float
    quick: bool
    flame: Path | None = None
    """Where flame graphs go, when they are asked for."""

    def in_short(self) -> Pace:
        """For what has no bar: fewer and shorter rounds, so that the whole suite ends within half an hour."""
        return dataclasses.replace(
            self, rounds=min(SHORT_ROUNDS, self.rounds), seconds=min(SHORT_SECONDS, self.seconds)
        )


@dataclass(slots=True)
class Bench:
    """The context of one scenario."""

    folder: Path
    profiles: dict[str, Profile]
    chosen: tuple[str, ...]
    cores: Cores
    pace: Pace
    progress: Callable[[str], None] = field(default=lambda line: print(line, file=sys.stderr))
    commands: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    _origin: Origin | None = None
    _certificate: tuple[Path, Path] | None = None
    _peers: list[Peer] = field(default_factory=list)

    @property
    def origin(self) -> Origin:
        """The origin, started when it is first asked for."""
        if self._origin is None:
            self._origin = Origin(self.folder / "origin", self.certificate, self.cores.origin)
        return self._origin

    def place_origin(self, place: Place) -> None:
        """Start the origin somewhere else than on loopback; before it is first asked for."""
        self._origin = Origin(self.folder / "origin", self.certificate, self.cores.origin, place)

    @property
    def certificate(self) -> tuple[Path, Path]:
        if self._certificate is None:
            self._certificate = certificate.make(self.folder)
        return self._certificate

    def start(
        self, *, needs: Sequence[str] = (), variants: bool = False, only: Sequence[str] = (), **overrides: str
    ) -> list[Peer]:
        """Start every chosen peer (of `only`, if given) that can do `needs`; with `variants` each of its variants too.

        A peer that is not installed or does not start is kept in `absent` with the reason: the others are measured.
        """
        started: list[Peer] = []
        for name in self.chosen:
            profile = self.profiles[name]
            if name not in only and (only or profile.aside):
                continue
            names = ["", *profile.variants] if variants else [""]
            started.extend(peer for variant in names if (peer := self._start_one(profile, variant, needs, overrides)))
        if not started:
            raise NotAvailableError(
                "; ".join(f"{name}: {why}" for name, why in self.absent.items()) or "no peer chosen"
            )
        return started

    def stop(self, peers: Sequence[Peer]) -> None:
        """End some peers and forget their files."""
        for peer in peers:
            peer.stop()
            shutil.rmtree(peer.folder, ignore_errors=True)
            self._peers.remove(peer)

    def close(self) -> None:
        """End everything that was started."""
        self.stop(list(self._peers))
        if self._origin:
            self._origin.stop()

    def check(self, peer: Peer, path: str, body: str, *, door: Door = "h1", verdict: str = "") -> Answer:
        """Ask once and compare status, length and every byte; `verdict` is "hit", "miss" or nothing to look at."""
        if door in {"h2", "h3"}:
            answer = (fetch_h2 if door == "h2" else fetch_h3)(peer.address, peer.https, path)
        else:
            answer = fetch(peer.address, peer.https if door == "tls" else peer.http, path, tls=door == "tls")
        where = f"{peer.name} {door} {path}"
        expected = bodies.body(body)
        if answer.status != 200:
            raise WrongAnswerError(f"{where}: status {answer.status} instead of 200")
        if door == "h2" and answer.version != "HTTP/2":
            raise WrongAnswerError(f"{where}: answered over {answer.version}")
        if hashlib.sha256(answer.body).digest() != hashlib.sha256(expected).digest():
            raise WrongAnswerError(f"{where}: {len(answer.body)} bytes are not the {len(expected)} of body {body}")
        if verdict:
            word = answer.headers.get(peer.profile.verdict_header, "")
            wanted = peer.profile.hit if verdict == "hit" else peer.profile.miss
            if not wanted.search(word):
                raise WrongAnswerError(f"{where}: {peer.profile.verdict_header} says {word!r}, expected a {verdict}")
        return answer

    def warm(self, peers: Sequence[Peer], path: str, body: str, *, door: Door = "h1") -> None:
        """Bring one object into every cache and see that it stays there."""
        for peer in peers:
            self.check(peer, path, body, door=door)
            for _ in range(STEADY_CHECKS):
                self.check(peer, path, body, door=door, verdict="hit" if "store" in peer.profile.capabilities else "")

    def cpu_per_request(
        self, measure: Measure, peers: Sequence[Peer], what: Load, *, pace: Pace | None = None
    ) -> Measure:
        """Interleaved rounds of `what`; the value is the server's CPU per request in microseconds."""
        pace = pace or self.pace
        rates: dict[str, float] = {}
        for peer in peers:  # one run that is not counted: pages, branch predictors, first connections
            first, _ = self._asked(what, peer, 1.0)
            rates[peer.name] = first.requests / first.wall_s
        for number in range(pace.rounds):
            for peer in peers:
                run, spent = self._asked(what, peer, pace.seconds, rates[peer.name])
                peer.check_alive()
                self.commands[f"{measure.key} {peer.name}"] = run.command
                value = spent.cpu_s / run.requests * 1e6
                measure.add(peer.name, value, **_detail(run, spent))
                rate = run.requests / run.wall_s
                where = f"{measure.key:10} round {number + 1}/{pace.rounds}"
                self.progress(f"  {where}  {peer.name:22} {value:9.2f} us  {rate:9.0f}/s")
        _note_limits(measure)
        if self.pace.flame:
            for peer in peers:
                self._flame(measure, peer, what, rates[peer.name])
        return measure

    def _asked(self, what: Load, peer: Peer, seconds: float, rate: float = 0.0) -> tuple[Run, Cost]:
        """One run and what it cost the peer; made again when the clock was set meanwhile."""
        left = CLOCK_SET_MAX
        while True:
            before = peer.cost(memory=False)
            try:
                run = load.run(what, peer, seconds, self.cores.load, rate)
            except ClockSetError as error:
                if left == 0:
                    raise
                left -= 1
                self.progress(f"  again: {error}")
            else:
                return run, peer.cost().since(before)

    def _flame(self, measure: Measure, peer: Peer, what: Load, rate: float) -> None:
        """One more run, not counted, with the peer's stacks sampled."""
        if peer.process is None or self.pace.flame is None:
            return
        recording = self.folder / "perf.data"
        with flame.recorded(accounting.tree(peer.process.pid), recording):
            load.run(what, peer, self.pace.seconds, self.cores.load, rate)
        drawn = flame.tree(flame.stacks(recording))
        recording.unlink(missing_ok=True)
        if not drawn.samples:
            self.progress(f"  {peer.name}: no flame graph: perf is not installed, or not allowed to sample")
            return
        name = f"flame-{measure.key}-{peer.name.replace('/', '-')}.svg"
        (self.pace.flame / name).write_text(flame.svg(drawn, f"{measure.title}, {peer.name}"), encoding="utf-8")
        self.progress(f"  {name}")

    def _start_one(
        self, profile: Profile, variant: str, needs: Sequence[str], overrides: dict[str, str]
    ) -> Peer | None:
        name = f"{profile.name}/{variant}" if variant else profile.name
        missing, lacks = profile.missing(), sorted(set(needs) - profile.capabilities)
        if missing or lacks:
            self.absent[name] = f"not installed: {', '.join(missing)}" if missing else f"cannot do {', '.join(lacks)}"
            return None
        folder = self.folder / name.replace("/", "-")
        try:
            peer = Peer(profile, variant, folder, Site(self.origin, self.certificate, self.cores.server), overrides)
        except PerfError as error:
            self.absent[name] = str(error)
            self.progress(f"  {name} is left out: {error}")
            shutil.rmtree(folder, ignore_errors=True)
            return None
        self._peers.append(peer)
        return peer


def _detail(run: Run, spent: Cost) -> dict[str, object]:
    """What is kept of a round beside its value; all per run, seconds and bytes."""
    return {
        "requests": run.requests,
        "wall_s": run.wall_s,
        "requests_per_s": run.requests / run.wall_s,
        "server_cpu_s": spent.cpu_s,
        "server_busy": spent.cpu_s / run.wall_s,
        "load_busy": run.load_busy,
        "load_was_the_limit": run.load_busy > SATURATED > spent.cpu_s / run.wall_s,
        "bytes_in": run.bytes_in,
        "voluntary_switches": spent.voluntary,
        "involuntary_switches": spent.involuntary,
        "rss_bytes": spent.rss_bytes,
        "rss_peak_bytes": spent.rss_peak_bytes,
        "pss_bytes": spent.pss_bytes,
        "threads": spent.threads,
    }


def _note_limits(measure: Measure) -> None:
    """Say for which peers the throughput is the generator's and not the server's."""
    for peer, rounds in measure.details.items():
        limited = sum(bool(each["load_was_the_limit"]) for each in rounds)
        if limited:
            busy = statistics.median(float(str(each["server_busy"])) for each in rounds)
            measure.notes.append(
                f"{peer}: the load generator was the limit in {limited} of {len(rounds)} rounds "
                f"(server {busy:.0%} busy): "
                "its throughput is not valid, its CPU per request is"
            )
