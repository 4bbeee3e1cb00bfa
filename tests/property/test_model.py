"""A node and the model under the same random schedules of requests, answers, errors, pauses, purges and restarts.

They never disagree. The number of schedules is the profile's: a few hundred in the test run, 100,000 by `make model`.
The node runs in the process of the test, so that its clock can be put forward.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("_headland", reason="the extension is not built: make develop")

from tests.property.model import ERRORS, Asked, Cache, Said, Stored, Verdict, age_at, of_use, storable
from tests.property.world import World
from tests.security.recording import CLOSE, RawClient, RecordingOrigin

NUMBERS = itertools.count()
"""Of the paths: each schedule has its own."""
SCHEDULES = int(os.environ.get("HEADLAND_MODEL_SCHEDULES", "300"))
CONFIGURATION = """\
[cache]
disk = { path = "disk", size = "64MiB", admission = "always", segment = "16MiB" }
[[site]]
hosts = ["*"]
origin = "app"
[origin.app]
servers = "ORIGIN"
[origin.app.ejection]
failures = 0
"""
RESPONSE_DIRECTIVES = [
    None, "", "max-age=60", "MAX-AGE=60", 'max-age="60"', "max-age=0", "max-age=x", "s-maxage=60",
    "s-maxage=0, max-age=60", "max-age=60, s-maxage=200", "no-store", "no-store, max-age=60", "private",
    "private, max-age=60", "no-cache", "no-cache, max-age=60", "public", "public, max-age=60",
    "must-revalidate, max-age=60", "max-age=60, unknown=1", 'max-age=60, private="x-own"', "max-age=60, no-Store",
]  # fmt: skip
WINDOWS = [
    "max-age=60, stale-while-revalidate=100", "max-age=60, stale-if-error=100", "max-age=0, stale-if-error=300",
    "max-age=60, stale-while-revalidate=100, stale-if-error=300", "s-maxage=60, stale-if-error=100",
    "max-age=60, must-revalidate, stale-while-revalidate=100, stale-if-error=100",
]  # fmt: skip
REQUEST_DIRECTIVES = [
    "no-cache",
    "no-store",
    "max-age=0",
    "max-age=50",
    "max-age=1000",
    "min-fresh=1000",
    "min-fresh=1",
    "max-stale",
    "max-stale=50",
]
PAUSES_S = [1, 10, 30, 45, 61, 100, 200, 10_000]
FUTURE = "Fri, 01 Jan 2100 00:00:00 GMT"
SAID = st.builds(
    Said,
    status=st.sampled_from([200, 200, 200, 200, 404, 301, 302, 403, 500, 503]),
    cache_control=st.one_of(st.sampled_from(RESPONSE_DIRECTIVES), st.sampled_from(WINDOWS)),
    expires=st.sampled_from([None, None, None, "0", FUTURE]),
    age=st.sampled_from([None, None, None, "30", "100", "x", "-1"]),
    vary=st.sampled_from([None, None, "x-a", "X-A, x-b", "*"]),
    etag=st.sampled_from([None, '"v"', 'W/"v"']),
    set_cookie=st.sampled_from([False, False, False, True]),
    dropped=st.sampled_from([False] * 9 + [True]),
    cut=st.sampled_from([False] * 9 + [True]),
)
FIELDS = st.lists(
    st.tuples(st.sampled_from(["x-a", "x-b"]), st.sampled_from(["1", "2"])), max_size=2, unique_by=lambda f: f[0]
)
ASKED = st.builds(
    Asked,
    method=st.sampled_from(["GET", "GET", "GET", "GET", "HEAD", "POST", "PUT"]),
    cache_control=st.one_of(st.none(), st.none(), st.sampled_from(REQUEST_DIRECTIVES)),
    authorization=st.sampled_from([False, False, False, True]),
    range=st.sampled_from([False, False, False, True]),
    condition=st.sampled_from([False, False, False, True]),
    fields=FIELDS.map(tuple),
)


@dataclass(frozen=True)
class Ask:
    """A request; the origin answers differently from now on, or goes on as before."""

    asked: Asked
    said: Said | None


@dataclass(frozen=True)
class Pause:
    """Virtual seconds go by."""

    seconds: int


@dataclass(frozen=True)
class Purge:
    """The resource is purged."""

    soft: bool


@dataclass(frozen=True)
class Restart:
    """The node ends and begins again, with what it has on disk."""


Step = Ask | Pause | Purge | Restart
PLAIN = st.builds(
    Said, cache_control=st.sampled_from(RESPONSE_DIRECTIVES + WINDOWS), etag=st.sampled_from([None, '"v"'])
)
"""Nothing but its lifetime: so that most schedules begin with something stored, and time can tell on it."""
ASK = st.builds(Ask, ASKED, st.sampled_from([st.none(), st.none(), SAID, PLAIN]).flatmap(lambda kind: kind))
PAUSE = st.builds(Pause, st.sampled_from(PAUSES_S))
RARE = st.sampled_from([*[Purge(soft=False), Purge(soft=True)] * 15, Restart()])
KINDS = [*[ASK] * 5, *[PAUSE] * 4, *[st.just(Ask(Asked("GET"), None))] * 2, RARE]
STEPS = st.lists(st.sampled_from(KINDS).flatmap(lambda kind: kind), max_size=12)
"""By flatmap, because one_of gives the rare kinds the weight of the others when it is nested."""
SCHEDULE = st.tuples(st.builds(Ask, st.just(Asked("GET")), st.one_of(PLAIN, SAID)), STEPS).map(
    lambda drawn: [drawn[0], *drawn[1]]
)

OTHER = Asked("GET", fields=(("x-a", "1"),))
ONE_VARIANT_PURGED: list[Step] = [
    Ask(Asked("GET"), Said(cache_control="max-age=60", vary="x-a")),
    Purge(soft=False),
    Ask(OTHER, None),
    Ask(Asked("GET"), None),
    Ask(OTHER, None),
]
"""What was purged took a variant with it that had come since."""


class Origin:
    """Answers each path as it was told last; every full answer has a body of its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.says: dict[bytes, Said] = {}
        self.asked = 0
        self.confirmed = False
        """Whether the last answer was a 304."""
        self.bodies = itertools.count()

    def answer(self, head: bytes) -> bytes | None:
        method, path, _ = head.split(b" ", 2)
        with self.lock:
            said = self.says[path]
            self.asked += 1
            body = f"body {next(self.bodies)}".encode()
        self.confirmed = False
        if said.dropped:
            return None
        lines = [(name, value) for name, value in _lines(said) if value is not None]
        fields = "".join(f"{name}: {value}\r\n" for name, value in lines).encode()
        asked_for = said.etag is not None and f"if-none-match: {said.etag}".lower().encode() in head.lower()
        self.confirmed = said.status == 200 and asked_for
        if self.confirmed:
            return b"HTTP/1.1 304 Not Modified\r\n" + fields + b"\r\n"
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        whole = b"HTTP/1.1 %d X\r\n" % said.status + fields + length + (b"" if method == b"HEAD" else body)
        return whole[:-1] + CLOSE if said.cut and method != b"HEAD" else whole


def _lines(said: Said) -> list[tuple[str, str | None]]:
    return [
        ("Cache-Control", said.cache_control),
        ("Expires", said.expires),
        ("Age", said.age),
        ("Vary", said.vary),
        ("ETag", said.etag),
        ("Set-Cookie", "a=b" if said.set_cookie else None),
    ]


@pytest.fixture(scope="module")
def origin() -> Origin:
    return Origin()


@pytest.fixture(scope="module")
def world(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with RecordingOrigin(origin.answer) as server:
        world = World(CONFIGURATION.replace("ORIGIN", server.url), tmp_path_factory.mktemp("model"))
        yield world
        world.close()


@settings(
    max_examples=SCHEDULES,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(schedule=SCHEDULE)
@example(schedule=ONE_VARIANT_PURGED)
def test_the_node_does_what_the_model_allows(world: World, origin: Origin, schedule: list[Step]) -> None:
    run = Run(world, origin, f"/{next(NUMBERS)}".encode())
    for step in schedule:
        run.take(step)


@dataclass
class Run:
    """One schedule, on a resource of its own."""

    world: World
    origin: Origin
    path: bytes
    cache: Cache = field(default_factory=Cache)
    said: Said = field(default_factory=lambda: Said(cache_control="max-age=60"))

    def take(self, step: Step) -> None:
        """One step, and what is to be seen of it."""
        match step:
            case Pause(seconds):
                self.world.pause(seconds)
            case Purge(soft):
                self.world.purge(self.path.decode(), soft=soft)
                if soft:
                    self.cache.soften()
                else:
                    self.cache.forget()
            case Restart():
                self.world.restart()
                self.cache.uncacheable = False
            case Ask(asked, said):
                self.said = said or self.said
                self.origin.says[self.path] = self.said
                self._ask(asked)

    def _ask(self, asked: Asked) -> None:
        now_s, asked_before = self.world.now_s(), self.origin.asked
        expected, selected = self.cache.hit(asked, now_s), self.cache.selected(asked)
        status, fields, body = self._exchange(asked)
        told = fields["cache-status"]
        self.world.settle()
        if "; hit" in told and "stale-if-error" not in told:
            assert expected is not Verdict.MUST_NOT, ("answered from the store", told, asked, selected)
            self._check_stored(asked, selected, status, fields, body)
            if self.origin.asked > asked_before:
                confirmed = self.origin.confirmed
                self.cache.fetched_behind(asked, self.said, confirmed=confirmed, now_s=self.world.now_s())
            return
        assert expected is not Verdict.MUST, ("asked the origin", told, asked, selected)
        self._asked_origin(asked, selected, status, fields, body)

    def _asked_origin(
        self, asked: Asked, selected: Stored | None, status: int, fields: dict[str, str], body: str | None
    ) -> None:
        """The origin was asked: something stored stood in for it, or the model learns what became of its answer."""
        told, stands_in = fields["cache-status"], self.cache.stands_in(asked, self.world.now_s())
        if "stale-if-error" in told:
            assert stands_in is not Verdict.MUST_NOT, ("stale on error", told, asked, selected)
            assert self.said.dropped or self.said.status in ERRORS
            self._check_stored(asked, selected, status, fields, body)
        elif self.said.dropped:
            assert status in {502, 504}, (status, told)
            assert stands_in is not Verdict.MUST, ("an error although something is stored", told, asked, selected)
        elif self.said.cut and asked.method in {"GET", "HEAD"} and not self.origin.confirmed:
            # Its head went out before it broke: no claim of that head counts, and what was stored stays.
            self._check_broken(asked, status, fields, body)
            self.cache.uncacheable |= not storable(asked, self.said)
        else:
            hidden = self.said.status in ERRORS and asked.method in {"GET", "HEAD"} and stands_in is Verdict.MUST
            assert not hidden, ("an error although something is stored", told, asked, selected)
            whole = body if status == self.said.status and not asked.range else None
            answer = Answer(told, whole, status, confirmed=self.origin.confirmed)
            _learn(self.cache, asked, self.said, answer, self.world.now_s())

    def _check_broken(self, asked: Asked, status: int, fields: dict[str, str], body: str | None) -> None:
        """A transfer that breaks off never looks whole."""
        if body is None or asked.range or status in {304, 502, 504}:
            return
        assert len(body) < int(fields.get("content-length", "1000")), ("looks whole", status, fields, body)

    def _exchange(self, asked: Asked) -> tuple[int, dict[str, str], str | None]:
        with RawClient(self.world.address) as client:
            client.send(_request(asked, self.path))
            if asked.method == "HEAD":
                head, body = client.until(b"\r\n\r\n"), None
                status = int(head[9:12])
            else:
                status, head, content = client.answer()
                body = content.decode()
        lines = head.decode().lower().split("\r\n")[1:]
        return status, dict(line.split(": ", 1) for line in lines if ": " in line), body

    def _check_stored(
        self, asked: Asked, selected: Stored | None, status: int, fields: dict[str, str], body: str | None
    ) -> None:
        """An answer from the store has the body, the part, the status and the age that it should have."""
        if not self.cache.known or selected is None:
            return
        part = asked.range and asked.method == "GET"
        if selected.said.status == 200 and asked.condition and selected.said.etag is not None:
            assert (status, body or "") == (304, ""), (status, asked, selected)
            return
        if selected.said.status == 200 and part:
            assert (status, body) == (206, (selected.body or body or "")[:2]), (status, body, asked, selected)
        else:
            assert status == selected.said.status, (status, asked, selected)
            selected.body = selected.body or body
            assert body in (None, selected.body), ("another body", body, asked, selected)
        older_s = int(fields["age"]) - age_at(selected, self.world.now_s())
        assert -2 <= older_s <= 2, (fields["age"], older_s, selected)


@dataclass(frozen=True)
class Answer:
    """What came back when the origin was asked."""

    told: str
    body: str | None
    status: int
    confirmed: bool


def _learn(cache: Cache, asked: Asked, said: Said, answer: Answer, now_s: float) -> None:
    """The model takes over what the node says it did, after checking that it may and that it had to."""
    if asked.method not in {"GET", "HEAD"}:
        if 200 <= answer.status < 400:
            cache.forget()
        return
    may, selected = storable(asked, said), cache.selected(asked)
    if answer.confirmed:
        cache.confirm(asked, said, now_s)
    elif "; stored" in answer.told:
        assert may, ("stored what may not be", answer, asked, said)
        # A HEAD is answered before its fill has ended: until then the next request may meet what was there before.
        cache.known &= asked.method == "GET" or not cache.stored
        cache.keep(asked, said, answer.body, now_s)
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
    if asked.range:
        fields.append("Range: bytes=0-1")
    if asked.condition:
        fields.append('If-None-Match: "v"')
    if asked.method in {"POST", "PUT"}:
        fields.append("Content-Length: 0")
    lines = "".join(f"{line}\r\n" for line in fields).encode()
    return asked.method.encode() + b" " + path + b" HTTP/1.1\r\nHost: a.example\r\n" + lines + b"\r\n"
