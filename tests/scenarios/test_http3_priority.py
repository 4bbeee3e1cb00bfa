"""What a client of HTTP/3 wants first (RFC 9218), told by PRIORITY_UPDATE."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aioquic.buffer import encode_uint_var

from tests.processes import Headland
from tests.quic import HOST, WAIT_S, Quic, client, configure, frame
from tests.scripted import ScriptedOrigin

FIELDS = {"Cache-Control": "max-age=600"}
PRIORITY_UPDATE = 0xF0700


@pytest.fixture
def places(origin: ScriptedOrigin, tmp_path: Path) -> Iterator[dict[str, str]]:
    with Headland("serve", "--config", configure(tmp_path, origin.url)) as node:
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


def _update(asked: Quic, stream: int, priority: bytes) -> None:
    control = asked._http._local_control_stream_id
    assert control is not None
    asked.write(frame(PRIORITY_UPDATE, encode_uint_var(stream) + priority), end=False, stream=control)
