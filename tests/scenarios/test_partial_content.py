"""What ranges bring is stored in parts, used again, and completed (RFC 9111 sections 3.3 and 3.4)."""

from __future__ import annotations

import random
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.curls import Answer, Client
from tests.scripted import WAIT_S, Exchange, ScriptedOrigin

PART = 1 << 20
"""Bytes of a part."""
SMALL = random.Random(5).randbytes(10_000)  # noqa: S311 - the same bytes in every run
LARGE = random.Random(6).randbytes(5 * PART + 12_345)  # noqa: S311
FRESH = {"Cache-Control": "max-age=60", "Content-Type": "application/octet-stream"}
DATED = {"Date": "Tue, 14 Nov 2023 22:13:20 GMT", "Last-Modified": "Mon, 13 Nov 2023 10:00:00 GMT"}


class Source:
    """An origin that can give parts; what it gives can be changed."""

    def __init__(self, body: bytes, tag: str | None = '"v1"', **fields: str) -> None:
        self.body = body
        self.fields = {**FRESH, "Accept-Ranges": "bytes", **{n.replace("_", "-"): v for n, v in fields.items()}}
        if tag:
            self.fields["ETag"] = tag
        self.given = 0
        """Bytes of bodies that were begun."""

    def change(self, body: bytes, tag: str) -> None:
        """From now on, give another representation."""
        self.body, self.fields = body, {**self.fields, "ETag": tag}

    def wanted(self, exchange: Exchange) -> tuple[int, int] | None:
        """The range to give, end excluded; none for the whole."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", exchange.headers.get("Range") or "")
        condition = exchange.headers.get("If-Range")
        if match is None or condition not in (None, self.fields.get("ETag"), self.fields.get("Last-Modified")):
            return None
        first, last = match.groups()
        if not first:
            return max(0, len(self.body) - int(last)), len(self.body)
        return int(first), min(len(self.body), int(last) + 1 if last else len(self.body))

    def begin(self, exchange: Exchange) -> bytes:
        """Send the head, and give what has to follow."""
        part = self.wanted(exchange)
        if part is None:
            content = self.body
            exchange.begin(200, self.fields, len(content))
        else:
            content = self.body[part[0] : part[1]]
            where = {"Content-Range": f"bytes {part[0]}-{part[1] - 1}/{len(self.body)}"}
            exchange.begin(206, {**self.fields, **where}, len(content))
        self.given += len(content)
        return content

    def __call__(self, exchange: Exchange) -> None:
        exchange.send(self.begin(exchange))


def _ranges(origin: ScriptedOrigin, path: str) -> list[str | None]:
    return [each.headers.get("Range") for each in origin.asked(path)]


def _get(client: Client, path: str, first: int, last: int) -> Answer:
    return client.get(path, f"Range: bytes={first}-{last}")


def test_a_range_is_asked_for_as_it_is_and_used_again(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, Source(SMALL))
    first = _get(client, path, 100, 999)
    assert (first.status, first.body, first.cache) == (206, SMALL[100:1000], "fwd=uri-miss; stored")
    assert first.headers["content-range"] == "bytes 100-999/10000"
    again = _get(client, path, 100, 999)
    inside = _get(client, path, 200, 299)
    assert (again.cache, again.body) == ("hit", SMALL[100:1000])
    assert (inside.cache, inside.body, inside.status) == ("hit", SMALL[200:300], 206)
    assert _ranges(origin, path) == ["bytes=100-999"]


def test_a_head_is_answered_for_the_whole(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, Source(SMALL))
    _get(client, path, 0, 9)
    head = client.get(path, method="HEAD")
    assert (head.status, head.cache) == (200, "hit")
    assert head.headers["content-length"] == "10000"
    assert "content-range" not in head.headers
    assert client.get(path, 'If-None-Match: "v1"').status == 304
    assert client.get(path, "Range: bytes=10000-").status == 416
    assert len(origin.asked(path)) == 1


@pytest.mark.parametrize(
    ("asked", "rest"),
    [((0, 4999), "bytes=5000-"), ((6000, 9999), "bytes=0-5999"), ((10, 20), "bytes=0-")],
    ids=["the end is missing", "the beginning is missing", "both are missing"],
)
def test_the_whole_is_completed_by_what_is_missing(
    client: Client, origin: ScriptedOrigin, path: str, asked: tuple[int, int], rest: str
) -> None:
    origin.at(path, Source(SMALL))
    _get(client, path, *asked)
    whole = client.get(path)
    assert (whole.status, whole.body, whole.cache) == (200, SMALL, "fwd=partial")
    assert "content-range" not in whole.headers
    assert _ranges(origin, path)[1:] == [rest]
    assert origin.asked(path)[1].headers["If-Range"] == '"v1"'
    again = client.get(path)
    assert (again.body, again.cache) == (SMALL, "hit")
    assert _get(client, path, 3, 7000).body == SMALL[3:7001]
    assert len(origin.asked(path)) == 2


def test_of_a_large_one_only_the_missing_parts_are_fetched(client: Client, origin: ScriptedOrigin, path: str) -> None:
    source = Source(LARGE)
    origin.at(path, source)
    _get(client, path, 2 * PART + 5, 2 * PART + 9)
    middle = _get(client, path, 3 * PART - 10, 4 * PART + 10)
    assert middle.body == LARGE[3 * PART - 10 : 4 * PART + 11]
    assert middle.cache == "fwd=partial"
    assert _ranges(origin, path)[1:] == [f"bytes={2 * PART}-{5 * PART - 1}"]
    whole = client.get(path)
    assert (whole.status, whole.body) == (200, LARGE)
    assert _ranges(origin, path)[2:] == [f"bytes=0-{2 * PART - 1}", f"bytes={5 * PART}-"]
    assert source.given == len(LARGE) + 5
    again = client.get(path)
    assert (again.body, again.cache) == (LARGE, "hit")
    tail = client.get(path, "Range: bytes=-20000")
    assert (tail.body, tail.cache) == (LARGE[-20000:], "hit")
    assert len(origin.asked(path)) == 4


def test_what_is_too_long_for_one_object_is_stored_in_parts(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, Source(LARGE))
    whole = client.get(path)
    assert (whole.status, whole.body, whole.cache) == (200, LARGE, "fwd=uri-miss; stored")
    again = client.get(path)
    assert (again.body, again.cache) == (LARGE, "hit")
    assert _get(client, path, PART, 3 * PART).body == LARGE[PART : 3 * PART + 1]
    assert len(origin.asked(path)) == 1


def test_a_suffix_is_kept_where_it_belongs(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, Source(SMALL))
    tail = client.get(path, "Range: bytes=-100")
    assert (tail.status, tail.body) == (206, SMALL[-100:])
    assert _get(client, path, 9950, 9960).cache == "hit"
    assert client.get(path).body == SMALL
    assert _ranges(origin, path) == ["bytes=-100", "bytes=0-9899"]


def test_parts_of_two_representations_are_never_joined(client: Client, origin: ScriptedOrigin, path: str) -> None:
    source = Source(LARGE)
    origin.at(path, source)
    _get(client, path, 0, 9)
    source.change(LARGE[::-1], '"v2"')
    whole = client.get(path)
    assert (whole.status, whole.body, whole.headers["etag"]) == (200, LARGE[::-1], '"v2"')
    assert _get(client, path, 0, 9).body == LARGE[::-1][:10]


def test_a_new_representation_of_the_same_length_without_a_tag_is_noticed(
    client: Client, origin: ScriptedOrigin, path: str
) -> None:
    source = Source(SMALL, None, Cache_Control="max-age=999999999", **DATED)
    origin.at(path, source)
    _get(client, path, 0, 9)
    source.body = SMALL[::-1]
    source.fields["Last-Modified"] = "Tue, 14 Nov 2023 10:00:00 GMT"
    assert client.get(path).body == SMALL[::-1]
    assert origin.asked(path)[1].headers["If-Range"] == DATED["Last-Modified"]


@pytest.mark.parametrize("tag", [None, 'W/"v1"'])
def test_without_a_strong_validator_a_part_is_used_but_never_completed(
    client: Client, origin: ScriptedOrigin, path: str, tag: str | None
) -> None:
    origin.at(path, Source(SMALL, tag))
    _get(client, path, 0, 99)
    assert _get(client, path, 10, 19).cache == "hit"
    assert client.get(path).body == SMALL
    assert _ranges(origin, path) == ["bytes=0-99", None]
    assert client.get(path).cache == "hit"


def test_an_origin_that_gives_no_ranges_fills_the_whole(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.says(path, FRESH, SMALL)
    assert _get(client, path, 5, 9).body == SMALL[5:10]
    assert client.get(path).cache == "hit"


@pytest.mark.parametrize(
    "where",
    ["bytes 0-9/*", "bytes */10000", "bytes 0-8/10000", "lines 0-9/10000", "bytes 9-0/10000", "bytes 0-9/5", ""],
)
def test_a_part_that_does_not_say_where_it_belongs_is_not_kept(
    client: Client, origin: ScriptedOrigin, path: str, where: str
) -> None:
    fields = {**FRESH, "ETag": '"v1"', "Content-Range": where}
    origin.at(path, lambda it: it.answer(206, fields, SMALL[:10]) if it.headers.get("Range") else it.answer(200, FRESH))
    passed = _get(client, path, 0, 9)
    assert (passed.status, passed.body) == (206, SMALL[:10])
    assert _get(client, path, 0, 9).cache != "hit"
    assert client.get(path).status == 200


def test_a_part_that_nobody_asked_for_is_no_whole(client: Client, origin: ScriptedOrigin, path: str) -> None:
    fields = {**FRESH, "ETag": '"v1"', "Content-Range": "bytes 0-9/10000"}
    origin.says(path, fields, SMALL[:10], 206)
    assert client.get(path).status == 206
    assert client.get(path).cache != "hit"


def test_no_store_and_private_hold_for_parts(client: Client, origin: ScriptedOrigin, path: str) -> None:
    for rule in ("no-store", "private"):
        origin.at(path + rule, Source(SMALL, Cache_Control=rule))
        _get(client, path + rule, 0, 9)
        assert _get(client, path + rule, 0, 9).cache != "hit"


def test_validation_keeps_the_parts(client: Client, origin: ScriptedOrigin, path: str) -> None:
    source = Source(SMALL, Cache_Control="max-age=60, no-cache")

    def script(exchange: Exchange) -> None:
        if exchange.headers.get("If-None-Match") == '"v1"':
            exchange.answer(304, {"ETag": '"v1"'})
        else:
            source(exchange)

    origin.at(path, script)
    _get(client, path, 0, 99)
    again = _get(client, path, 0, 99)
    assert (again.status, again.body) == (206, SMALL[:100])
    assert again.cache == "fwd=stale"
    assert source.given == 100


def test_an_unsafe_request_takes_the_parts_away(client: Client, origin: ScriptedOrigin, path: str) -> None:
    source = Source(LARGE)
    origin.at(path, lambda it: it.answer(204) if it.method == "POST" else source(it))
    _get(client, path, PART, 2 * PART - 1)
    client.get(path, method="POST", body="x")
    source.body = LARGE[::-1]
    assert _get(client, path, PART, 2 * PART - 1).body == LARGE[::-1][PART : 2 * PART]


def test_a_purge_takes_the_parts_away(client: Client, origin: ScriptedOrigin, path: str) -> None:
    source = Source(LARGE)
    origin.at(path, source)
    client.get(path)
    assert client.get(path, method="PURGE").status == 200
    source.body = LARGE[::-1]
    assert client.get(path).body == LARGE[::-1]


def test_many_clients_of_one_cold_range_cause_one_request(client: Client, origin: ScriptedOrigin, path: str) -> None:
    source, release = Source(LARGE), threading.Event()

    def script(exchange: Exchange) -> None:
        content = source.begin(exchange)
        exchange.send(content[:1000])
        assert release.wait(WAIT_S)
        exchange.send(content[1000:])

    origin.at(path, script)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(_get, client, path, 0, 3 * PART)
        origin.wait_asked(path, 1)
        others = [pool.submit(_get, client, path, 0, 3 * PART) for _ in range(19)]
        release.set()
        answers = [first.result(), *(other.result() for other in others)]
    assert {answer.body for answer in answers} == {LARGE[: 3 * PART + 1]}
    assert _ranges(origin, path)[0] == f"bytes=0-{3 * PART}"
    # The first one's last byte is alone in its part: whoever wants more of it may ask for the rest, none for the same.
    assert source.given <= 4 * PART


def test_clients_at_random_places_fetch_each_part_once(client: Client, origin: ScriptedOrigin, path: str) -> None:
    source = Source(LARGE)
    origin.at(path, source)
    _get(client, path, 0, 0)
    chance = random.Random(7)  # noqa: S311
    places = [
        (first, min(len(LARGE) - 1, first + chance.randrange(1, 2 * PART)))
        for first in (chance.randrange(len(LARGE)) for _ in range(30))
    ]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda place: _get(client, path, *place), places))
    for (first, last), answer in zip(places, answers, strict=True):
        assert answer.status == 206
        assert answer.body == LARGE[first : last + 1]
    # Each request began with a part that nobody else had or fetched.
    assert len(origin.asked(path)) <= 1 + len(LARGE) // PART + 1


def test_an_origin_that_breaks_off_is_asked_for_the_rest(client: Client, origin: ScriptedOrigin, path: str) -> None:
    source = Source(LARGE)

    def script(exchange: Exchange) -> None:
        content = source.begin(exchange)
        if exchange.number in (1, 2):
            exchange.send(content[: len(content) // 2])
            exchange.cut()
        else:
            exchange.send(content)

    origin.at(path, script)
    answer = _get(client, path, 0, 3 * PART - 1)
    assert (answer.ended, answer.body) == (0, LARGE[: 3 * PART])
    assert len(origin.asked(path)) == 3


def test_a_representation_that_changes_under_a_download_breaks_it(
    client: Client, origin: ScriptedOrigin, path: str
) -> None:
    source = Source(LARGE)

    def script(exchange: Exchange) -> None:
        content = source.begin(exchange)
        if exchange.number == 1:
            exchange.send(content[: 2 * PART + 7])
            source.change(LARGE[::-1], '"v2"')
            exchange.cut()
        else:
            exchange.send(content)

    origin.at(path, script)
    answer = client.get(path)
    assert answer.ended != 0
    assert LARGE.startswith(answer.body)
    assert client.get(path).body == LARGE[::-1]


@pytest.mark.parametrize("tag", ['"v1"', None], ids=["strong validator", "none"])
def test_a_slow_download_ends_whole_whatever_happens_to_what_is_stored(
    client: Client, origin: ScriptedOrigin, path: str, tag: str | None
) -> None:
    body = random.Random(9).randbytes(24 * PART)  # noqa: S311 - the same bytes in every run
    source = Source(body, tag)

    def script(exchange: Exchange) -> None:
        content = memoryview(source.begin(exchange))
        for at in range(0, len(content), PART):
            exchange.send(bytes(content[at : at + PART]))

    origin.at(path, script)
    # The client over HTTP/3 is slow by itself.
    pace = () if client.version == "h3" else ("--limit-rate", "8M")
    with client.start(path, "Range: bytes=0-", extra=pace) as slow:
        slow.until(body[:1000])
        source.change(body[::-1], '"v2"')
        assert client.get(path, method="PURGE").status == 200
        assert client.get(path, "Range: bytes=0-9").headers["etag"] == '"v2"'
        answer = slow.answer()
    assert (answer.status, answer.ended, answer.body) == (206, 0, body)
    assert len(origin.asked(path)) == 2


def test_an_origin_that_fails_leaves_what_is_there(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, Source(SMALL))
    _get(client, path, 0, 4999)
    origin.says(path, {}, b"", 503)
    assert client.get(path).status in (502, 503)
    assert _get(client, path, 0, 4999).cache == "hit"
    origin.at(path, Source(SMALL))
    assert client.get(path).body == SMALL


def test_the_fetch_stops_when_its_client_leaves(client: Client, origin: ScriptedOrigin, path: str) -> None:
    body = bytes(64 * PART)
    source, stopped = Source(body), threading.Event()

    def script(exchange: Exchange) -> None:
        content = memoryview(source.begin(exchange))
        try:
            for at in range(0, len(content), PART):
                exchange.send(bytes(content[at : at + PART]))
        except OSError:
            stopped.set()

    origin.at(path, script)
    transfer = client.start(path, extra=("--limit-rate", "100k"))
    with transfer:
        transfer.until(b"\r\n\r\n")
    assert stopped.wait(WAIT_S)


@pytest.mark.parametrize("tags", [['"v1"', '"v1"'], ['"v1"', '"v2"']], ids=["same", "other"])
def test_an_origin_that_announces_ranges_and_gives_none_is_asked_a_few_times(
    client: Client, origin: ScriptedOrigin, path: str, tags: list[str]
) -> None:
    source = Source(LARGE)

    def script(exchange: Exchange) -> None:
        exchange.begin(200, {**source.fields, "ETag": tags[exchange.number > 1]}, len(LARGE))
        exchange.send(LARGE[: PART // 2] if exchange.number == 1 else LARGE)
        if exchange.number == 1:
            exchange.cut()

    origin.at(path, script)
    first = client.get(path)
    assert LARGE.startswith(first.body)
    # A whole that is the same version stands in for the rest.
    assert (first.ended == 0) == (tags[0] == tags[1])
    assert client.get(path).body == LARGE
    assert len(origin.asked(path)) < 6
