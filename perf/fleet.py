"""Nodes that share their purges over a message server of our own, on loopback or each in a network namespace.

When a purge was in force on a node is the node's own word (`applied_at`, in milliseconds, rounded down): all run on one
machine, so they share a clock with whoever asks.
"""

from __future__ import annotations

import http.client
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson

from perf import purges, template, wan
from perf.errors import NotAvailableError, WrongAnswerError
from perf.machine import Cores, find_program
from perf.process import Process, free_ports
from perf.profile import FOLDER

NAMES = ("pop1", "pop2", "pop3")
NEWEST = 1_000
"""Purges that a node lists at once."""
SETTLE_S = 20.0


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a node stands: the words that start a program there, the bus's address from there, and its namespace."""

    prefix: tuple[str, ...] = ()
    bus: str = "127.0.0.1"
    space: str = ""


class Bus:
    """A running nats-server with JetStream."""

    def __init__(self, folder: Path, cores: Cores, address: str = "127.0.0.1", prefix: tuple[str, ...] = ()) -> None:
        program = find_program("nats-server")
        if program is None:
            raise NotAvailableError("not installed: nats-server")
        folder.mkdir(parents=True)
        (self.port,) = free_ports(1)
        command = [program, "-a", address, "-p", str(self.port), "-js", "-sd", str(folder / "store")]
        log = folder / "output.log"
        ready = b"Server is ready"
        self._process = Process(
            "nats-server",
            command,
            folder=folder,
            cores=cores.load,
            ready=lambda: ready in log.read_bytes(),
            prefix=prefix,
        )

    def stop(self) -> None:
        self._process.stop()


class Node:
    """One node of the fleet; may be ended and started again."""

    def __init__(self, name: str, folder: Path, bus: Bus, cores: Cores, spot: Spot) -> None:
        self.name = name
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self._cores = cores
        self._spot = spot
        self.http, self.admin = free_ports(2)
        values = {
            "name": name,
            "dir": str(self._folder),
            "listen": "127.0.0.1",
            "http": str(self.http),
            "admin": str(self.admin),
            "bus": f"{spot.bus}:{bus.port}",
        }
        for target, source in (("edge.toml", "headland-fleet.toml.in"), ("token", "headland-token.in")):
            text = (FOLDER / source).read_text(encoding="utf-8")
            (self._folder / target).write_text(template.fill(text, values), encoding="utf-8")
        self._process: Process | None = None

    def start(self) -> float:
        """Start it; the answer is how many seconds passed until it served, having caught up."""
        log = self._folder / "output.log"
        command = [find_program("headland") or "headland", "serve", "--config", str(self._folder / "edge.toml")]
        begun = time.monotonic()
        self._process = Process(
            self.name,
            command,
            folder=self._folder,
            cores=(*self._cores.server, *self._cores.load),
            ready=lambda: b" serving " in log.read_bytes(),
            prefix=self._spot.prefix,
        )
        return time.monotonic() - begun

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def number(self, name: str) -> float:
        """A metric of the fleet."""
        lines = self._asked("/metrics").decode().splitlines()
        return float(next(line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"headland_fleet_{name}")))

    def newest(self) -> dict[str, float]:
        """Unix time in seconds at which each of the newest purges was in force here."""
        listed = orjson.loads(self._asked(f"/v1/purges?limit={NEWEST}"))["purges"]
        return {each["id"]: datetime.fromisoformat(each["applied_at"]).timestamp() for each in listed}

    def purge(self, tag: str) -> tuple[str, float]:
        """Purge; its id, and the Unix time at which the answer came."""
        body = orjson.dumps({"type": "tag", "items": [tag]})
        answer = self._asked("/v1/purges", body)
        return orjson.loads(answer)["id"], time.time()

    def _asked(self, path: str, body: bytes | None = None) -> bytes:
        with closing(http.client.HTTPConnection("127.0.0.1", self.admin, timeout=purges.TIMEOUT_S)) as connection:
            with wan.inside(self._spot.space) if self._spot.space else nullcontext():
                connection.connect()
            fields = {"Authorization": f"Bearer {purges.TOKEN}", "Content-Type": "application/json"}
            connection.request("POST" if body else "GET", path, body, fields)
            answer = connection.getresponse()
            text = answer.read()
        if answer.status not in {200, 201}:
            raise WrongAnswerError(f"{self.name}: {path} was answered {answer.status}: {text[:200]!r}")
        return text


def whole(nodes: list[Node]) -> None:
    """Wait until all nodes know each other. Raises `WrongAnswerError` when they never do."""
    deadline = time.monotonic() + SETTLE_S
    while not all(node.number("nodes") == len(nodes) for node in nodes):
        if time.monotonic() > deadline:
            raise WrongAnswerError("the nodes did not find each other")
        time.sleep(0.1)
