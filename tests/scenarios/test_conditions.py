"""HEAD, ranges and conditional requests answered from what is stored."""

from __future__ import annotations

import pytest

MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"
FIELDS = {"Cache-Control": "max-age=60", "ETag": '"1"', "Last-Modified": MODIFIED, "Content-Type": "text/plain"}
BODY = b"0123456789"


@pytest.fixture
def stored(origin, client, path):
    origin.says(path, FIELDS, BODY)
    assert client.get(path).cache == "fwd=uri-miss; stored"
    yield path
    assert len(origin.asked(path)) == 1


def test_head_is_answered_from_a_stored_get(client, stored):
    answer = client.get(stored, method="HEAD")
    assert (answer.status, answer.body, answer.cache) == (200, b"", "hit")
    assert (answer.headers["content-length"], answer.headers["etag"]) == ("10", '"1"')


def test_a_head_that_misses_warms_the_cache(origin, client, path):
    origin.says(path, FIELDS, BODY)
    answer = client.get(path, method="HEAD")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "10")
    assert answer.cache == "fwd=uri-miss; stored"
    whole = client.poll(lambda answer: answer.cache == "hit", path)
    assert whole.body == BODY
    assert [exchange.method for exchange in origin.asked(path)] == ["GET"]


@pytest.mark.parametrize(
    ("wanted", "part", "content_range"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-30", b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
        ("bytes=9-9", b"9", "bytes 9-9/10"),
    ],
)
def test_a_single_range(client, stored, wanted, part, content_range):
    answer = client.get(stored, f"Range: {wanted}")
    assert (answer.status, answer.body, answer.cache) == (206, part, "hit")
    assert (answer.headers["content-range"], answer.headers["content-length"]) == (content_range, str(len(part)))


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_that_does_not_exist(client, stored, wanted):
    answer = client.get(stored, f"Range: {wanted}")
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */10")


@pytest.mark.parametrize("wanted", ["bytes=3-1", "bytes=x", "lines=1-2", "bytes=0-1, 4-5", "bytes"])
def test_a_range_that_is_not_taken_gives_the_whole(client, stored, wanted):
    answer = client.get(stored, f"Range: {wanted}")
    assert (answer.status, answer.body) == (200, BODY)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('"1"', 206),
        ('"2"', 200),
        ('W/"1"', 200),
        (MODIFIED, 206),
        ("Thu, 02 Jan 2025 00:00:00 GMT", 200),
    ],
)
def test_if_range(client, stored, condition, status):
    assert client.get(stored, "Range: bytes=0-3", f"If-Range: {condition}").status == status


def test_a_range_that_misses_is_cut_from_the_whole_that_comes(origin, client, path):
    origin.says(path, FIELDS, BODY)
    answer = client.get(path, "Range: bytes=2-4")
    assert (answer.status, answer.body, answer.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert client.poll(lambda answer: answer.cache == "hit", path).body == BODY
    assert origin.asked(path)[0].headers["Range"] == "bytes=2-4"
    assert len(origin.asked(path)) == 1


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (['If-None-Match: "1"'], 304),
        (['If-None-Match: W/"1"'], 304),
        (['If-None-Match: "0", "1"'], 304),
        (["If-None-Match: *"], 304),
        (['If-None-Match: "2"'], 200),
        (['If-None-Match: "2"', f"If-Modified-Since: {MODIFIED}"], 200),
        ([f"If-Modified-Since: {MODIFIED}"], 304),
        (["If-Modified-Since: Tue, 31 Dec 2024 00:00:00 GMT"], 200),
        (["If-Modified-Since: nonsense"], 200),
        (['If-Match: "1"'], 200),
        (['If-Match: "2"'], 412),
        (['If-Match: W/"1"'], 412),
        (["If-Unmodified-Since: Tue, 31 Dec 2024 00:00:00 GMT"], 412),
        ([f"If-Unmodified-Since: {MODIFIED}"], 200),
    ],
    ids=str,
)
def test_conditions_on_what_is_stored(client, stored, fields, status):
    answer = client.get(stored, *fields)
    assert (answer.status, answer.cache) == (status, "hit")
    if status == 304:
        assert (answer.body, answer.headers["etag"]) == (b"", '"1"')
        assert "content-type" not in answer.headers
    if status == 200:
        assert answer.body == BODY


def test_a_condition_on_head_and_range(client, stored):
    assert client.get(stored, 'If-None-Match: "1"', method="HEAD").status == 304
    assert client.get(stored, 'If-None-Match: "1"', "Range: bytes=0-1").status == 304


def test_a_conditional_request_that_misses_stores_the_whole(origin, client, path):
    origin.says(path, FIELDS, BODY)
    assert client.get(path, 'If-None-Match: "1"').status == 304
    assert client.poll(lambda answer: answer.cache == "hit", path).body == BODY
    assert origin.asked(path)[0].headers.get("If-None-Match") is None


def test_conditions_reach_the_origin_where_the_cache_has_no_part(origin, client, path):
    def script(exchange):
        if exchange.headers.get("If-None-Match") == '"1"':
            exchange.answer(304, {"ETag": '"1"', "Cache-Control": "no-store"})
        else:
            exchange.answer(200, {"Cache-Control": "no-store", "ETag": '"1"'}, BODY)

    origin.at(path, script)
    client.get(path)
    answer = client.get(path, 'If-None-Match: "1"')
    assert (answer.status, answer.cache) == (304, "fwd=bypass; detail=uncacheable")
