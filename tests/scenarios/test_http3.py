"""HTTP/3 at the door, by an independent client (aioquic): the same sites, cache and answers as over HTTP/2."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest
from aioquic.asyncio.client import connect

from edge.probe import Request
from edge.probe_http3 import Http3Client, configuration
from tests.certificates import make
from tests.curls import Client
from tests.processes import ROOT, Headland
from tests.scripted import Exchange, ScriptedOrigin, closed_port

HOST = "a.example"
CONFIGURATION = """\
[node]
name = "pop1"
workers = 2
[listen]
https = "127.0.0.1:0"
http3 = true
[[tls]]
cert = "CERT"
key = "KEY"
[admin]
listen = "off"
state_dir = "state"
[limits]
body_size = "1MiB"
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = "ORIGIN"
"""
FIELDS = {"Cache-Control": "max-age=60", "ETag": '"v1"', "Content-Type": "text/plain"}
LARGE = random.Random(8).randbytes(8 << 20)  # noqa: S311 - the same bytes in every run


@pytest.fixture(scope="module")
def places(origin: ScriptedOrigin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    directory = tmp_path_factory.mktemp("http3")
    pair = make(directory, HOST)
    file = directory / "edge.toml"
    text = (
        CONFIGURATION.replace("ORIGIN", origin.url)
        .replace("CERT", str(pair.cert_file))
        .replace("KEY", str(pair.key_file))
    )
    file.write_text(text)
    with Headland("serve", "--config", file) as node:
        yield node.serving()
        assert node.process.poll() is None, node.rest_of("stderr")


@asynccontextmanager
async def _client(places: dict[str, str]) -> AsyncIterator[Http3Client]:
    host, port = places["https"].split(":")
    request = Request(urlsplit(f"https://{HOST}/"), verify=False)
    async with connect(host, int(port), configuration=configuration(request), create_protocol=Http3Client) as client:
        yield cast("Http3Client", client)


async def test_a_miss_and_a_hit(places: dict[str, str], origin: ScriptedOrigin, path: str) -> None:
    origin.says(path, FIELDS, "hello")
    async with _client(places) as client:
        first, second = [await client.ask("GET", HOST, path) for _ in range(2)]
    assert (first.status, bytes(first.body)) == (second.status, bytes(second.body)) == (200, b"hello")
    assert "uri-miss" in str(first.header("cache-status"))
    assert "; hit" in str(second.header("cache-status"))
    assert len(origin.asked(path)) == 1
    assert origin.asked(path)[0].headers["Host"] == HOST


async def test_conditions_and_ranges(places: dict[str, str], origin: ScriptedOrigin, path: str) -> None:
    origin.says(path, FIELDS, "0123456789")
    async with _client(places) as client:
        await client.ask("GET", HOST, path)
        same = await client.ask("GET", HOST, path, [("if-none-match", '"v1"')])
        part = await client.ask("GET", HOST, path, [("range", "bytes=2-4")])
    assert (same.status, bytes(same.body)) == (304, b"")
    assert (part.status, bytes(part.body), part.header("content-range")) == (206, b"234", "bytes 2-4/10")


async def test_large_bodies_of_many_streams_are_right(
    places: dict[str, str], origin: ScriptedOrigin, path: str
) -> None:
    origin.says(path, FIELDS, LARGE)
    async with _client(places) as client:
        answers = await asyncio.gather(*(client.ask("GET", HOST, path) for _ in range(4)))
    assert all(bytes(answer.body) == LARGE for answer in answers)
    assert len(origin.asked(path)) == 1


async def test_a_thousand_downloads_at_a_time_are_right(
    places: dict[str, str], origin: ScriptedOrigin, path: str
) -> None:
    bodies = {f"{path}/{number}": LARGE[number << 15 : (number + 1) << 15] for number in range(50)}
    for name, body in bodies.items():
        origin.says(name, FIELDS, body)

    async def download() -> None:
        async with _client(places) as client:
            answers = await asyncio.gather(*(client.ask("GET", HOST, name) for name in bodies))
        assert [bytes(answer.body) for answer in answers] == list(bodies.values())

    await asyncio.gather(*(download() for _ in range(20)))
    assert all(len(origin.asked(name)) == 1 for name in bodies)


async def test_an_upload_reaches_the_origin(places: dict[str, str], origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, lambda it: it.answer(200, {}, it.body[::-1]))
    async with _client(places) as client:
        answer = await client.ask("POST", HOST, path, (), b"abc" * 50_000)
        large = await client.ask("POST", HOST, path, (), b"x" * ((1 << 20) + 1))
    assert bytes(answer.body) == b"cba" * 50_000
    assert large.status == 413


async def test_an_answer_that_breaks_off_is_reset(places: dict[str, str], origin: ScriptedOrigin, path: str) -> None:
    def script(exchange: Exchange) -> None:
        exchange.begin(200, {"Cache-Control": "max-age=60"}, 100)
        exchange.send(b"half")
        exchange.cut()

    origin.at(path, script)
    async with _client(places) as client:
        answer = await client.ask("GET", HOST, path)
        assert answer.broken
        origin.says(path, FIELDS, "whole")
        assert bytes((await client.ask("GET", HOST, path)).body) == b"whole"


async def test_concurrent_misses_over_both_protocols_ask_once(
    places: dict[str, str], origin: ScriptedOrigin, path: str
) -> None:
    gate = threading.Event()

    def slow(exchange: Exchange) -> None:
        assert gate.wait(30)
        exchange.answer(200, FIELDS, "shared")

    origin.at(path, slow)
    async with _client(places) as client:
        over_quic = [client.begin("GET", HOST, path) for _ in range(3)]
        await asyncio.to_thread(origin.wait_asked, path, 1)
        gate.set()
        for answer in over_quic:
            await answer.ended.wait()
    assert {bytes(answer.body) for answer in over_quic} == {b"shared"}
    assert len(origin.asked(path)) == 1


async def test_another_host_than_the_certificate_is_misdirected_and_connect_refused(
    places: dict[str, str], origin: ScriptedOrigin, path: str
) -> None:
    async with _client(places) as client:
        refused = await client.ask("CONNECT", HOST, path)
        odd = await client.ask("TRACE", HOST, path)
    assert refused.status in {0, 400, 501}
    assert odd.status == 405


def test_answers_over_tls_say_where_http3_is_served(origin: ScriptedOrigin, tmp_path: Path) -> None:
    port = closed_port()
    pair = make(tmp_path, HOST)
    text = (
        CONFIGURATION.replace("ORIGIN", origin.url)
        .replace("CERT", str(pair.cert_file))
        .replace("KEY", str(pair.key_file))
    )
    file = tmp_path / "edge.toml"
    file.write_text(text.replace('https = "127.0.0.1:0"', f'https = "127.0.0.1:{port}"\nhttp = "127.0.0.1:0"'))
    with Headland("serve", "--config", file) as node:
        places = node.serving()
        command = ["curl", "-ski", "--resolve", f"{HOST}:{port}:127.0.0.1", f"https://{HOST}:{port}/x"]
        secure = subprocess.run(command, capture_output=True, check=True, text=True).stdout.lower()
        assert f'alt-svc: h3=":{port}"; ma=86400' in secure
        assert "alt-svc" not in Client(places["http"], "h1").get("/x").headers


async def test_a_drain_lets_what_runs_end(origin: ScriptedOrigin, path: str, tmp_path: Path) -> None:
    gate = threading.Event()

    def slow(exchange: Exchange) -> None:
        assert gate.wait(30)
        exchange.answer(200, FIELDS, "whole")

    origin.at(path, slow)
    pair = make(tmp_path, HOST)
    file = tmp_path / "edge.toml"
    text = (
        CONFIGURATION.replace("ORIGIN", origin.url)
        .replace("CERT", str(pair.cert_file))
        .replace("KEY", str(pair.key_file))
    )
    file.write_text(text)
    with Headland("serve", "--config", file) as node:
        async with _client(node.serving()) as client:
            answer = client.begin("GET", HOST, path)
            await asyncio.to_thread(origin.wait_asked, path, 1)
            node.process.terminate()
            gate.set()
            await answer.ended.wait()
            assert bytes(answer.body) == b"whole"
        assert await asyncio.to_thread(node.status) == 0


def test_probe_tells_every_step(places: dict[str, str], origin: ScriptedOrigin, path: str) -> None:
    origin.says(path, FIELDS, "hello")
    url = f"https://{places['https']}{path}"
    for more, protocol in ((["--http3"], "HTTP/3"), ([], "HTTP/1.1")):
        command = [sys.executable, "-m", "edge", "probe", url, "--insecure", "--json", "-H", f"X-A: {protocol}", *more]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
        told = json.loads(done.stdout)
        assert (told["protocol"], told["status"], told["body_bytes"]) == (protocol, 200, 5)
        assert told["handshake_ms"] > 0
        assert told["ttfb_ms"] > 0
        assert "pop1" in told["cache_status"]
        assert "CN=" in told["certificate"]["issuer"]
    shown = subprocess.run([*command[:5], "--insecure"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert "first byte" in shown


def test_probe_says_what_went_wrong() -> None:
    command = [sys.executable, "-m", "edge", "probe", "https://127.0.0.1:1/", "--http3", "--timeout", "0.5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 4
    assert "QUIC" in done.stderr


def test_a_certificate_is_verified(places: dict[str, str]) -> None:
    assert configuration(Request(urlsplit(f"https://{HOST}/"))).verify_mode != ssl.CERT_NONE
