"""Random schedules of ranges over representations that change, break off and are purged: every answer is made of one.

A representation is a version: its number is in its fields and decides its bytes. Whatever the cache keeps, joins or
fetches, the bytes of an answer are those of the version that its head names, and none is older than a hard purge.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

pytest.importorskip("_headland", reason="the extension is not built: make develop")

from tests.property.world import World
from tests.security.recording import CLOSE, RawClient, RecordingOrigin

NUMBERS = itertools.count()
"""Of the paths: each schedule has its own."""
SCHEDULES = int(os.environ.get("HEADLAND_MODEL_SCHEDULES", "300"))
PART = 1 << 20
CONFIGURATION = """\
[cache]
memory = "64MiB"
object_max = "1MiB"
disk = { path = "disk", size = "128MiB", admission = "always", segment = "16MiB" }
[[site]]
hosts = ["*"]
origin = "app"
[origin.app]
servers = "ORIGIN"
[origin.app.ejection]
failures = 0
"""
SIZES = [1, 10, 10, 10, 3000, PART, PART + 1, 2 * PART + 77]
DATE = "Mon, 13 Nov 2023 10:00:{:02} GMT"


@dataclass(frozen=True)
class Manner:
    """How the origin answers from now on."""

    validator: str = "tag"
    """`tag`, `weak`, `date` or `none`."""
    ranges: bool = True
    """Whether it gives parts."""
    cut: int = 0
    """So many hundredths of a body are sent before the connection closes; 0 for all of it."""
    short: bool = False
    """Whether it gives less than was asked for, at times."""


@dataclass(frozen=True)
class Get:
    """A request; positions are hundredths of the length, and both are None for the whole."""

    first: int | None = None
    last: int | None = None
    suffix: bool = False
    head: bool = False


@dataclass(frozen=True)
class Change:
    """Another version, of another length perhaps."""

    size: int


@dataclass(frozen=True)
class Event:
    """`pause`, `purge`, `soften`, `restart` or `write`."""

    kind: str


HUNDREDTH = st.integers(0, 100)
GETS = st.one_of(
    st.builds(Get, HUNDREDTH, HUNDREDTH), st.builds(Get, HUNDREDTH), st.builds(Get, HUNDREDTH, suffix=st.just(True)),
    st.just(Get()), st.just(Get(head=True)),
)  # fmt: skip
MANNERS = st.builds(
    Manner,
    st.sampled_from(["tag", "tag", "tag", "weak", "date", "none"]),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([0, 0, 0, 0, 30, 90]),
    st.sampled_from([False, False, True]),
)
EVENTS = st.sampled_from([Event(kind) for kind in ["pause", "purge", "soften", "write"] * 8 + ["restart"]])
KINDS = [*[GETS] * 6, MANNERS, st.builds(Change, st.sampled_from(SIZES)), EVENTS]
SCHEDULE = st.tuples(
    st.builds(Change, st.sampled_from(SIZES)),
    st.lists(st.sampled_from(KINDS).flatmap(lambda kind: kind), min_size=2, max_size=14),
).map(lambda drawn: [drawn[0], *drawn[1]])


@functools.cache
def _bytes(version: int, size: int) -> bytes:
    return random.Random(version % 50).randbytes(size)  # noqa: S311 - the same bytes in every run


@dataclass
class Resource:
    """What the origin has under one path."""

    version: int = 0
    size: int = 10
    manner: Manner = field(default_factory=Manner)
    asked: int = 0
    troubled: bool = False
    """Whether an answer was cut since this was last looked at."""

    def fields(self) -> list[str]:
        """Of a whole answer."""
        tag = {"tag": [f'ETag: "v{self.version}"'], "weak": [f'ETag: W/"v{self.version}"']}
        date = {"date": [f"Last-Modified: {DATE.format(self.version % 60)}"]}
        validator = tag.get(self.manner.validator, date.get(self.manner.validator, []))
        return [
            "Cache-Control: max-age=60",
            f"X-Version: {self.version} {self.size}",
            f"X-Answer: {self.asked}",
            "Accept-Ranges: bytes",
            *validator,
        ]

    def answer(self, head: str) -> bytes:
        """To a request with this head."""
        self.asked += 1
        whole, fields = _bytes(self.version, self.size), self.fields()
        sent = dict(re.findall(r"(?i)\r\n([a-z-]+): ([^\r]*)", head))
        sent = {name.lower(): value for name, value in sent.items()}
        validator = next((each.partition(": ")[2] for each in fields if each.startswith(("ETag", "Last-M"))), None)
        if validator and validator in (sent.get("if-none-match"), sent.get("if-modified-since")):
            return _message("304 Not Modified", fields, None)
        range_ = re.fullmatch(r"bytes=(\d*)-(\d*)", sent.get("range", ""))
        is_meant = self.manner.ranges and sent.get("if-range") in (None, validator)
        if range_ is None or not is_meant:
            return self._cut(_message("200 OK", fields, whole), len(whole))
        first, end = self._positions(range_[1], range_[2])
        if first >= self.size:
            return _message("416 Range Not Satisfiable", [f"Content-Range: bytes */{self.size}"], b"")
        where = f"Content-Range: bytes {first}-{end - 1}/{self.size}"
        return self._cut(_message("206 Partial Content", [*fields, where], whole[first:end]), end - first)

    def _positions(self, first: str, last: str) -> tuple[int, int]:
        if not first:
            return max(0, self.size - int(last)), self.size
        end = min(self.size, int(last) + 1) if last else self.size
        if self.manner.short and end - int(first) > 1:
            end = int(first) + (end - int(first) + 1) // 2
        return int(first), end

    def _cut(self, message: bytes, length: int) -> bytes:
        if not self.manner.cut:
            return message
        self.troubled = True
        return message[: len(message) - length + length * self.manner.cut // 100] + CLOSE


def _message(status: str, fields: list[str], body: bytes | None) -> bytes:
    lines = [f"HTTP/1.1 {status}", *fields, *([f"Content-Length: {len(body)}"] if body is not None else [])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


class Origin:
    """What it has, by path."""

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}
        self.lock = threading.Lock()

    def answer(self, head: bytes) -> bytes:
        """To one request."""
        method, path, rest = head.decode().split(" ", 2)
        with self.lock:
            resource = self.resources[path]
            if method == "POST":
                return _message("204 No Content", [], None)
            return resource.answer("\r\n" + rest.partition("\r\n")[2])


@pytest.fixture(scope="module")
def origin() -> Origin:
    return Origin()


@pytest.fixture(scope="module")
def world(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with RecordingOrigin(origin.answer) as server:
        world = World(CONFIGURATION.replace("ORIGIN", server.url), tmp_path_factory.mktemp("parts"))
        yield world
        world.close()


@settings(
    max_examples=SCHEDULES,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(schedule=SCHEDULE)
def test_every_answer_is_made_of_one_version(
    world: World, origin: Origin, schedule: list[Get | Manner | Change | Event]
) -> None:
    run = Run(world, origin, f"/{next(NUMBERS)}")
    for step in schedule:
        run.take(step)


class Run:
    """One schedule, on a resource of its own."""

    def __init__(self, world: World, origin: Origin, path: str) -> None:
        self.world, self.origin, self.path, self.resource = world, origin, path, Resource()
        self.oldest = 0
        """No answer may be of an older version."""
        self.restarted = False
        """Whether the origin has not answered since a restart: the disk may have an earlier head."""
        origin.resources[path] = self.resource

    def take(self, step: Get | Manner | Change | Event) -> None:
        """One step, and what is to be seen of it."""
        match step:
            case Manner():
                # Without a sign that a version is another one, there is none to tell it by: it stays the same.
                if step.validator != self.resource.manner.validator:
                    self._change(self.resource.size)
                self.resource.manner = step
            case Change(size):
                self._change(size)
            case Event(kind):
                self._happen(kind)
            case Get():
                self._get(step)

    def _change(self, size: int) -> None:
        with self.origin.lock:
            self.resource.version += 1
            self.resource.size = size

    def _happen(self, kind: str) -> None:
        match kind:
            case "pause":
                self.world.pause(61)
            case "purge" | "soften":
                soft = kind == "soften"
                self.world.purge(self.path, soft=soft)
                self.oldest = self.oldest if soft else self.resource.version
            case "write":
                self._exchange("POST", "Content-Length: 0\r\n")
                self.oldest = self.resource.version
            case "restart":
                self.world.restart()
                self.restarted = True

    def _get(self, get: Get) -> None:
        length = self.resource.size
        place = ""
        if get.first is not None:
            first = length * get.first // 100
            last = "" if get.last is None else str(first + length * get.last // 100)
            place = f"Range: bytes=-{first}\r\n" if get.suffix else f"Range: bytes={first}-{last}\r\n"
        asked = self.resource.asked
        status, fields, body = self._exchange("HEAD" if get.head else "GET", place)
        told, error = fields.get("cache-status", ""), fields.get("proxy-status")
        # What the disk has of a part is known when it is read.
        is_hit = "; hit" in told and "detail=disk" not in told
        assert not is_hit or asked == self.resource.asked, ("a hit that asked the origin", status, told, error)
        self.restarted = self.restarted and asked == self.resource.asked
        if is_hit and not self.restarted and status in (200, 206):
            # RFC 9111 section 3.4: whatever came last has updated what is stored.
            assert int(fields["x-answer"]) == asked, ("a hit under an old head", status, told, fields, asked)
        declared = int(fields.get("content-length", "-1"))
        if not get.head and len(body) != declared:
            assert self.resource.troubled, ("broke off without a reason", get, status, told, error, len(body), fields)
        self.resource.troubled = bool(self.resource.manner.cut)
        if status in (200, 206):
            self._check(get, status, fields, body)
        elif status == 416:
            total = int(fields["content-range"].rpartition("/")[2])
            assert get.first is not None
            assert get.suffix or length * get.first // 100 >= total or total != length, (get, fields)
        else:
            assert status in (502, 504), (status, fields)
            assert self.resource.manner.cut, (
                "failed without a reason",
                get,
                status,
                fields["cache-status"],
                fields.get("proxy-status"),
            )

    def _check(self, get: Get, status: int, fields: dict[str, str], body: bytes) -> None:
        version, size = (int(number) for number in fields["x-version"].split())
        assert self.oldest <= version <= self.resource.version, ("an old version", version, fields)
        whole = _bytes(version, size)
        first, end = 0, size
        if status == 206:
            assert get.first is not None
            where = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", fields["content-range"])
            assert where is not None
            first, end = int(where[1]), int(where[2]) + 1
            assert int(where[3]) == size, (fields, size)
        assert int(fields["content-length"]) == end - first, (fields, first, end)
        if not get.head:
            assert body == whole[first : first + len(body)], ("bytes of another version", get, status, fields)

    def _exchange(self, method: str, fields: str) -> tuple[int, dict[str, str], bytes]:
        with RawClient(self.world.address) as client:
            client.send(f"{method} {self.path} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n".encode())
            if method == "HEAD":
                head, body = client.until(b"\r\n\r\n"), b""
                status = int(head[9:12])
            else:
                status, head, body = client.answer()
        self.world.settle()
        lines = head.decode().lower().split("\r\n")[1:]
        return status, dict(line.split(": ", 1) for line in lines if ": " in line), body
