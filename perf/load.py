"""Closed-loop load by wrk (HTTP/1.1, with and without TLS), h2load (HTTP/2) and load/ (HTTP/3): as fast as the server
lets them.

They are used for what a request *costs*; what a client *waits* is the business of an open loop (load/). Each answer
with a wrong status, each broken connection and each byte too few or too many makes the run worthless:
`WrongAnswerError`.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from perf import browser, own_load
from perf.errors import ClockSetError, NotStartedError, WrongAnswerError
from perf.http_client import HOST, fetch
from perf.machine import pinned
from perf.own_load import Door
from perf.peer import Peer

WRK_SCRIPT = Path(__file__).parent / "wrk.lua"
SIZE_SLACK_BYTES = 64  # by how much answers may differ: digits of Age, a hit beside a miss
SIZE_SLACK_SHARE = 0.002  # chunk framing of larger bodies
GRACE_S = 60.0
TIMEOUT_S = 10  # how late an answer may be before wrk counts it
CALIBRATION_REQUESTS = 20_000  # of h2load for 1 KiB, to learn how many fill the time that is asked for later
CALIBRATION_LEAST = 200
H2_WINDOWS = ("-w", "20", "-W", "24")  # bits, per stream and connection: about what browsers give

_unique = itertools.count(os.getpid() * 1000)


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of every peer alike.

    `path` is one object; with `unique` the prefix of always new ones; with `cycle` that of so many, asked for in turn
    (HTTP/1.1 only). With `own` load/ asks over HTTP/2 too, so that HTTP/3 can be held against it.
    """

    path: str
    body_bytes: int
    door: Door = "h1"
    connections: int = 32
    streams: int = 10
    unique: bool = False
    cycle: int = 0
    own: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a load generator did and what it cost the generator itself."""

    requests: int
    wall_s: float
    bytes_in: int
    load_cpu_s: float
    command: str

    @property
    def load_busy(self) -> float:
        """Share of one core that the generator used."""
        return self.load_cpu_s / self.wall_s


def run(load: Load, peer: Peer, seconds: float, cores: tuple[int, ...], rate: float = 0.0) -> Run:
    """Ask `peer` for about `seconds`; h2load counts requests, so it needs the `rate` per second of an earlier run.

    Without one it asks as many as calibrate it, however long they take: as many bytes, whatever the size.
    """
    if load.door == "h3" or load.own:
        return _own(load, peer, seconds, cores)
    if load.door == "h2":
        least = max(CALIBRATION_LEAST, CALIBRATION_REQUESTS * 1024 // load.body_bytes)
        return _h2load(load, peer, max(least, int(rate * seconds)), cores)
    return _wrk(load, peer, seconds, cores)


def unique_path(prefix: str) -> str:
    """`prefix` made into one that no run has used before."""
    return f"{prefix}{next(_unique)}-"


def _wrk(load: Load, peer: Peer, seconds: float, cores: tuple[int, ...]) -> Run:
    scheme, port = ("https", peer.https) if load.door == "tls" else ("http", peer.http)
    path = "/" if load.unique or load.cycle else load.path
    command = [
        "wrk",
        "-t1",
        f"-c{load.connections}",
        f"-d{seconds:.0f}s" if seconds >= 1 else "-d1s",
        "--timeout",
        f"{TIMEOUT_S}s",
    ]
    command += [
        "-s",
        str(WRK_SCRIPT),
        "-H",
        f"Host: {HOST}",
        *browser.flags(),
        f"{scheme}://{peer.address}:{port}{path}",
    ]
    command += ["--", unique_path(load.path)] if load.unique else []
    command += ["--", load.path, str(load.cycle)] if load.cycle else []
    size = _answer_bytes(load, peer)
    output, wall_s, cpu_s = _measured(pinned(cores, command), seconds)
    found = re.search(r"^RESULT (\{.*\})$", output, re.MULTILINE)
    if not found:
        raise NotStartedError(f"wrk gave no result: {output[-500:]}")
    result = orjson.loads(found[1])
    errors = {name: result[name] for name in ("connect", "read", "write", "status", "timeout") if result[name]}
    if set(errors) == {"timeout"} and wall_s < TIMEOUT_S:
        # wrk reads the clock that can be set: what was under way when it was set back looks ages old.
        raise ClockSetError(f"{peer.name}: {errors['timeout']} answers {TIMEOUT_S} s late in a run of {wall_s:.1f} s")
    if errors or not result["requests"]:
        raise WrongAnswerError(f"{peer.name}: wrk counted {result['requests']} answers and errors {errors}")
    _check_bytes(load, peer, result["requests"], result["bytes"], size)
    return Run(result["requests"], result["duration_us"] / 1e6, result["bytes"], cpu_s, shlex.join(command))


def _answer_bytes(load: Load, peer: Peer) -> int:
    """Size of one whole answer, head included, asked for just before the load; its body must be as long as expected."""
    path = unique_path(load.path) if load.unique else load.path + ("0" if load.cycle else "")
    tls = load.door == "tls"
    answer = fetch(peer.address, peer.https if tls else peer.http, path, tls=tls)
    if answer.status != 200 or len(answer.body) != load.body_bytes:
        raise WrongAnswerError(f"{peer.name} {path}: status {answer.status}, {len(answer.body)} bytes of body")
    return (
        len("HTTP/1.1 200 OK\r\n\r\n") + sum(len(f"{k}: {v}\r\n") for k, v in answer.headers.items()) + load.body_bytes
    )


def _check_bytes(load: Load, peer: Peer, requests: int, received: int, size: int) -> None:
    """Bytes of answers that were under way at the end are counted too: one per connection at most."""
    slack = SIZE_SLACK_BYTES + int(SIZE_SLACK_SHARE * size)
    if not requests * (size - slack) <= received <= (requests + load.connections) * (size + slack):
        raise WrongAnswerError(f"{peer.name}: {requests} answers of {size} bytes came as {received} bytes")


def _h2load(load: Load, peer: Peer, requests: int, cores: tuple[int, ...]) -> Run:
    command = [
        "h2load",
        f"-n{requests}",
        f"-c{load.connections}",
        f"-m{load.streams}",
        "-t1",
        *H2_WINDOWS,
        "-H",
        f":authority: {HOST}",
    ]
    command += [*browser.flags(), f"https://{peer.address}:{peer.https}{load.path}"]
    output, _, cpu_s = _measured(pinned(cores, command), 0)
    counts = re.search(r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed, (\d+) errored", output)
    codes = re.search(r"status codes: (\d+) 2xx", output)
    traffic = re.search(r"traffic: .*, \S+ \((\d+)\) data", output)
    finished = re.search(r"finished in ([\d.]+)(us|ms|s|m)\b", output)
    if not (counts and codes and traffic and finished):
        raise NotStartedError(f"h2load gave no result: {output[-500:]}")
    if not int(counts[2]) == int(codes[1]) == requests or int(traffic[1]) != requests * load.body_bytes:
        raise WrongAnswerError(
            f"{peer.name}: of {requests} requests {counts[2]} succeeded, {codes[1]} 2xx, {traffic[1]} bytes"
        )
    scale = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}[finished[2]]
    return Run(requests, float(finished[1]) * scale, int(traffic[1]), cpu_s, shlex.join(command))


def _own(load: Load, peer: Peer, seconds: float, cores: tuple[int, ...]) -> Run:
    words = ["--path", load.path, "--bytes", str(load.body_bytes), "--seconds", f"{seconds:g}"]
    words += ["--streams", str(load.streams), "--connections", str(load.connections)]
    command = own_load.command(peer, load.door, words)
    told = own_load.run(peer, command, seconds, cores, verdict="hit" if "store" in peer.profile.capabilities else "")
    answered = int(told.report["answered"])
    return Run(answered, told.wall_s, answered * load.body_bytes, told.cpu_s, shlex.join(command))


def _measured(command: list[str], seconds: float) -> tuple[str, float, float]:
    """Output, wall seconds and CPU seconds of a program that ends by itself."""
    start = time.monotonic()
    before = os.times()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise WrongAnswerError(f"{command[3]} did not end within {GRACE_S:.0f} s of grace") from error
    after = os.times()
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    return done.stdout + done.stderr, time.monotonic() - start, cpu_s
