"""Responses that are stored in parts, over a disk tier: larger than memory, across restarts, and damaged."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.curls import Answer, Client
from tests.processes import Headland, preamble
from tests.scenarios.test_partial_content import Source
from tests.scripted import ScriptedOrigin

PART = 1 << 20
BODY = random.Random(8).randbytes(40 * PART + 99)  # noqa: S311 - the same bytes in every run
CONFIGURATION = """\
[cache]
memory = "16MiB"
object_max = "1MiB"
disk = { path = "disk", size = "256MiB", admission = "always", segment = "16MiB" }
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = "ORIGIN"
"""


@pytest.fixture
def origin():
    with ScriptedOrigin() as running:
        yield running


@pytest.fixture
def starts(origin: ScriptedOrigin, tmp_path: Path) -> Callable[[], Headland]:
    """Starts a node with the disk of this test."""

    def start() -> Headland:
        file = tmp_path / "edge.toml"
        file.write_text(preamble() + CONFIGURATION.replace("ORIGIN", origin.url))
        return Headland("serve", "--config", file)

    return start


def _client(node: Headland) -> Client:
    return Client(node.serving()["http"], "h1")


def _get(client: Client, *fields: str, **options: str) -> Answer:
    # The key has the host, and the node's port is another one after a restart.
    return client.get("/large", *fields, host="a.example", **options)


def _stop(node: Headland) -> None:
    node.signal(signal.SIGTERM)
    assert node.status() == 0


def test_what_is_larger_than_memory_is_served_from_its_parts(starts: Callable[[], Headland], origin) -> None:
    source = Source(BODY)
    origin.at("/large", source)
    with starts() as node:
        client = _client(node)
        assert _get(client).body == BODY
        assert _get(client).body == BODY
        middle = _get(client, f"Range: bytes={20 * PART - 5}-{21 * PART}")
        assert middle.body == BODY[20 * PART - 5 : 21 * PART + 1]
    # What the disk could not take in at once was asked for again, and nothing else.
    assert source.given < 2 * len(BODY)


def test_a_restart_finds_the_parts(starts: Callable[[], Headland], origin) -> None:
    source = Source(BODY)
    origin.at("/large", source)
    with starts() as node:
        client = _client(node)
        for first in range(0, len(BODY), 4 * PART):
            last = min(len(BODY), first + 4 * PART) - 1
            assert _get(client, f"Range: bytes={first}-{last}").body == BODY[first : last + 1]
        _stop(node)
    given = source.given
    with starts() as node:
        client = _client(node)
        assert _get(client, f"Range: bytes=0-{PART - 1}").body == BODY[:PART]
        assert _get(client).body == BODY
    assert source.given - given < len(BODY) // 2


def test_parts_of_another_version_do_not_come_back(starts: Callable[[], Headland], origin) -> None:
    source = Source(BODY)
    origin.at("/large", source)
    with starts() as node:
        _get(_client(node))
        _stop(node)
    source.change(BODY[::-1], '"v2"')
    with starts() as node:
        client = _client(node)
        _get(client, method="POST", body="x")
        assert _get(client).body == BODY[::-1]
        _stop(node)
    with starts() as node:
        assert _get(_client(node)).body == BODY[::-1]


def test_damaged_parts_are_fetched_again(starts: Callable[[], Headland], origin, tmp_path: Path) -> None:
    origin.at("/large", Source(BODY))
    with starts() as node:
        _get(_client(node))
        _stop(node)
    chance = random.Random(9)  # noqa: S311
    for segment in (tmp_path / "disk").rglob("*"):
        if segment.is_file() and segment.stat().st_size > PART:
            content = bytearray(segment.read_bytes())
            for _ in range(3):
                content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            segment.write_bytes(content)
    with starts() as node:
        client = _client(node)
        assert _get(client).body == BODY
        assert _get(client).body == BODY
