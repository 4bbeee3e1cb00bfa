"""After a purge of much, the origin is asked for a bounded number of things at a time, and stale content stands in."""

from __future__ import annotations

import contextlib

import pytest

from purge_api.client import PurgeClient
from tests.processes import TOKEN
from tests.scenarios.conftest import REFILLS

PATHS = 5


@pytest.fixture
def purges(places):
    return PurgeClient(f"http://{places['admin']}", TOKEN)


@pytest.fixture
def gated(origin, path, gate):
    """Pages below a path, whose second answers wait for the gate."""

    def stored(client, fields):
        def script(exchange):
            if exchange.number > 1:
                gate.pass_through()
            exchange.answer(200, {"Cache-Control": fields, "Cache-Tag": f"all{path[1:]}"}, str(exchange.number))

        pages = [f"{path}/{number}" for number in range(PATHS)]
        for page in pages:
            origin.at(page, script)
            client.get(page)
        return pages

    return stored


def asked_again(origin, pages):
    return sum(len(origin.asked(page)) - 1 for page in pages)


def test_purged_pages_are_fetched_in_turn_and_all_are_answered(origin, client, purges, gated, gate):
    pages = gated(client, "max-age=60")
    path = pages[0].rpartition("/")[0]
    purges.purge("tag", [f"all{path[1:]}"])
    with contextlib.ExitStack() as stack:
        transfers = [stack.enter_context(client.start(page)) for page in pages]
        purges.recent()  # any request to the node: the transfers came before it, and wait
        client.poll(lambda _: asked_again(origin, pages) == REFILLS, f"{path}-elsewhere")
        gate.set()
        assert {transfer.answer().body for transfer in transfers} == {b"2"}
    assert asked_again(origin, pages) == PATHS


def test_what_may_be_stale_is_served_while_the_turns_are_taken(origin, client, purges, path, gated):
    pages = gated(client, "max-age=60, stale-if-error=60")
    purges.purge("tag", [f"all{path[1:]}"], soft=True)
    with contextlib.ExitStack() as stack:
        for page in pages[:REFILLS]:
            stack.enter_context(client.start(page))
        client.poll(lambda _: asked_again(origin, pages) == REFILLS, f"{path}-elsewhere")
        answers = [client.get(page) for page in pages[REFILLS:]]
        assert {(answer.body, answer.cache) for answer in answers} == {(b"1", "hit; detail=stale-if-error")}
        assert asked_again(origin, pages) == REFILLS


def test_what_was_not_purged_takes_no_turn(origin, client, purges, path, gated):
    pages = gated(client, "max-age=60")
    purges.purge("tag", [f"all{path[1:]}"])
    with contextlib.ExitStack() as stack:
        for page in pages:
            stack.enter_context(client.start(page))
        client.poll(lambda _: asked_again(origin, pages) == REFILLS, f"{path}-elsewhere")
        origin.says(f"{path}-new", {}, "new")
        assert client.get(f"{path}-new").body == b"new"
