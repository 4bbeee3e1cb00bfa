"""SRV records on the wire, and from a name server that is asked over UDP and TCP."""

from __future__ import annotations

import asyncio
import struct

import pytest

from origin import dns
from origin.discovery import Source, of_records
from origin.dns import DnsError, Srv, answers, question, srv, system_nameserver
from origin.settings import DiscoverySettings

NAME = "_http._tcp.App.example"
POINTER = b"\xc0\x0c"
"""To the name of the question."""


def _record(priority: int, weight: int, port: int, target: bytes, ttl_s: int = 60) -> bytes:
    data = struct.pack("!3H", priority, weight, port) + target
    return POINTER + struct.pack("!2HIH", dns.TYPE_SRV, dns.CLASS_IN, ttl_s, len(data)) + data


def _answer(query: bytes, *records: bytes, flags: int = 0x8180) -> bytes:
    return query[:2] + struct.pack("!5H", flags, 1, len(records), 0, 0) + query[12:] + b"".join(records)


ONE = _record(10, 5, 8080, b"\x03one" + b"\xc0\x17")
"""`one.app.example`, its end a pointer into the question."""
TWO = _record(20, 0, 81, b"\x03two\x04test\x00", ttl_s=7)


def test_an_answer_is_read_with_its_pointers():
    query = question(7, NAME)
    assert query.endswith(b"\x05_http\x04_tcp\x03App\x07example\x00\x00\x21\x00\x01")
    found = answers(_answer(query, ONE, TWO), query)
    assert found == [Srv(10, 5, 8080, "one.app.example", 60), Srv(20, 0, 81, "two.test", 7)]
    assert answers(_answer(query, _record(0, 0, 0, b"\x00")), query) == [], "a lone dot: no such service"


def test_what_does_not_answer_the_question_is_ignored():
    query = question(7, NAME)
    for other in (b"", question(7, NAME), _answer(question(8, NAME), ONE), _answer(question(7, "b.test"), ONE)):
        assert answers(other, query) is None


@pytest.mark.parametrize(
    "broken",
    [
        lambda query: _answer(query, flags=0x8183),
        lambda query: _answer(query, ONE)[:-3],
        lambda query: _answer(query, struct.pack("!H", 0xC000 + len(query)) + b"\x00" * 20),
        lambda query: _answer(query, ONE, flags=0x8380),
    ],
    ids=["no such name", "cut", "a circle", "truncated"],
)
def test_an_answer_that_is_broken_is_an_error(broken):
    query = question(7, NAME)
    with pytest.raises(DnsError):
        answers(broken(query), query)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".test", ".".join(["abcdefgh"] * 40)])
def test_what_is_no_name_is_not_asked(name):
    with pytest.raises(DnsError):
        question(1, name)


def test_every_cut_of_an_answer_is_refused_and_none_breaks_the_reader():
    query = question(7, NAME)
    whole = _answer(query, ONE, TWO)
    for cut in range(len(whole)):
        try:
            found = answers(whole[:cut], query)
        except DnsError:
            continue
        assert found is None


def test_records_become_servers():
    records = [Srv(20, 0, 81, "two.test", 7), Srv(10, 60_000, 443, "one.test", 60), Srv(10, 6_000, 444, "one.test", 60)]
    servers = of_records(records, "https")
    assert [(server.url, server.priority, server.weight) for server in servers] == [
        ("https://one.test:443", 0, 1000),
        ("https://one.test:444", 0, 100),
        ("https://two.test:81", 1, 1),
    ]


def test_the_systems_name_server_is_the_first_that_it_names(tmp_path):
    file = tmp_path / "resolv.conf"
    assert system_nameserver(file) == "127.0.0.1"
    file.write_text("# nameserver 1.1.1.1\nsearch test\nnameserver 10.0.0.53\nnameserver 10.0.0.54\n")
    assert system_nameserver(file) == "10.0.0.53"


class NameServer(asyncio.DatagramProtocol):
    """Answers over UDP; cut off if so told, so that it is asked over TCP on the same port."""

    def __init__(self, *, truncates: bool) -> None:
        self.truncates = truncates

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(_answer(question(1, NAME), ONE), addr)  # for somebody else
        self.transport.sendto(_answer(data, flags=0x8380) if self.truncates else _answer(data, ONE, TWO), addr)


@pytest.mark.parametrize("truncates", [False, True])
async def test_a_name_server_is_asked_over_udp_and_if_that_does_not_do_over_tcp(truncates, tmp_path):
    async def over_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        answer = _answer(await reader.readexactly(length), ONE, TWO)
        writer.write(struct.pack("!H", len(answer)) + answer)
        await writer.drain()
        writer.close()

    tcp = await asyncio.start_server(over_tcp, "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(truncates=truncates), local_addr=("127.0.0.1", port)
    )
    try:
        found = await asyncio.wait_for(srv(NAME, f"127.0.0.1:{port}"), 10)
        assert [record.port for record in found] == [8080, 81]
        settings = DiscoverySettings(srv=NAME, nameserver=f"127.0.0.1:{port}", scheme="http")
        servers, holds_s = await Source(settings, tmp_path).servers()
        assert (servers[0].url, holds_s) == ("http://one.app.example:8080", 7)
    finally:
        udp.close()
        tcp.close()
        await tcp.wait_closed()
