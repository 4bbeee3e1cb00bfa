"""What breaks a rule of HTTP/3 is refused, and what ends a connection ends it as RFC 9114 wants."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.probe_http3 import Answer
from tests.processes import Headland
from tests.quic import HOST, client, configure, frame, get, literal, settings
from tests.scripted import Exchange, ScriptedOrigin
from tests.waiting import until

FIELDS = {"Cache-Control": "max-age=60"}
LARGE = bytes(range(256)) * (16 << 10)
"""4 MiB."""
MALFORMED = {
    "connection": [("connection", "close")],
    "keep-alive": [("keep-alive", "1")],
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "upgrade": [("upgrade", "h2c")],
    "te": [("te", "gzip")],
    "late": [(":method", "GET")],
    "unknown": [(":odd", "x")],
    "upper case": [("X-Odd", "x")],
    "line end": [("x-odd", "x\r\ny: z")],
    "two lengths": [("content-length", "0"), ("content-length", "0")],
    "no length": [("content-length", "+1")],
    "two hosts": [("host", "b.example")],
}
"""Fields that make a request malformed (RFC 9114 sections 4.1.2, 4.2 and 4.3)."""


@pytest.fixture(scope="module")
def places(origin: ScriptedOrigin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    directory = tmp_path_factory.mktemp("http3")
    with Headland("serve", "--config", configure(directory, origin.url)) as node:
        yield node.serving()
        assert node.process.poll() is None, node.rest_of("stderr")


def _is_refused(answer: Answer) -> bool:
    return answer.broken or answer.status == 400


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_head_is_refused(
    places: dict[str, str], origin: ScriptedOrigin, path: str, case: str
) -> None:
    origin.says(path, FIELDS, "hello")
    async with client(places) as asked:
        assert _is_refused(await asked.say(get(path, *MALFORMED[case])))
        twice = [line for line in get(path) for _ in range(2 if line[0] == ":path" else 1)]
        assert _is_refused(await asked.say(twice))
        assert (await asked.ask("GET", HOST, path)).status == 200
    assert len(origin.asked(path)) == 1


async def test_a_body_is_as_long_as_announced(places: dict[str, str], origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, lambda it: it.answer(200, {}, it.body))
    async with client(places) as asked:
        head = [(":method", "POST"), *get(path, ("content-length", "3"))[1:]]
        assert (await asked.say(head, frame(0, b"abc"))).status == 200
        for data in (b"ab", b"abcd", b""):
            assert _is_refused(await asked.say(head, frame(0, data)))
        empty = [(":method", "POST"), *get(path, ("content-length", "0"))[1:]]
        assert _is_refused(await asked.say(empty, frame(0, b"abc")))


async def test_a_body_without_a_length_is_passed_on_with_any_method(
    places: dict[str, str], origin: ScriptedOrigin, path: str
) -> None:
    origin.at(path, lambda it: it.answer(200, {}, it.body))
    async with client(places) as asked:
        for method in ("DELETE", "PROPFIND", "POST"):
            answer = await asked.say([(":method", method), *get(path)[1:]], frame(0, b"abc"))
            assert (answer.status, bytes(answer.body)) == (200, b"abc"), method


async def test_frames_where_they_may_not_be_end_the_connection(places: dict[str, str], path: str) -> None:
    cases = {0x105: frame(0, b"x"), 0x106: frame(1, b"xx")[:2], 0x200: frame(1, b"\0\0\x80")}
    for code, wire in cases.items():
        async with client(places) as asked:
            asked.write(wire)
            await asyncio.wait_for(asked.ended.wait(), 10)
            assert asked.reason is not None
            assert asked.reason.error_code == code
    async with client(places) as asked:
        asked.write(frame(1, literal(get(path))) + frame(4, b""))
        await asyncio.wait_for(asked.ended.wait(), 10)
        assert asked.reason is not None
        assert asked.reason.error_code == 0x105


async def test_a_drain_names_no_request_that_runs_and_nothing_is_lost(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    gate = threading.Event()

    def slow(exchange: Exchange) -> None:
        assert gate.wait(30)
        exchange.answer(200, FIELDS, "whole")

    origin.at(path, slow)
    with Headland("serve", "--config", configure(tmp_path, origin.url)) as node:
        async with client(node.serving()) as asked:
            answers = [asked.begin("GET", HOST, f"{path}"), asked.begin("GET", HOST, path)]
            await asyncio.to_thread(origin.wait_asked, path, 1)
            node.process.terminate()
            await asked.until(lambda: any(stream < 1 << 60 for stream in asked.go_aways()))
            # RFC 9114 section 5.2: requests from the stream that is named on may be sent again.
            assert min(asked.go_aways()) > 4
            late, _ = asked.write(frame(1, literal(get(path))))
            await asked.until(lambda: late in asked.resets)
            assert asked.resets[late] == 0x10B
            gate.set()
            for answer in answers:
                await answer.ended.wait()
                assert bytes(answer.body) == b"whole"
        assert await asyncio.to_thread(node.status) == 0


async def test_a_drain_waits_until_the_answer_has_arrived(origin: ScriptedOrigin, path: str, tmp_path: Path) -> None:
    origin.says(path, FIELDS, LARGE)
    wide = settings(max_data=64 << 20, max_stream_data=64 << 20)
    with Headland("serve", "--config", configure(tmp_path, origin.url)) as node:
        places = node.serving()
        async with client(places, wide) as asked:
            await asked.ask("GET", HOST, path)
            asked.pause()
            answer = asked.begin("GET", HOST, path)
            # It has been taken: what is asked on a second connection after it is answered.
            async with client(places) as other:
                await other.ask("GET", HOST, path)
            node.process.terminate()
            # The door is shut: the drain has begun.
            await asyncio.to_thread(until, lambda: _is_shut(places["http"]))
            asked.resume()
            await asyncio.wait_for(answer.ended.wait(), 30)
            assert bytes(answer.body) == LARGE
        assert await asyncio.to_thread(node.status) == 0


def _is_shut(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as door:
        return door.connect_ex((host, int(port))) != 0


async def test_a_slow_client_that_takes_is_left_alone_and_one_that_takes_nothing_is_not(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    origin.says(path, FIELDS, LARGE[: 3 << 19])
    file = configure(tmp_path, origin.url, '[limits]\nwrite_stall_time = "400ms"')
    with Headland("serve", "--config", file) as node:
        places = node.serving()
        async with client(places) as asked:
            asked.slow_down(datagram_s=0.0002)
            answer = await asked.ask("GET", HOST, path)
            assert bytes(answer.body) == LARGE[: 3 << 19]
        async with client(places, window=0) as asked:
            # Not even the head fits into its window.
            stream, _ = asked.write(frame(1, literal(get(path))))
            await asked.until(lambda: stream in asked.resets)


async def test_a_connection_ends_after_its_number_of_requests(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    origin.says(path, FIELDS, "hello")
    file = configure(tmp_path, origin.url, "[limits]\nrequests_per_connection = 3")
    with Headland("serve", "--config", file) as node:
        async with client(node.serving()) as asked:
            for _ in range(3):
                assert (await asked.ask("GET", HOST, path)).status == 200
            await asyncio.wait_for(asked.ended.wait(), 10)
            assert asked.reason is not None
            assert (asked.reason.error_code, min(asked.go_aways())) == (0x100, 12)


async def test_what_a_client_gives_up_is_noticed_and_too_much_of_it_ends_the_connection(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    gate = threading.Event()

    def slow(exchange: Exchange) -> None:
        gate.wait(30)
        exchange.answer(200, FIELDS, "late")

    origin.at(path, slow)
    log = tmp_path / "access.log"
    more = f'[limits]\nh2_resets = 5\n[log]\nformat = "json"\npath = "{log}"'
    with Headland("serve", "--config", configure(tmp_path, origin.url, more)) as node:
        async with client(node.serving()) as asked:
            stream, _ = asked.write(frame(1, literal(get(path))))
            await asyncio.to_thread(origin.wait_asked, path, 1)
            asked.give_up(stream)
            await asyncio.to_thread(until, lambda: path in log.read_text())
            assert json.loads(log.read_text().splitlines()[-1])["status"] == 499
            for _ in range(6):
                stream, _ = asked.write(frame(1, literal(get(path))))
                asked.give_up(stream)
            await asyncio.wait_for(asked.ended.wait(), 10)
            assert asked.reason is not None
            assert asked.reason.error_code == 0x107
        gate.set()
