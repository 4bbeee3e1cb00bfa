"""A node with a disk tier, and what its clients and operators ask of it."""

from __future__ import annotations

import functools
import hashlib
import random
import re
import signal
import time
import urllib.request
from collections.abc import Callable
from typing import Protocol

from tests.origins import Answer
from tests.processes import Headland
from tests.security.recording import RawClient

TOKEN = "a-token-for-tests"
CONFIGURATION = """\
[node]
name = "pop1"
workers = 2
[listen]
http = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
state_dir = "state"
tokens = [{ name = "ci", env = "HEADLAND_TOKEN", scope = ["purge", "read"] }]
[cache]
memory = "16MiB"
disk = { path = "DISK", size = "64MiB", admission = "ADMISSION", segment = "16MiB" }
SITES[origin.app]
servers = "ORIGIN"
"""
SITES = '[[site]]\nhosts = "*"\norigin = "app"\n'
OBJECTS = 250
"""Distinct paths, of which memory holds about a quarter."""


@functools.cache
def body_of(target: str) -> bytes:
    """Up to 200 KB that only this target has."""
    seed = int.from_bytes(hashlib.sha256(target.encode()).digest()[:8], "big")
    return random.Random(seed).randbytes(1000 + seed % 200_000)  # noqa: S311 - the same bytes in every run


def answer(target: str) -> Answer:
    """What the origin says; `/large` is some twenty times as long."""
    body = body_of(target) * (20 if target == "/large" else 1)
    return 200, {"Cache-Control": "max-age=3600", "ETag": f'"{target}"'}, body


def get(
    client: RawClient, target: str, method: str = "GET", fields: str = "", host: str = "a.example"
) -> tuple[int, str, bytes]:
    """An answer: its status, the node's own word in Cache-Status, its body."""
    client.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Content-Length: 0\r\n\r\n".encode())
    status, head, body = client.answer()
    told = [line for line in head.decode().split("\r\n") if line.lower().startswith("cache-status")]
    return status, told[0].split("pop1; ")[1] if told else "", body


def all_right(address: str, count: int = OBJECTS) -> int:
    """Asks for everything and compares it; how many came from disk."""
    from_disk = 0
    with RawClient(address) as client:
        for number in range(count):
            status, told, body = get(client, f"/{number}")
            assert (status, body) == (200, body_of(f"/{number}")), (number, told)
            from_disk += "detail=disk" in told
    return from_disk


def metrics_of(places: dict[str, str]) -> dict[str, float]:
    """The metrics of the tier; those of its only disk without their path."""
    request = urllib.request.Request(f"http://{places['admin']}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request) as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#")]
    found = {
        re.sub(r',?path="[^"]*"', "", name): float(value) for name, value in lines if "disk" in name or "store" in name
    }
    return {name.removeprefix("headland_").removesuffix("{}"): value for name, value in found.items()}


def stop(node: Headland) -> None:
    """An orderly end."""
    node.signal(signal.SIGTERM)
    assert node.status() == 0


def until(holds: Callable[[], bool]) -> None:
    """Waits until it holds."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"


class Starts(Protocol):
    """Starts a node with the disk of a test."""

    def __call__(
        self, admission: str = "always", disk: str = "disk", more: str = "", sites: str = SITES
    ) -> Headland: ...
