"""QUIC below HTTP/3: sessions and tokens that every worker and the next process know, clients that move, floods."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from aioquic.h3.connection import H3Connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.tls import SessionTicket

from tests.certificates import make
from tests.curls import Client
from tests.processes import TOKEN, Headland
from tests.quic import HOST, client, configure, settings
from tests.scripted import ScriptedOrigin, closed_port
from tests.waiting import until

FIELDS = {"Cache-Control": "max-age=600"}
LARGE = random.Random(8).randbytes(100 << 20)  # noqa: S311 - the same bytes in every run
"""100 MiB."""


@pytest.fixture(scope="module")
def places(origin: ScriptedOrigin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    directory = tmp_path_factory.mktemp("quic")
    file = configure(directory, origin.url, '[cache]\nobject_max = "128MiB"', workers=4, admin="127.0.0.1:0")
    with Headland("serve", "--config", file) as node:
        yield node.serving()
        assert node.process.poll() is None, node.rest_of("stderr")


def _metric(places: dict[str, str], name: str) -> float:
    text = Client(places["admin"], "h1").get("/metrics", f"Authorization: Bearer {TOKEN}").body.decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"headland_{name}"))


async def _ticket(places: dict[str, str], path: str) -> SessionTicket:
    tickets: list[SessionTicket] = []
    async with client(places, tickets=tickets) as first:
        await first.ask("GET", HOST, path)
        await first.until(lambda: tickets)
    return tickets[0]


async def test_every_worker_resumes_what_another_began(
    places: dict[str, str], origin: ScriptedOrigin, path: str
) -> None:
    origin.says(path, FIELDS, "hello")
    full = _metric(places, 'tls_handshakes_total{resumed="no"}')
    ticket = await _ticket(places, path)
    for _ in range(12):
        # Each time from another port, so the kernel chooses a worker anew.
        async with client(places, settings(session_ticket=ticket)) as again:
            assert (await again.ask("GET", HOST, path)).status == 200
            assert again.quic.tls.session_resumed
    assert _metric(places, 'tls_handshakes_total{resumed="no"}') == full + 1
    assert _metric(places, 'tls_handshakes_total{resumed="yes"}') >= 12


async def test_sessions_and_tokens_outlast_the_process(origin: ScriptedOrigin, path: str, tmp_path: Path) -> None:
    origin.says(path, FIELDS, "hello")
    file = configure(tmp_path, origin.url)
    with Headland("serve", "--config", file) as node:
        ticket = await _ticket(node.serving(), path)
    assert (tmp_path / "state" / "secret").stat().st_mode & 0o077 == 0
    with Headland("serve", "--config", file) as node:
        async with client(node.serving(), settings(session_ticket=ticket)) as again:
            assert again.quic.tls.session_resumed
    (tmp_path / "state" / "secret").unlink()
    with Headland("serve", "--config", file) as node:
        async with client(node.serving(), settings(session_ticket=ticket)) as again:
            assert not again.quic.tls.session_resumed


async def test_a_client_of_a_process_that_is_gone_is_told_at_once(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    origin.says(path, FIELDS, "hello")
    port = closed_port()
    file = configure(tmp_path, origin.url)
    file.write_text(file.read_text().replace('https = "127.0.0.1:0"', f'https = "127.0.0.1:{port}"'))
    with Headland("serve", "--config", file) as node:
        async with client(node.serving()) as asked:
            await asked.ask("GET", HOST, path)
            os.killpg(node.process.pid, signal.SIGKILL)
            await asyncio.to_thread(node.process.wait)
            with Headland("serve", "--config", file) as next_node:
                next_node.serving()
                # A stateless reset (RFC 9000 section 10.3) looks like any short header; aioquic does not know it, so it
                # is recognised by its token here.
                asked.watch_resets()
                asked.begin("GET", HOST, path)
                await asked.until(lambda: asked.was_reset)


async def test_a_download_goes_on_when_the_client_moves(
    places: dict[str, str], origin: ScriptedOrigin, path: str
) -> None:
    origin.says(path, FIELDS, LARGE)
    before, moved = _metric(places, "quic_strays_total"), _metric(places, "quic_migrations_total")
    async with client(places, settings(max_data=16 << 20, max_stream_data=16 << 20)) as asked:
        answer = asked.begin("GET", HOST, path)
        for part in range(1, 8):
            await asked.until(lambda part=part: len(answer.body) > part * len(LARGE) // 10)
            # As a router does that forgot: another port, without a word; or as a phone that finds another network.
            await asked.move("::ffff:127.0.0.2" if part % 2 else "::ffff:127.0.0.1")
        await asyncio.wait_for(answer.ended.wait(), 120)
        assert bytes(answer.body) == LARGE
    await asyncio.to_thread(until, lambda: _metric(places, "quic_migrations_total") >= moved + 7)
    # Seven new ports and four workers: it did not always meet its own.
    assert _metric(places, "quic_strays_total") > before


@pytest.mark.parametrize(
    "way",
    [
        {"loss": 0.0, "delay_s": 0.05, "spread_s": 0.0},
        {"loss": 0.01, "delay_s": 0.0, "spread_s": 0.0},
        {"loss": 0.05, "delay_s": 0.0, "spread_s": 0.0},
        {"loss": 0.0, "delay_s": 0.0, "spread_s": 0.005},
        {"loss": 0.01, "delay_s": 0.05, "spread_s": 0.005},
    ],
    ids=["100 ms", "1 % lost", "5 % lost", "out of order", "all of it"],
)
async def test_an_answer_arrives_whole_over_a_bad_way(
    places: dict[str, str], origin: ScriptedOrigin, path: str, way: dict[str, float]
) -> None:
    body = LARGE[: 1 << 20]
    origin.says(path, FIELDS, body)
    async with client(places) as asked:
        asked.worsen(**way)
        assert (await asyncio.wait_for(asked.ask("GET", HOST, path), 60)).body == body
        upload = await asyncio.wait_for(asked.ask("POST", HOST, path, body=body[:100_000]), 60)
        assert upload.status == 200
    assert origin.asked(path)[-1].body == body[:100_000]


async def test_secrets_of_sessions_are_written_where_it_is_wanted(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    origin.says(path, FIELDS, "hello")
    file = configure(tmp_path, origin.url, '[log]\ntls_keys = "keys.log"')
    with Headland("serve", "--config", file) as node:
        await _ticket(node.serving(), path)
    keys = tmp_path / "keys.log"
    assert "SERVER_TRAFFIC_SECRET_0 " in keys.read_text()
    assert keys.stat().st_mode & 0o077 == 0


async def test_a_reload_changes_limits_and_certificates_of_new_connections(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    origin.says(path, FIELDS, "hello")
    file = configure(tmp_path, origin.url)
    with Headland("serve", "--config", file) as node:
        places = node.serving()
        async with client(places) as before:
            assert before.quic._remote_max_streams_bidi == 128
            file.write_text(file.read_text() + "[limits]\nh2_streams = 7\n")
            make(tmp_path, HOST, "new.example")
            node.signal(signal.SIGHUP)
            assert "reloaded" in await asyncio.to_thread(node.line, "stderr")
            async with client(places) as after:
                assert after.quic._remote_max_streams_bidi == 7
                assert after.certificate() != before.certificate()
                assert (await after.ask("GET", HOST, path)).status == 200
            assert (await before.ask("GET", HOST, path)).status == 200


async def test_handshakes_that_nobody_answers_take_no_places_and_cause_retries(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    origin.says(path, FIELDS, "hello")
    more = "[limits]\nconnections_per_address = 2"
    file = configure(tmp_path, origin.url, more, admin="127.0.0.1:0")
    with Headland("serve", "--config", file) as node:
        places = node.serving()
        await asyncio.to_thread(_half_open, places, 100)
        async with client(places) as served:
            assert (await served.ask("GET", HOST, path)).status == 200
        assert _metric(places, "quic_retries_total") == 0
        await asyncio.to_thread(_half_open, places, 600)
        async with client(places) as served:
            assert (await served.ask("GET", HOST, path)).status == 200
        await asyncio.to_thread(until, lambda: _metric(places, "quic_retries_total") > 0)


def _half_open(places: dict[str, str], count: int) -> None:
    """Begin so many handshakes from a socket that hears no answer."""
    host, port = places["https"].split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        for _ in range(count):
            begun = QuicConnection(configuration=settings())
            begun.connect((host, int(port)), now=0.0)
            for datagram, _ in begun.datagrams_to_send(now=0.0):
                mute.sendto(datagram, (host, int(port)))


ELSEWHERE = "127.0.0.2"


async def test_a_source_that_begins_too_many_handshakes_has_to_prove_itself_and_others_do_not(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    origin.says(path, FIELDS, "hello")
    file = configure(tmp_path, origin.url, "[limits]\nhandshakes_per_address = 10", admin="127.0.0.1:0")
    with Headland("serve", "--config", file) as node:
        places = node.serving()
        await asyncio.to_thread(_half_open, places, 40)
        await asyncio.to_thread(until, lambda: _metric(places, "quic_retries_total") > 0)
        retries = _metric(places, "quic_retries_total")
        async with client(places, source=ELSEWHERE) as served:
            assert (await served.ask("GET", HOST, path)).status == 200
        assert _metric(places, "quic_retries_total") == retries


async def test_an_address_that_proved_itself_begins_so_many_handshakes_and_no_more(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    origin.says(path, FIELDS, "hello")
    file = configure(tmp_path, origin.url, "[limits]\nhandshakes_per_address = 3", admin="127.0.0.1:0")
    with Headland("serve", "--config", file) as node:
        places = node.serving()

        async def one() -> int:
            async with client(places) as asked:
                return (await asked.ask("GET", HOST, path)).status

        ends = await asyncio.gather(*(one() for _ in range(24)), return_exceptions=True)
        assert 200 in ends
        assert any(isinstance(end, ConnectionError) for end in ends), ends
        assert _metric(places, "quic_handshakes_refused_total") > 0


async def test_noise_of_one_source_is_not_looked_at_and_others_are_served(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    origin.says(path, FIELDS, "hello")
    file = configure(tmp_path, origin.url, "[limits]\nhandshakes_per_address = 2", admin="127.0.0.1:0")
    with Headland("serve", "--config", file) as node:
        places = node.serving()
        host, port = places["https"].split(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noisy:
            # Long headers of version 1 and nothing that could be opened.
            for number in range(2_000):
                noisy.sendto(b"\xc0\0\0\0\1\x08" + number.to_bytes(8) + bytes(1_190), (host, int(port)))
        await asyncio.to_thread(until, lambda: _metric(places, "quic_datagrams_ignored_total") > 0)
        async with client(places, source=ELSEWHERE) as served:
            assert (await served.ask("GET", HOST, path)).status == 200


async def test_only_so_many_connections_of_one_address(origin: ScriptedOrigin, path: str, tmp_path: Path) -> None:
    origin.says(path, FIELDS, "hello")
    file = configure(tmp_path, origin.url, "[limits]\nconnections_per_address = 2")
    with Headland("serve", "--config", file) as node:
        places = node.serving()
        async with client(places) as first, client(places) as second:
            assert (await first.ask("GET", HOST, path)).status == 200
            assert (await second.ask("GET", HOST, path)).status == 200
            async with client(places) as third:
                await asyncio.wait_for(third.ended.wait(), 10)
                assert third.reason is not None
                assert third.reason.error_code == 0x107


async def test_early_data_is_answered_from_the_cache_alone_and_never_twice(
    origin: ScriptedOrigin, path: str, tmp_path: Path
) -> None:
    origin.says(path, FIELDS, "hello")
    file = configure(tmp_path, origin.url, admin="127.0.0.1:0")
    file.write_text(file.read_text().replace("http3 = true", "http3 = true\nearly_data = true"))
    with Headland("serve", "--config", file) as node:
        places = node.serving()
        first, second, third = [await _ticket(places, path) for _ in range(3)]
        asked = len(origin.asked(path))
        async with client(places, settings(session_ticket=first), early=True) as early:
            answer = early.begin("GET", HOST, path)
            posted = early.begin("POST", HOST, f"{path}", (), b"")
            await asyncio.wait_for(answer.ended.wait(), 10)
            await asyncio.wait_for(posted.ended.wait(), 10)
            assert early.quic.tls.early_data_accepted
            assert (answer.status, posted.status) == (200, 200)
        assert _metric(places, 'quic_early_requests_total{answered="at-once"}') == 1
        # A session is for one use: whoever copies the first flight gets none of it taken.
        async with client(places, settings(session_ticket=first), early=True) as copy:
            answer = copy.begin("GET", HOST, path)
            await asyncio.wait_for(answer.ended.wait(), 10)
            assert not copy.quic.tls.early_data_accepted
        # A copy of the very first datagrams, whose sender knows no keys: nothing unsafe reaches the origin.
        asked = len(origin.asked(path))
        waited = _metric(places, WAITED)
        await asyncio.to_thread(_replay, places, settings(session_ticket=second), path)
        await asyncio.to_thread(until, lambda: _metric(places, WAITED) > waited)
        async with client(places, settings(session_ticket=third)) as later:
            assert (await later.ask("GET", HOST, path)).status == 200
        assert len(origin.asked(path)) == asked


WAITED = 'quic_early_requests_total{answered="after-handshake"}'


def _replay(places: dict[str, str], made: QuicConfiguration, path: str) -> None:
    """Send the first flight with a POST in early data, twice, from a socket that hears no answer."""
    host, port = places["https"].split(":")
    begun = QuicConnection(configuration=made)
    begun.connect((host, int(port)), now=0.0)
    head = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", HOST.encode()), (b":path", path.encode())]
    H3Connection(begun).send_headers(begun.get_next_available_stream_id(), head, end_stream=True)
    flight = [datagram for datagram, _ in begun.datagrams_to_send(now=0.0)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        for datagram in [*flight, *flight]:
            mute.sendto(datagram, (host, int(port)))
