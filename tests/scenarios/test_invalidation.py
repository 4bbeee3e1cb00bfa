"""A successful unsafe request makes the node forget what it changed (RFC 9111 section 4.4)."""

from __future__ import annotations

import pytest

FRESH = {"Cache-Control": "max-age=60"}


def serve(origin, path, status=200, **fields):
    """GET is cacheable and numbered; all else answers as told."""

    def script(exchange):
        if exchange.method == "GET":
            exchange.answer(200, FRESH, str(exchange.number))
        else:
            exchange.answer(status, {name.replace("_", "-"): value for name, value in fields.items()})

    origin.at(path, script)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("status", [200, 201, 204, 303])
def test_success_invalidates(origin, client, path, method, status):
    serve(origin, path, status)
    client.get(path)
    assert client.get(path).cache == "hit"
    assert client.get(path, method=method, body="x").status == status
    answer = client.get(path)
    assert (answer.body, answer.cache) == (b"3", "fwd=uri-miss; stored")


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_failure_does_not(origin, client, path, status):
    serve(origin, path, status)
    client.get(path)
    client.get(path, method="POST", body="x")
    assert client.get(path).cache == "hit"


def test_a_safe_method_does_not(origin, client, path):
    serve(origin, path)
    client.get(path)
    client.get(path, method="OPTIONS")
    assert client.get(path).cache == "hit"


@pytest.mark.parametrize("field", ["Location", "Content_Location"])
def test_what_the_answer_names_on_the_same_host_is_forgotten_as_well(origin, client, path, field):
    other = f"{path}-other"
    for value in (other, client.url(other)):
        serve(origin, path, 201, **{field: value})
        serve(origin, other)
        client.get(other)
        assert client.get(other).cache == "hit"
        client.get(path, method="POST", body="x")
        assert client.get(other).cache == "fwd=uri-miss; stored"


def test_another_host_is_left_alone(origin, client, path):
    other = f"{path}-other"
    serve(origin, path, 201, Location=f"http://victim.test{other}")
    serve(origin, other)
    client.get(other, host="victim.test")
    client.get(path, method="POST", body="x")
    assert client.get(other, host="victim.test").cache == "hit"


def test_all_variants_are_forgotten(origin, client, path):
    origin.at(path, lambda exchange: exchange.answer(200, FRESH | {"Vary": "X-Device"}, exchange.method))
    for device in ("phone", "desk"):
        client.get(path, f"X-Device: {device}")
    client.get(path, method="POST", body="x")
    for device in ("phone", "desk"):
        assert client.get(path, f"X-Device: {device}").cache.endswith("stored")


def test_a_fill_that_began_before_is_not_kept_as_fresh(origin, client, path, gate):
    def script(exchange):
        if exchange.method == "POST":
            return exchange.answer(200, {})
        exchange.begin(200, FRESH, length=6)
        exchange.send(b"old")
        if exchange.number == 1:
            gate.pass_through()
        return exchange.send(b"old")

    origin.at(path, script)
    with client.start(path) as before:
        before.until(b"old")
        assert client.get(path, method="POST", body="x").status == 200
        gate.set()
        assert before.answer().body == b"oldold"
    assert client.get(path).cache != "hit"
