"""Hostile clients over HTTP/3: each is stopped at a bound, and others are served meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aioquic.buffer import encode_uint_var

from tests.processes import Headland
from tests.quic import HOST, Quic, client, configure, frame, get, literal, settings
from tests.scripted import ScriptedOrigin

PATH = "/x"
FIELDS = {"Cache-Control": "max-age=600"}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    pytest.importorskip("_headland", reason="the extension is not built: make develop")
    with ScriptedOrigin() as origin:
        origin.says(PATH, FIELDS, "hello")
        directory = tmp_path_factory.mktemp("hostile")
        with Headland("serve", "--config", configure(directory, origin.url)) as node:
            yield node.serving()
            assert node.process.poll() is None, node.rest_of("stderr")


async def _is_served(places: dict[str, str]) -> None:
    async with client(places) as honest:
        assert (await honest.ask("GET", HOST, PATH)).status == 200


async def _ends_with(hostile: Quic, code: int) -> None:
    await asyncio.wait_for(hostile.ended.wait(), 15)
    assert hostile.reason is not None
    assert hostile.reason.error_code == code


async def test_a_head_that_is_announced_too_large_is_not_waited_for(places: dict[str, str]) -> None:
    async with client(places) as hostile:
        _, answer = hostile.write(encode_uint_var(1) + encode_uint_var(1 << 30) + b"x", end=False)
        await asyncio.wait_for(answer.ended.wait(), 10)
        assert answer.status == 431
        assert (await hostile.ask("GET", HOST, PATH)).status == 200


async def test_many_fields_and_a_section_that_swells_are_refused(places: dict[str, str]) -> None:
    async with client(places) as hostile:
        assert (await hostile.say(get(PATH, *[("a", "x")] * 1_000))).status == 431
        # One byte each on the wire, of the static table, and 64 once decoded (RFC 9114 section 4.2.2).
        swelling = frame(1, literal(get(PATH)) + bytes([0xDF]) * 4_000)
        _, answer = hostile.write(swelling)
        await asyncio.wait_for(answer.ended.wait(), 10)
        assert answer.status == 431
    await _is_served(places)


async def test_frames_of_no_use_end_the_connection(places: dict[str, str]) -> None:
    async with client(places) as hostile:
        hostile.write(frame(1, literal(get(PATH))) + frame(0, b"") * 2_000, end=False)
        await _ends_with(hostile, 0x107)
    async with client(places) as hostile:
        control = 2  # its first unidirectional stream
        for _ in range(12):
            hostile.write(frame(0x21, b"") * 1_000, end=False, stream=control)
        await _ends_with(hostile, 0x107)
    await _is_served(places)


async def test_what_would_block_on_a_dynamic_table_ends_the_connection(places: dict[str, str]) -> None:
    async with client(places) as hostile:
        hostile.write(frame(1, b"\x02\x00\x80"))
        await _ends_with(hostile, 0x200)
    async with client(places) as hostile:
        encoder = 6  # its second unidirectional stream
        hostile.write(b"\x3f\xe1\x1f", end=False, stream=encoder)
        await _ends_with(hostile, 0x201)
    await _is_served(places)


async def test_streams_that_never_say_anything_are_let_go(places: dict[str, str]) -> None:
    async with client(places) as hostile:
        for _ in range(100):
            hostile.write(b"\x01", end=False)
        assert (await hostile.ask("GET", HOST, PATH)).status == 200
    await _is_served(places)


async def test_unknown_streams_are_stopped_and_their_number_is_bounded(places: dict[str, str]) -> None:
    async with client(places) as hostile:
        stream = hostile.quic.get_next_available_stream_id(is_unidirectional=True)
        hostile.write(encode_uint_var(0x54) + b"x" * 100, end=False, stream=stream)
        await hostile.until(lambda: stream in hostile.stops)
        assert (await hostile.ask("GET", HOST, PATH)).status == 200
        hostile.write(encode_uint_var(0x1), end=False, stream=stream + 4)
        await _ends_with(hostile, 0x103)


async def test_noise_is_no_harm(places: dict[str, str]) -> None:
    loop = asyncio.get_running_loop()
    host, port = places["https"].split(":")
    noise, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, int(port)))
    for first in range(256):
        for length in (0, 1, 7, 20, 1_200):
            noise.sendto(bytes([first]) + bytes(range(256)) * 5)
            noise.sendto((bytes([first]) + bytes(1_300))[:length])
    noise.close()
    await _is_served(places)


async def test_a_thousand_answers_at_once_are_all_right(places: dict[str, str]) -> None:
    async with client(places, settings(max_data=16 << 20)) as eager:
        answers = await asyncio.gather(*(eager.ask("GET", HOST, PATH) for _ in range(1_000)))
    assert {(answer.status, bytes(answer.body)) for answer in answers} == {(200, b"hello")}
