"""Fetches that can take no more readers: whoever comes later is served by one of its own, never broken off."""

from __future__ import annotations

import random
import re
import threading

import pytest

from tests.curls import Client
from tests.processes import Headland, preamble
from tests.scripted import WAIT_S, Exchange, ScriptedOrigin

PART = 1 << 20
"""Bytes of a part."""
BODY = random.Random(8).randbytes(3 * PART + 99)  # noqa: S311 - the same bytes in every run
FIELDS = {"Cache-Control": "max-age=60", "ETag": '"v1"', "Accept-Ranges": "bytes"}
CONFIGURATION = """\
[cache]
memory = "64MiB"
object_max = "1MiB"
followers_max = 1
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = "{origin}"
"""


@pytest.fixture
def alone(origin, tmp_path):
    """A client of a node whose fetches have one reader each."""
    pytest.importorskip("_headland", reason="the extension is not built: make develop")
    file = tmp_path / "edge.toml"
    file.write_text(preamble() + CONFIGURATION.format(origin=origin.url))
    with Headland("serve", "--config", file) as node:
        yield Client(node.serving()["http"], "h1")


class Held:
    """An origin that holds the first answer back in its first part, and changes the tag when it is told to."""

    def __init__(self) -> None:
        self.tag = '"v1"'
        self.release = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        fields = {**FIELDS, "ETag": self.tag}
        place = re.fullmatch(r"bytes=(\d+)-(\d*)", exchange.headers.get("Range") or "")
        if place is None or exchange.headers.get("If-Range") != self.tag:
            content = BODY if self.tag == '"v1"' else BODY[::-1]
            exchange.begin(200, fields, len(content))
        else:
            end = int(place[2]) + 1 if place[2] else len(BODY)
            content = BODY[int(place[1]) : end]
            where = {"Content-Range": f"bytes {place[1]}-{end - 1}/{len(BODY)}"}
            exchange.begin(206, {**fields, **where}, len(content))
        exchange.send(content[:1000])
        if exchange.number == 1:
            assert self.release.wait(WAIT_S)
        exchange.send(content[1000:])


def test_a_reader_too_many_of_a_part_fetches_for_itself(
    alone: Client, origin: ScriptedOrigin, path: str, gate: threading.Event
) -> None:
    held = Held()
    held.release = gate
    origin.at(path, held)
    with alone.start(path) as first:
        first.until(BODY[:1000])
        late = alone.get(path)
        part = alone.get(path, f"Range: bytes={PART // 2}-{2 * PART}")
        gate.set()
        assert first.answer().body == BODY
    assert (late.status, late.body, late.ended) == (200, BODY, 0)
    assert (part.status, part.body, part.ended) == (206, BODY[PART // 2 : 2 * PART + 1], 0)
    assert [each.headers.get("Range") for each in origin.asked(path)][1:] == [
        "bytes=0-",
        f"bytes={PART // 2}-{2 * PART}",
    ]


def test_another_representation_shows_before_anything_is_sent(
    alone: Client, origin: ScriptedOrigin, path: str, gate: threading.Event
) -> None:
    held = Held()
    held.release = gate
    origin.at(path, held)
    with alone.start(path) as first:
        first.until(BODY[:1000])
        held.tag = '"v2"'
        late = alone.get(path)
        gate.set()
        assert first.answer().body == BODY
    assert (late.status, late.headers["etag"], late.body, late.ended) == (200, '"v2"', BODY[::-1], 0)
