"""A node and the model under the same random schedules of requests, answers, writes and purges: they never disagree.

The number of schedules is the profile's: a few hundred in the test run, 100,000 by `make model`.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.processes import Headland
from tests.property.model import Asked, Cache, Said, Verdict, age, of_use, storable
from tests.security.recording import RawClient, RecordingOrigin

SCHEDULES = int(os.environ.get("HEADLAND_MODEL_SCHEDULES", "300"))
CONFIGURATION = """\
[node]
workers = 1
[listen]
http = "127.0.0.1:0"
[admin]
listen = "off"
state_dir = "state"
[log]
format = "off"
[purge]
allow = ["127.0.0.1/32"]
[[site]]
hosts = ["*"]
origin = "app"
[origin.app]
servers = "ORIGIN"
"""
RESPONSE_DIRECTIVES = [
    None, "", "max-age=60", "MAX-AGE=60", 'max-age="60"', "max-age=0", "max-age=x", "s-maxage=60",
    "s-maxage=0, max-age=60", "max-age=60, s-maxage=200", "no-store", "no-store, max-age=60", "private",
    "private, max-age=60", "no-cache", "no-cache, max-age=60", "public", "public, max-age=60",
    "must-revalidate, max-age=60", "max-age=60, unknown=1", 'max-age=60, private="x-own"', "max-age=60, no-Store",
]  # fmt: skip
REQUEST_DIRECTIVES = [
    "no-cache",
    "no-store",
    "max-age=0",
    "max-age=50",
    "max-age=1000",
    "min-fresh=1000",
    "min-fresh=1",
]
FUTURE = "Fri, 01 Jan 2100 00:00:00 GMT"
SAID = st.builds(
    Said,
    status=st.sampled_from([200, 200, 200, 404, 301, 302, 403]),
    cache_control=st.sampled_from(RESPONSE_DIRECTIVES),
    expires=st.sampled_from([None, None, None, "0", FUTURE]),
    age=st.sampled_from([None, None, None, "30", "100", "x", "-1"]),
    vary=st.sampled_from([None, None, "x-a", "X-A, x-b", "*"]),
    etag=st.sampled_from([None, '"v"', 'W/"v"']),
    set_cookie=st.sampled_from([False, False, False, True]),
)
FIELDS = st.lists(
    st.tuples(st.sampled_from(["x-a", "x-b"]), st.sampled_from(["1", "2"])), max_size=2, unique_by=lambda f: f[0]
)
ASKED = st.builds(
    Asked,
    method=st.sampled_from(["GET", "GET", "GET", "GET", "HEAD", "POST", "PUT"]),
    cache_control=st.one_of(st.none(), st.none(), st.sampled_from(REQUEST_DIRECTIVES)),
    authorization=st.sampled_from([False, False, False, True]),
    fields=FIELDS.map(tuple),
)
STEP = st.one_of(st.tuples(st.just("ask"), ASKED, SAID), st.tuples(st.just("purge"), st.just(Asked("PURGE")), SAID))
SCHEDULE = st.lists(st.one_of(STEP, st.tuples(st.just("ask"), ASKED, st.none())), min_size=2, max_size=10)


class Origin:
    """Answers each path as it was told last; every full answer has a body of its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.says: dict[bytes, Said] = {}
        self.asked = 0
        self.confirmed = False
        """Whether the last answer was a 304."""
        self.bodies = itertools.count()

    def answer(self, head: bytes) -> bytes:
        method, path, _ = head.split(b" ", 2)
        with self.lock:
            said = self.says[path]
            self.asked += 1
            body = f"body {next(self.bodies)}".encode()
        lines = [(name, value) for name, value in _lines(said) if value is not None]
        fields = "".join(f"{name}: {value}\r\n" for name, value in lines).encode()
        asked_for = said.etag is not None and f"if-none-match: {said.etag}".lower().encode() in head.lower()
        self.confirmed = said.status == 200 and asked_for
        if self.confirmed:
            return b"HTTP/1.1 304 Not Modified\r\n" + fields + b"\r\n"
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        return b"HTTP/1.1 %d X\r\n" % said.status + fields + length + (b"" if method == b"HEAD" else body)


def _lines(said: Said) -> list[tuple[str, str | None]]:
    return [
        ("Cache-Control", said.cache_control),
        ("Expires", said.expires),
        ("Age", said.age),
        ("Vary", said.vary),
        ("ETag", said.etag),
        ("Set-Cookie", "a=b" if said.set_cookie else None),
    ]


@dataclass
class World:
    """A node, its origin, and the connection to it."""

    address: str
    origin: Origin
    resources: Iterator[int]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("model")
    origin = Origin()
    with RecordingOrigin(origin.answer) as server:
        file = directory / "edge.toml"
        file.write_text(CONFIGURATION.replace("ORIGIN", server.url))
        with Headland("serve", "--config", file) as process:
            yield World(process.serving()["http"], origin, itertools.count())


@settings(
    max_examples=SCHEDULES,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(schedule=SCHEDULE)
def test_the_node_does_what_the_model_allows(world: World, schedule: list[tuple[str, Asked, Said | None]]) -> None:
    path = f"/{next(world.resources)}".encode()
    cache, said = Cache(), Said(cache_control="max-age=60")
    with RawClient(world.address) as client:
        for kind, asked, now in schedule:
            said = now or said
            world.origin.says[path] = said
            if kind == "purge":
                client.send(b"PURGE " + path + b" HTTP/1.1\r\nHost: a.example\r\n\r\n")
                assert client.answer()[0] in (200, 404)
                cache.forget()
            else:
                _ask(world, client, path, cache, asked=asked, said=said)


def _ask(world: World, client: RawClient, path: bytes, cache: Cache, *, asked: Asked, said: Said) -> None:
    expected, selected = cache.hit(asked), cache.selected(asked)
    before = world.origin.asked
    client.send(_request(asked, path))
    if asked.method == "HEAD":
        head, body = client.until(b"\r\n\r\n"), None
        status = int(head[9:12])
    else:
        status, head, content = client.answer()
        body = content.decode()
    fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:] if ": " in line)
    if world.origin.asked > before:
        assert expected is not Verdict.MUST, ("asked the origin", fields["cache-status"], asked, selected)
        learnt = Answer(fields["cache-status"], body, status, confirmed=world.origin.confirmed)
        _learn(cache, asked, said, learnt)
        return
    assert expected is not Verdict.MUST_NOT, ("answered from the store", fields["cache-status"], asked, selected)
    assert "; hit" in fields["cache-status"]
    if cache.known and selected is not None:
        selected.body = selected.body or body
        assert body in (None, selected.body), ("another body", body, asked, selected)
        assert int(fields["age"]) - age(selected.said) in (0, 1, 2), (fields["age"], selected)
        assert status == selected.said.status


@dataclass(frozen=True)
class Answer:
    """What came back when the origin was asked."""

    told: str
    body: str | None
    status: int
    confirmed: bool


def _learn(cache: Cache, asked: Asked, said: Said, answer: Answer) -> None:
    """The model takes over what the node says it did, after checking that it may and that it had to."""
    if asked.method not in {"GET", "HEAD"}:
        if 200 <= answer.status < 400:
            cache.forget()
        return
    may, selected = storable(asked, said), cache.selected(asked)
    if answer.confirmed:
        cache.known = False
    elif "; stored" in answer.told:
        assert may, ("stored what may not be", answer, asked, said)
        # A HEAD is answered before its fill has ended: until then the next request may meet what was there before.
        cache.known &= asked.method == "GET" or not cache.stored
        cache.keep(asked, said, answer.body)
        cache.uncacheable = False
    elif may:
        # The node says itself when it leaves a key aside that gave nothing to share before.
        excused = cache.uncacheable or not cache.known or not of_use(said) or "detail=uncacheable" in answer.told
        assert excused, ("did not store what may be", answer, asked, said)
        cache.uncacheable = False
        cache.known &= selected is None
    else:
        cache.uncacheable = True
        cache.known &= selected is None


def _request(asked: Asked, path: bytes) -> bytes:
    fields = [f"{name}: {value}" for name, value in asked.fields]
    if asked.cache_control is not None:
        fields.append(f"Cache-Control: {asked.cache_control}")
    if asked.authorization:
        fields.append("Authorization: Basic eDp5")
    if asked.method in {"POST", "PUT"}:
        fields.append("Content-Length: 0")
    lines = "".join(f"{line}\r\n" for line in fields).encode()
    return asked.method.encode() + b" " + path + b" HTTP/1.1\r\nHost: a.example\r\n" + lines + b"\r\n"
