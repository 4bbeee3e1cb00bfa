"""The demo without its node: the origin's answers, the pictures, the certificate, the configuration, the live line."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import socket
import ssl
import struct
import subprocess
import urllib.request
import xml.etree.ElementTree as ET
import zlib

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509

from edge import demo, demo_art, demo_pages
from edge.configuration import ConfigurationError
from edge.demo_certificate import self_signed
from edge.demo_origin import BIG_BYTES, MIB, DemoOrigin, Site, make_site
from edge.live import LiveLine

# -- the origin -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def client():
    site = Site(thinking_s=0, slow_first_s=0)
    async with TestClient(TestServer(make_site(site)), auto_decompress=False) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "content_type", "cache_control"),
    [
        ("/", "text/html", "public, max-age=60, stale-while-revalidate=30, stale-if-error=3600"),
        ("/gallery", "text/html", "public, max-age=60, stale-while-revalidate=30, stale-if-error=3600"),
        ("/laboratory", "text/html", "public, max-age=60, stale-while-revalidate=30, stale-if-error=3600"),
        ("/articles/salt-pans", "text/html", "public, max-age=60, stale-while-revalidate=30, stale-if-error=3600"),
        ("/private", "text/html", "private, max-age=60"),
        ("/assets/site.css", "text/css", "public, max-age=3600"),
        ("/assets/site.js", "text/javascript", "public, max-age=3600"),
        ("/assets/icon.svg", "image/svg+xml", "public, max-age=3600"),
        ("/img/3.svg", "image/svg+xml", "public, max-age=86400"),
        ("/img/1.png", "image/png", "public, max-age=86400"),
        ("/slow", "text/plain", "public, max-age=20"),
        ("/time", "application/json", "public, max-age=10"),
        ("/swr", "application/json", "public, max-age=5, stale-while-revalidate=30"),
        ("/sie", "application/json", "public, max-age=2, stale-if-error=600"),
        ("/tagged", "application/json", "public, max-age=600"),
        ("/no-store", "application/json", "no-store"),
        ("/vary", "text/plain", "public, max-age=60"),
    ],
)
async def test_each_page_says_how_it_may_be_kept(client, path, content_type, cache_control):
    got = await client.get(path)
    head = await client.head(path)
    assert (got.status, head.status) == (200, 200)
    assert got.content_type == content_type
    assert got.headers["Cache-Control"] == head.headers["Cache-Control"] == cache_control
    assert await got.read()
    assert await head.read() == b""


@pytest.mark.parametrize("path", ["/", "/img/3.svg", "/assets/site.css", "/big"])
async def test_what_a_client_has_is_not_sent_again(client, path):
    etag = (await client.head(path)).headers["ETag"]
    for sent in (etag, f'"other", W/{etag}', "*"):
        response = await client.get(path, headers={"If-None-Match": sent})
        assert response.status == 304
        assert response.headers["ETag"] == etag
        assert await response.read() == b""
    assert (await client.head(path, headers={"If-None-Match": '"other"'})).status == 200


@pytest.mark.parametrize(
    ("fields", "status", "first", "count"),
    [
        ({"Range": "bytes=0-0"}, 206, 0, 1),
        ({"Range": "bytes=1048570-1048590"}, 206, 1_048_570, 21),
        ({"Range": "bytes=-5"}, 206, BIG_BYTES - 5, 5),
        ({"Range": f"bytes={BIG_BYTES - 3}-"}, 206, BIG_BYTES - 3, 3),
        ({"Range": f"bytes={BIG_BYTES - 3}-{BIG_BYTES + 3}"}, 206, BIG_BYTES - 3, 3),
        ({"Range": "bytes=5-9", "If-Range": '"big-1"'}, 206, 5, 5),
        ({"Range": f"bytes={BIG_BYTES}-"}, 416, 0, 0),
        ({"Range": "bytes=-0"}, 416, 0, 0),
        ({"Range": "bytes=9-5"}, 416, 0, 0),
    ],
)
async def test_parts_of_the_large_file(client, fields, status, first, count):
    response = await client.get("/big", headers=fields)
    assert response.status == status
    if status == 206:
        assert response.headers["Content-Range"] == f"bytes {first}-{first + count - 1}/{BIG_BYTES}"
        assert await response.read() == b"".join(big_byte(at) for at in range(first, first + count))


@pytest.mark.parametrize(
    "fields", [{"Range": "lines=1-2"}, {"Range": "bytes=a-b"}, {"Range": "bytes=5-9", "If-Range": '"x"'}]
)
async def test_a_range_that_does_not_count_is_ignored(client, fields):
    response = await client.head("/big", headers=fields)
    assert (response.status, response.content_length) == (200, BIG_BYTES)


def big_byte(at: int) -> bytes:
    index, offset = divmod(at, MIB)
    return Site()._mebibyte(index)[offset : offset + 1]


async def test_the_large_file_is_as_long_as_it_says(client):
    response = await client.get("/big")
    size = 0
    async for chunk in response.content.iter_chunked(MIB):
        size += len(chunk)
    assert size == BIG_BYTES == response.content_length


@pytest.mark.parametrize(
    ("accepted", "language"), [("de-CH, en;q=0.5", "de"), ("xx, fr", "fr"), ("", "en"), ("xx", "en"), ("ja", "ja")]
)
async def test_languages_and_codings_vary(client, accepted, language):
    plain = await client.get("/vary", headers={"Accept-Language": accepted, "Accept-Encoding": "identity"})
    packed = await client.get("/vary", headers={"Accept-Language": accepted, "Accept-Encoding": "gzip"})
    assert plain.headers["Content-Language"] == packed.headers["Content-Language"] == language
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.headers["ETag"] != packed.headers["ETag"]
    assert zlib.decompress(await packed.read(), wbits=31) == await plain.read()


@pytest.mark.parametrize(
    ("query", "status"), [("?status=418", 418), ("?status=503", 503), ("?status=200", 500), ("", 500)]
)
async def test_errors_come_on_demand(client, query, status):
    assert (await client.get("/error" + query)).status == status


async def test_the_switch_breaks_every_connection_but_its_own(client):
    assert (await client.post("/switch?origin=sideways")).status == 400
    assert (await client.post("/switch?origin=down")).status == 200
    with pytest.raises(aiohttp.ClientError):
        await client.get("/")
    assert (await client.post("/switch?origin=up")).status == 200
    assert (await client.get("/")).status == 200


async def test_uploads_are_measured_and_sockets_echo(client):
    body = b"x" * 3_000_000
    answer = await (await client.put("/upload", data=io.BytesIO(body))).json()
    assert answer == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    async with client.ws_connect("/echo") as socket_:
        await socket_.send_str("hello")
        assert await socket_.receive_str() == "hello"
        await socket_.send_bytes(b"\x00\x01")
        assert await socket_.receive_bytes() == b"\x00\x01"


async def test_a_visitor_is_counted_in_a_cookie(client):
    for visit in (1, 2, 3):
        response = await client.get("/private")
        assert response.cookies["visits"].value == str(visit)
    await client.get("/private", headers={"Cookie": "visits=evil"})


async def test_nothing_is_a_page_too(client):
    response = await client.get("/<script>")
    assert response.status == 404
    assert "<script>alert" not in await response.text()
    assert "&lt;script&gt;" in await response.text()
    assert (await client.get("/articles/nowhere")).status == 404
    assert (await client.get("/assets/nothing")).status == 404


def test_the_origin_runs_on_a_thread_of_its_own_and_ends():
    with DemoOrigin() as origin, urllib.request.urlopen(origin.url + "/time") as answer:
        assert answer.status == 200
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(origin.url + "/time")
    assert not origin._thread.is_alive()


# -- what is in it ----------------------------------------------------------------------------------------------------


def test_pictures_are_pictures_and_always_the_same():
    for number in range(demo_art.COASTS):
        ET.fromstring(demo_art.coast(number))  # noqa: S314 - our own
    assert demo_art.coast(1) == demo_art.coast(1 + demo_art.COASTS)
    png = demo_art.strata(0)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (demo_art.STRATA_WIDTH, demo_art.STRATA_HEIGHT)
    assert hashlib.sha256(png).digest() == hashlib.sha256(demo_art.strata(0)).digest()


@pytest.mark.parametrize(
    "page", [demo_pages.home(), demo_pages.gallery(), demo_pages.laboratory(), demo_pages.private(2)]
)
def test_pages_link_only_within_the_site(page):
    links = re.findall(r'(?:href|src|data-path)="([^"]+)"', page)
    assert links
    assert all(link.startswith("/") for link in links)


def test_the_certificate_is_for_loopback_and_fits_its_key(tmp_path):
    certificate, key = self_signed()
    (tmp_path / "both.pem").write_text(certificate + key)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "both.pem")
    names = (
        x509.load_pem_x509_certificate(certificate.encode())
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert {str(address) for address in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1"}


# -- the configuration ------------------------------------------------------------------------------------------------


def test_the_demo_configures_a_node_that_needs_nothing(tmp_path):
    found = demo.configure("http://127.0.0.1:9", "127.0.0.1:0", tmp_path, "t0ken", {})
    assert found.state_dir is None
    assert [(token.name, token.secret, token.scopes) for token in found.tokens] == [
        ("demo", "t0ken", frozenset({"purge", "read"}))
    ]
    snapshot = orjson.loads(found.snapshot)
    assert {listener["kind"] for listener in snapshot["listeners"]} == {"http", "https"}
    assert snapshot["origins"][0]["servers"][0]["url"] == "http://127.0.0.1:9"


def test_ports_that_are_taken_are_replaced_and_nonsense_is_not(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        found = demo.configure("http://127.0.0.1:9", address, tmp_path, "t", {})
        assert orjson.loads(found.snapshot)["listeners"][0]["address"] == "127.0.0.1:0"
    with pytest.raises(ConfigurationError, match="expected an address"):
        demo.configure("http://127.0.0.1:9", "nonsense", tmp_path, "t", {})
    with pytest.raises(ConfigurationError):
        demo.configure("http://127.0.0.1:9", "127.0.0.1:0", tmp_path, "t", {("cache", "memory"): "much"})


def test_five_things_to_try_are_whole_command_lines():
    places = demo.Places("http://127.0.0.1:1", "https://localhost:2", "http://127.0.0.1:3", "http://127.0.0.1:4", "s3")
    things = demo.things_to_try(places)
    assert len(things) == 5
    assert any("Bearer s3" in command for _, command in things)
    for _, command in things:
        subprocess.run(["bash", "-n", "-c", command], check=True)


# -- the live line ----------------------------------------------------------------------------------------------------


class GrowingNode:
    """Counts one more hit at each reading."""

    def __init__(self) -> None:
        self.hits = 0

    def metrics(self) -> bytes:
        self.hits += 1
        histogram = [{"outcome": "hit", "buckets": [self.hits, 0], "sum_us": 0}]
        row = {"site": "*", "outcome": "hit", "status_class": "2xx", "protocol": "h1", "count": 1_000 + self.hits}
        return orjson.dumps(
            {
                "requests": [row],
                "bucket_bounds_us": [100],
                "ttfb": histogram,
                "response_bytes": {"hit": 5},
                "store": {"objects": 12, "bytes": 3_000_000},
            }
        )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_is_rewritten_on_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    terminal = Terminal()
    live = LiveLine(GrowingNode(), terminal)
    for _ in range(3):
        live.tick()
    lines = terminal.getvalue().split("\r")[1:]
    assert len(lines) == 2
    assert lines[-1].startswith("1,003 requests")
    assert "hit 100.0 %" in lines[-1]
    assert "hit 0.05/0.10 ms  miss -  12 stored  2.9 MiB\x1b[K" in lines[-1]
    monkeypatch.setenv("COLUMNS", "50")
    live.tick()
    assert terminal.getvalue().endswith("hit 100.0 %\x1b[K")  # whole parts only


def test_elsewhere_a_line_comes_every_tenth_time():
    stream = io.StringIO()
    live = LiveLine(GrowingNode(), stream)
    for _ in range(25):
        live.tick()
    lines = stream.getvalue().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["1,010", "1,020"]
    assert "\r" not in stream.getvalue()


async def test_the_line_ends_when_it_is_cancelled():
    terminal = Terminal()
    task = asyncio.create_task(LiveLine(GrowingNode(), terminal).run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert terminal.getvalue().endswith("\n")
