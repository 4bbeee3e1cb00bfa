"""A client's own Cache-Control and Pragma (RFC 9111 section 5.2.1)."""

from __future__ import annotations

import pytest

FRESH = {"Cache-Control": "max-age=60", "Age": "5", "ETag": '"1"'}


@pytest.fixture
def counted(origin, path):
    """Each answer of the origin is another one."""
    origin.at(path, lambda exchange: exchange.answer(200, FRESH, str(exchange.number)))
    return path


@pytest.mark.parametrize(
    "field",
    [
        "Cache-Control: no-cache",
        "Cache-Control: max-age=0",
        "Pragma: no-cache",
        "Cache-Control: min-fresh=100",
        "cache-control: foo, NO-CACHE",
    ],
)
def test_a_client_may_ask_for_a_new_answer(client, counted, field):
    client.get(counted)
    answer = client.get(counted, field)
    assert (answer.body, answer.cache) == (b"2", "fwd=request; stored")
    assert client.get(counted).body == b"2"


@pytest.mark.parametrize(
    "field",
    [
        "Cache-Control: max-age=30",
        "Cache-Control: min-fresh=10",
        "Cache-Control: max-stale",
        "Cache-Control: unknown=1",
        "Cache-Control: only-if-cached",
    ],
)
def test_a_client_may_be_content_with_what_is_there(client, counted, field):
    client.get(counted)
    assert client.get(counted, field).cache == "hit"


def test_only_if_cached_never_asks_the_origin(origin, client, counted):
    answer = client.get(counted, "Cache-Control: only-if-cached")
    assert answer.status == 504
    assert not origin.asked(counted)


def test_no_store_keeps_the_answer_out(origin, client, counted):
    client.get(counted, "Cache-Control: no-store")
    assert client.get(counted).body == b"2"


def test_max_stale_takes_what_has_expired(origin, client, path):
    origin.says(path, {"Cache-Control": "max-age=10", "Age": "20", "ETag": '"1"'}, "old")
    client.get(path)
    origin.says(path, FRESH, "new")
    assert client.get(path, "Cache-Control: max-stale=600").body == b"old"
    assert client.get(path, "Cache-Control: max-stale=5").body == b"new"


def test_no_cache_from_the_origin_is_validated_each_time(origin, client, path):
    def script(exchange):
        if exchange.headers.get("If-None-Match") == '"1"':
            exchange.answer(304, {"ETag": '"1"'})
        else:
            exchange.answer(200, {"Cache-Control": "no-cache", "ETag": '"1"'}, "x")

    origin.at(path, script)
    for _ in range(3):
        assert client.get(path).body == b"x"
    asked = [exchange.headers.get("If-None-Match") for exchange in origin.asked(path)]
    assert asked == [None, '"1"', '"1"']
