"""Every outcome, by the words of Cache-Status, with Age and the requests that the origin got."""

from __future__ import annotations

import pytest

STALE = {"Cache-Control": "max-age=10", "Age": "11", "ETag": '"1"'}
"""Stale when it arrives, so that no test waits for time to pass."""


def test_a_miss_is_stored_and_then_hit(origin, client, path):
    origin.says(path, {"Cache-Control": "max-age=60"}, "body")
    first = client.get(path)
    assert (first.status, first.body, first.cache) == (200, b"body", "fwd=uri-miss; stored")
    assert first.headers["x-cache"] == "MISS"
    second = client.get(path)
    assert (second.status, second.body, second.cache) == (200, b"body", "hit")
    assert second.headers["x-cache"] == "HIT"
    assert second.headers["date"] == first.headers["date"]
    assert "pop1" in second.headers["via"]
    assert 0 < int(second.headers["cache-status"].rsplit("ttl=", 1)[1]) <= 60
    assert len(origin.asked(path)) == 1


def test_age_counts_from_the_origins_own(origin, client, path):
    origin.says(path, {"Cache-Control": "max-age=600", "Age": "100"}, "x")
    assert 100 <= client.get(path).age < 105
    first = client.get(path)
    assert first.cache == "hit"
    assert client.poll(lambda answer: answer.age > first.age, path).cache == "hit"


def test_freshness_ends_as_time_passes(origin, client, path):
    origin.says(path, {"Cache-Control": "max-age=1"}, "x")
    client.get(path)
    assert client.poll(lambda answer: answer.cache != "hit", path).cache == "fwd=stale; stored"
    assert len(origin.asked(path)) == 2


def test_a_304_revalidates(origin, client, path):
    def script(exchange):
        if exchange.headers.get("If-None-Match") == '"1"':
            exchange.answer(304, {"ETag": '"1"', "Cache-Control": "max-age=60", "X-New": "yes"})
        else:
            exchange.answer(200, STALE | {"X-Old": "yes"}, "body")

    origin.at(path, script)
    assert client.get(path).cache == "fwd=uri-miss; stored"
    confirmed = client.get(path)
    assert (confirmed.status, confirmed.body) == (200, b"body")
    assert confirmed.cache == "fwd=stale"
    assert "fwd-status=304" in confirmed.headers["cache-status"]
    assert (confirmed.headers["x-new"], confirmed.headers["x-old"]) == ("yes", "yes")
    hit = client.get(path)
    assert (hit.cache, hit.body, hit.headers["x-new"]) == ("hit", b"body", "yes")
    assert [exchange.headers.get("If-None-Match") for exchange in origin.asked(path)] == [None, '"1"']


def test_a_new_answer_replaces_what_has_expired(origin, client, path):
    origin.at(
        path,
        lambda exchange: exchange.answer(
            200, STALE if exchange.number == 1 else {"Cache-Control": "max-age=60"}, f"version {exchange.number}"
        ),
    )
    assert client.get(path).body == b"version 1"
    second = client.get(path)
    assert (second.body, second.cache) == (b"version 2", "fwd=stale; stored")
    assert client.get(path).body == b"version 2"


def test_stale_while_revalidate_serves_at_once_and_refreshes_once(origin, client, path, gate):
    def script(exchange):
        if exchange.number == 1:
            exchange.answer(200, STALE | {"Cache-Control": "max-age=10, stale-while-revalidate=60"}, "old")
        else:
            gate.pass_through()
            exchange.answer(200, {"Cache-Control": "max-age=60"}, "new")

    origin.at(path, script)
    client.get(path)
    for _ in range(5):
        stale = client.get(path)
        assert (stale.body, stale.cache) == (b"old", "hit; detail=stale-while-revalidate")
        assert stale.age >= 11
    origin.wait_asked(path, 2)
    gate.set()
    assert client.poll(lambda answer: answer.body == b"new", path).cache == "hit"
    assert len(origin.asked(path)) == 2


def test_a_refresh_that_fails_leaves_what_was_there(origin, client, path):
    def script(exchange):
        if exchange.number == 1:
            exchange.answer(200, STALE | {"Cache-Control": "max-age=10, stale-while-revalidate=60"}, "old")
        else:
            exchange.cut()

    origin.at(path, script)
    client.get(path)
    for _ in range(3):
        assert client.get(path).cache == "hit; detail=stale-while-revalidate"
    origin.wait_asked(path, 2)
    assert client.get(path).body == b"old"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_stale_if_error_stands_in_for_an_error(origin, client, path, status):
    def script(exchange):
        if exchange.number == 1:
            exchange.answer(200, STALE | {"Cache-Control": "max-age=10, stale-if-error=60"}, "old")
        else:
            exchange.answer(status, {}, "broken")

    origin.at(path, script)
    client.get(path)
    stale = client.get(path)
    assert (stale.status, stale.body, stale.cache) == (200, b"old", "hit; detail=stale-if-error")


@pytest.mark.parametrize("way", ["dead", "hasty", "cut"])
def test_stale_if_error_stands_in_for_an_origin_that_does_not_answer(origin, client, path, gate, way):
    def script(exchange):
        if exchange.number == 1:
            exchange.answer(200, STALE | {"Cache-Control": "max-age=10, stale-if-error=60"}, "old")
        elif way == "cut":
            exchange.cut()
        else:
            gate.pass_through()

    origin.at(path, script)
    client.get(path)
    stale = client.get(path, f"X-Origin: {way}")
    assert (stale.status, stale.body, stale.cache) == (200, b"old", "hit; detail=stale-if-error")


def test_an_error_is_not_hidden_without_leave(origin, client, path):
    origin.at(path, lambda exchange: exchange.answer(200 if exchange.number == 1 else 503, STALE, "x"))
    client.get(path)
    assert client.get(path).status == 503


def test_must_revalidate_forbids_stale(origin, client, path):
    fields = STALE | {"Cache-Control": "max-age=10, must-revalidate, stale-if-error=60, stale-while-revalidate=60"}
    origin.at(path, lambda exchange: exchange.answer(200 if exchange.number == 1 else 503, fields, "x"))
    client.get(path)
    assert client.get(path).status == 503


@pytest.mark.parametrize(
    ("way", "status", "error"),
    [
        ("dead", 502, "connection_refused"),
        ("hasty", 504, "connection_read_timeout"),
        ("cut", 502, "connection_terminated"),
    ],
)
def test_without_anything_stored_the_client_learns_who_is_at_fault(  # noqa: PLR0917 - a table
    origin, client, path, gate, way, status, error
):
    origin.at(path, lambda exchange: exchange.cut() if way == "cut" else gate.pass_through())
    answer = client.get(path, f"X-Origin: {way}")
    assert answer.status == status
    assert answer.headers["proxy-status"].startswith("pop1; error=")
    assert error in answer.headers["proxy-status"] or way == "hasty"
    assert answer.headers["cache-control"] == "no-store"


def test_methods_that_no_cache_answers_pass(origin, client, path):
    origin.at(path, lambda exchange: exchange.answer(200, {"Cache-Control": "max-age=60"}, exchange.method))
    for method in ("POST", "OPTIONS", "PUT"):
        answer = client.get(path, method=method, body="x" if method != "OPTIONS" else None)
        assert (answer.body, answer.cache) == (method.encode(), "fwd=method")


def test_an_uncacheable_key_is_remembered(origin, client, path):
    origin.says(path, {"Cache-Control": "no-store"}, "x")
    assert client.get(path).cache == "fwd=uri-miss"
    assert client.get(path).cache == "fwd=bypass; detail=uncacheable"
    origin.says(path, {"Cache-Control": "max-age=60"}, "x")
    assert client.get(path).cache == "fwd=bypass; detail=uncacheable"
    assert client.get(path).cache == "fwd=uri-miss; stored"
    assert client.get(path).cache == "hit"


@pytest.mark.parametrize(
    ("fields", "cached"),
    [
        ({"Cache-Control": "public, max-age=60"}, True),
        ({"Cache-Control": "max-age=0, s-maxage=60"}, True),
        ({"Cache-Control": "no-store", "CDN-Cache-Control": "max-age=60"}, True),
        ({"CDN-Cache-Control": "no-store", "Headland-CDN-Cache-Control": "max-age=60"}, True),
        ({"Cache-Control": "no-store", "Surrogate-Control": "max-age=60"}, True),
        ({"Expires": "Fri, 31 Dec 2100 23:59:59 GMT"}, True),
        ({"Cache-Control": "private, max-age=60"}, False),
        ({"Cache-Control": "max-age=60, no-store"}, False),
        ({"Cache-Control": "max-age=60", "CDN-Cache-Control": "no-store"}, False),
        ({"Cache-Control": "no-cache"}, False),
        ({"Expires": "0"}, False),
        ({"Cache-Control": "max-age=60", "Vary": "*"}, False),
    ],
    ids=str,
)
def test_the_origins_words_decide(origin, client, path, fields, cached):
    origin.says(path, fields, "x")
    client.get(path)
    assert (client.get(path).cache == "hit") is cached
    assert len(origin.asked(path)) == (1 if cached else 2)


def test_what_speaks_to_this_cache_goes_no_further(origin, client, path):
    fields = {
        "Headland-CDN-Cache-Control": "max-age=60",
        "Surrogate-Control": "max-age=60",
        "Surrogate-Key": "a b",
        "Cache-Tag": "c",
        "Cache-Control": "max-age=60",
    }
    origin.says(path, fields, "x")
    for answer in (client.get(path), client.get(path)):
        assert {"headland-cdn-cache-control", "surrogate-control", "surrogate-key", "cache-tag"}.isdisjoint(
            answer.headers
        )
        assert answer.headers["cache-control"] == "max-age=60"
