"""What a client of HTTP/3 wants first (RFC 9218), and what is sent first when there is not room for all.

There the client lets bytes in by hand, so few that all answers compete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aioquic.buffer import encode_uint_var
from aioquic.quic.configuration import QuicConfiguration

from edge.probe_http3 import Answer
from tests.processes import Headland
from tests.quic import HOST, WAIT_S, Quic, client, configure, frame, settings
from tests.quic_window import Window
from tests.scripted import ScriptedOrigin

FIELDS = {"Cache-Control": "max-age=600"}
PRIORITY_UPDATE = 0xF0700
LARGE = bytes(range(256)) * 4096
SMALL = LARGE[: 100 << 10]
STEP_BYTES = 16 << 10
"""Bytes that the client lets in at a time."""
TURN_BYTES = 16 << 10
"""Bytes in which answers that share take turns."""


@pytest.fixture
def places(origin: ScriptedOrigin, tmp_path: Path) -> Iterator[dict[str, str]]:
    with Headland("serve", "--config", configure(tmp_path, origin.url, workers=1)) as node:
        yield node.serving()
        assert node.process.poll() is None, node.rest_of("stderr")


async def test_priorities_may_come_before_and_after_their_requests(
    places: dict[str, str], origin: ScriptedOrigin, path: str
) -> None:
    origin.says(path, FIELDS, "hello")
    async with client(places) as asked:
        for stream in (0, 4, 0, 400):
            _update(asked, stream, b"u=1, i")
            assert (await asked.ask("GET", HOST, path)).body == b"hello"


async def test_a_priority_of_what_is_no_request_ends_the_connection(places: dict[str, str]) -> None:
    async with client(places) as asked:
        _update(asked, 2, b"u=0")
        await asyncio.wait_for(asked.ended.wait(), WAIT_S)
        assert asked.reason is not None
        assert asked.reason.error_code == 0x108


@pytest.fixture
async def paths(places: dict[str, str], origin: ScriptedOrigin, path: str) -> tuple[str, str]:
    """A large object and a small one, both in the cache."""
    large, small = f"{path}/large", f"{path}/small"
    async with client(places) as asked:
        for name, body in ((large, LARGE), (small, SMALL)):
            origin.says(name, FIELDS, body)
            assert (await asked.ask("GET", HOST, name)).body == body
    return large, small


def _narrow() -> QuicConfiguration:
    return settings(max_data=64 << 10, max_stream_data=16 << 20)


async def _begin(asked: Quic, window: Window, path: str, priority: str) -> Answer:
    """Ask, and be sure that the node has an answer to send, for which there is no room."""
    answer = asked.begin("GET", HOST, path, [("priority", priority)])
    await asked.until(lambda: window.is_full)
    await asked.ping()
    return answer


async def _let_in(asked: Quic, window: Window, ends: Answer) -> None:
    """Let bytes in until this answer is whole."""
    while not ends.ended.is_set():
        window.open(STEP_BYTES)
        await asked.until(lambda: window.is_full or ends.ended.is_set())


async def test_an_urgent_answer_goes_before_one_that_was_there_before(
    places: dict[str, str], paths: tuple[str, str]
) -> None:
    async with client(places, _narrow()) as asked:
        window = Window(asked)
        late = await _begin(asked, window, paths[0], "u=7")
        urgent = await _begin(asked, window, paths[1], "u=0")
        before = len(late.body)
        await _let_in(asked, window, urgent)
        assert urgent.body == SMALL
        assert len(late.body) - before <= STEP_BYTES
        await _let_in(asked, window, late)
        assert late.body == LARGE


async def test_an_answer_that_becomes_urgent_goes_first_from_then_on(
    places: dict[str, str], paths: tuple[str, str]
) -> None:
    async with client(places, _narrow()) as asked:
        window = Window(asked)
        first = await _begin(asked, window, paths[0], "u=3")
        second = await _begin(asked, window, paths[1], "u=3")
        window.open(STEP_BYTES)
        await asked.until(lambda: window.is_full)
        # What is of use only as a whole comes in the order of its requests.
        assert not second.body
        _update(asked, 4, b"u=1")
        await asked.ping()
        before = len(first.body)
        await _let_in(asked, window, second)
        assert second.body == SMALL
        assert len(first.body) - before <= STEP_BYTES


async def test_answers_of_use_in_parts_share(places: dict[str, str], paths: tuple[str, str]) -> None:
    async with client(places, _narrow()) as asked:
        window = Window(asked)
        first = await _begin(asked, window, paths[0], "u=3, i")
        second = await _begin(asked, window, paths[0], "u=3, i")
        begun = len(first.body)
        for _ in range(16):
            window.open(STEP_BYTES)
            await asked.until(lambda: window.is_full)
            assert abs(len(first.body) - begun - len(second.body)) <= 2 * TURN_BYTES
        assert second.body


async def test_an_urgent_answer_whose_own_window_is_closed_holds_up_nobody(
    places: dict[str, str], paths: tuple[str, str]
) -> None:
    async with client(places, settings(max_data=16 << 20), window=1000) as asked:
        window = Window(asked, closed=0)
        urgent = asked.begin("GET", HOST, paths[0], [("priority", "u=0")])
        await asked.until(lambda: urgent.body)
        late = asked.begin("GET", HOST, paths[1], [("priority", "u=7")])
        await asyncio.wait_for(late.ended.wait(), WAIT_S)
        assert late.body == SMALL
        assert 0 < len(urgent.body) <= 1000
        window.reopen()
        await asyncio.wait_for(urgent.ended.wait(), WAIT_S)
        assert urgent.body == LARGE


def _update(asked: Quic, stream: int, priority: bytes) -> None:
    control = asked._http._local_control_stream_id
    assert control is not None
    asked.write(frame(PRIORITY_UPDATE, encode_uint_var(stream) + priority), end=False, stream=control)
