"""Many clients, one fetch: followers stream what the leader's fetch brings, and share its fate."""

from __future__ import annotations

import contextlib

import pytest

from tests.curls import Client

CLIENTS = 50
FRESH = {"Cache-Control": "max-age=60"}
HALF = b"first-half." * 100
REST = b"second-half" * 100 + b"<end>"


@pytest.fixture
def crowd(client):
    """Starts clients, and sends those home that are left at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda count, path, *fields: [stack.enter_context(client.start(path, *fields)) for _ in range(count)]


def in_halves(gate, ending):
    """An answer of which half comes at once, and the rest when the gate opens."""

    def script(exchange):
        exchange.begin(200, FRESH, length=len(HALF + REST))
        exchange.send(HALF)
        if exchange.number == 1:
            gate.pass_through()
        ending(exchange)

    return script


def whole(exchange):
    exchange.send(REST)


def test_followers_stream_while_the_only_fetch_runs(origin, client, crowd, path, gate):
    origin.at(path, in_halves(gate, whole))
    transfers = crowd(CLIENTS, path)
    for transfer in transfers:
        transfer.until(HALF)
    assert len(origin.asked(path)) == 1
    gate.set()
    answers = [transfer.answer() for transfer in transfers]
    assert {answer.body for answer in answers} == {HALF + REST}
    assert {answer.ended for answer in answers} == {0}
    kinds = [answer.cache for answer in answers]
    assert kinds.count("fwd=uri-miss; stored") == 1
    assert kinds.count("fwd=uri-miss; collapsed") == CLIENTS - 1
    assert client.get(path).cache == "hit"
    assert len(origin.asked(path)) == 1


def test_clients_that_wait_for_the_head_share_it(origin, client, crowd, path, gate):
    def script(exchange):
        gate.pass_through()
        exchange.answer(200, FRESH, "x")

    origin.at(path, script)
    transfers = crowd(8, path)
    origin.wait_asked(path, 1)
    gate.set()
    assert {transfer.answer().body for transfer in transfers} == {b"x"}
    assert len(origin.asked(path)) == 1


def test_the_fetch_goes_on_when_its_client_leaves(origin, client, path, gate):
    origin.at(path, in_halves(gate, whole))
    with client.start(path) as leader:
        leader.until(HALF)
    with client.start(path) as follower:
        follower.until(HALF)
        gate.set()
        assert follower.answer().body == HALF + REST
    assert client.get(path).cache == "hit"
    assert len(origin.asked(path)) == 1


def test_the_fetch_is_stored_when_everybody_has_left(origin, client, path, gate):
    origin.at(path, in_halves(gate, whole))
    with client.start(path) as leader:
        leader.until(HALF)
    gate.set()
    answer = client.get(path)
    assert (answer.body, answer.ended) == (HALF + REST, 0)
    assert client.poll(lambda answer: answer.cache == "hit", path).body == HALF + REST
    assert len(origin.asked(path)) == 1


def test_an_uncacheable_answer_releases_all_at_once(origin, client, crowd, path, gate):
    def script(exchange):
        if exchange.number == 1:
            gate.pass_through()
        exchange.answer(200, {"Cache-Control": "no-store"}, str(exchange.number))

    origin.at(path, script)
    transfers = crowd(10, path)
    origin.wait_asked(path, 1)
    gate.set()
    answers = [transfer.answer() for transfer in transfers]
    assert len({answer.body for answer in answers}) == 10
    assert len(origin.asked(path)) == 10
    assert client.get(path).cache == "fwd=bypass; detail=uncacheable"


def test_requests_for_a_remembered_key_do_not_wait_for_each_other(origin, client, crowd, path, gate):
    def script(exchange):
        if exchange.number > 1:
            gate.pass_through()
        exchange.answer(200, {"Cache-Control": "no-store"}, "x")

    origin.at(path, script)
    client.get(path)
    transfers = crowd(5, path)
    origin.wait_asked(path, 6)
    gate.set()
    assert {transfer.answer().cache for transfer in transfers} == {"fwd=bypass; detail=uncacheable"}


def test_a_broken_fetch_is_seen_as_broken_by_all_and_stored_by_none(origin, client, crowd, path, gate):
    origin.at(path, in_halves(gate, lambda exchange: exchange.cut() if exchange.number == 1 else whole(exchange)))
    transfers = crowd(10, path)
    for transfer in transfers:
        transfer.until(HALF)
    gate.set()
    for answer in [transfer.answer() for transfer in transfers]:
        assert (answer.status, answer.body) == (200, HALF)
        assert answer.ended != 0, "a broken transfer looked whole"
    again = client.get(path)
    assert (again.body, again.cache) == (HALF + REST, "fwd=uri-miss; stored")


def test_a_broken_answer_without_a_length_is_seen_as_broken(origin, client, path):
    def script(exchange):
        exchange.begin(200, [*FRESH.items(), ("Transfer-Encoding", "chunked")], length=None)
        exchange.send(b"5\r\nhello\r\n")
        exchange.cut()

    origin.at(path, script)
    for _ in range(2):
        answer = client.get(path)
        assert answer.status == 502 or answer.ended
    assert len(origin.asked(path)) >= 2


@pytest.mark.parametrize("body", [b"x" * 100, b"x" * 200_000])
def test_an_answer_that_ends_with_its_connection_is_whole(origin, client, path, body):
    def script(exchange):
        exchange.begin(200, FRESH)
        exchange.send(body)

    origin.at(path, script)
    answer = client.get(path)
    assert (answer.body, answer.ended) == (body, 0)


def test_a_stalled_fetch_breaks_by_its_deadline(origin, client, path, gate):
    origin.at(path, in_halves(gate, whole))
    answer = client.get(path, "X-Origin: hasty")
    assert (answer.status, answer.body) == (200, HALF)
    assert answer.ended != 0
    gate.set()
    assert client.get(path).body == HALF + REST


def test_a_purge_while_a_fetch_runs_keeps_it_from_being_fresh(origin, client, path, gate):
    origin.at(path, in_halves(gate, whole))
    with client.start(path) as before:
        before.until(HALF)
        assert client.get(path, method="PURGE").status == 200
        gate.set()
        assert before.answer().body == HALF + REST
    assert client.get(path).cache != "hit"
    assert client.get(path).cache == "hit"
    assert len(origin.asked(path)) == 2


def test_a_confirmation_that_was_asked_for_before_a_purge_revives_nothing(origin, client, path, gate):
    stale = {"Cache-Control": "max-age=0", "ETag": '"1"'}

    def script(exchange):
        if exchange.number == 2:
            gate.pass_through()
            exchange.answer(304, FRESH | {"ETag": '"1"'})
        else:
            exchange.answer(200, stale if exchange.number == 1 else FRESH, str(exchange.number))

    origin.at(path, script)
    assert client.get(path).body == b"1"
    with client.start(path) as before:
        origin.wait_asked(path, 2)
        assert origin.asked(path)[1].headers["If-None-Match"] == '"1"'
        assert client.get(path, method="PURGE").status == 200
        gate.set()
        assert before.answer().body == b"1"
    after = client.get(path)
    assert (after.body, after.cache) == (b"3", "fwd=uri-miss; stored")
    assert "If-None-Match" not in origin.asked(path)[2].headers


def test_a_request_after_a_purge_does_not_join_a_fetch_from_before(origin, client, path, gate):
    def script(exchange):
        exchange.begin(200, FRESH, length=6)
        exchange.send(b"old" if exchange.number == 1 else b"new")
        if exchange.number == 1:
            gate.pass_through()
        exchange.send(b"old" if exchange.number == 1 else b"new")

    origin.at(path, script)
    with client.start(path) as before:
        before.until(b"old")
        assert client.get(path, method="PURGE").status == 200
        with client.start(path) as after:
            after.until(b"\r\n\r\nnew")
            assert after.answer().body == b"newnew"
        gate.set()
        assert before.answer().body == b"oldold"
    answer = client.get(path)
    assert (answer.cache, answer.body) == ("hit", b"newnew")


@pytest.mark.parametrize("declared", [True, False])
def test_what_is_too_large_to_store_streams_to_all(  # noqa: PLR0917 - fixtures and the case
    origin, client, crowd, path, gate, declared
):
    size = (1 << 20) + 1

    def script(exchange):
        if exchange.number == 1:
            gate.pass_through()
        exchange.begin(200, FRESH, length=size if declared else None)
        exchange.send(b"x" * size)

    origin.at(path, script)
    transfers = crowd(5, path)
    origin.wait_asked(path, 1)
    gate.set()
    for answer in [transfer.answer() for transfer in transfers]:
        assert (answer.status, len(answer.body), answer.ended) == (200, size, 0)
    assert client.get(path).cache != "hit"


def test_both_doors_share_one_fetch(origin, places, path, gate):
    origin.at(path, in_halves(gate, whole))
    one, two = Client(places["http"], "h1"), Client(places["http"], "h2")
    with one.start(path) as first, two.start(path) as second:
        first.until(HALF)
        second.until(HALF)
        gate.set()
        assert first.answer().body == second.answer().body == HALF + REST
    assert len(origin.asked(path)) == 1


def test_followers_of_another_variant_fetch_their_own(origin, client, path, gate):
    def script(exchange):
        if exchange.number == 1:
            gate.pass_through()
        exchange.answer(200, FRESH | {"Vary": "X-Device"}, exchange.headers["X-Device"])

    origin.at(path, script)
    with client.start(path, "X-Device: a") as one, client.start(path, "X-Device: b") as two:
        origin.wait_asked(path, 1)
        gate.set()
        assert (one.answer().body, two.answer().body) == (b"a", b"b")
