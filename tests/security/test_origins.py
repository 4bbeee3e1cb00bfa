"""Origins that cannot be trusted, and what one scheme or one site's page may not learn from another's."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import certificates
from tests.processes import Headland
from tests.security.driven import DrivenOrigin
from tests.security.recording import RawClient, RecordingOrigin

CONFIGURATION = """\
[listen]
http = "127.0.0.1:0"
https = "127.0.0.1:0"
[[tls]]
cert = "cert.pem"
key = "key.pem"
[admin]
listen = "off"
state_dir = "state"
[[site]]
hosts = ["*"]
origin = "app"
[origin.app]
servers = "{origin}"
{more}
"""
ONCE = "\n[origin.app.retries]\nattempts = 1"
FRESH = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"


@contextlib.contextmanager
def _serving(directory: Path, origin: str, more: str = "") -> Iterator[dict[str, str]]:
    certificates.make(directory, "a.example")
    file = directory / "edge.toml"
    file.write_text(CONFIGURATION.format(origin=origin, more=more))
    with Headland("serve", "--config", file) as process:
        yield process.serving()


def _get(address: str, path: bytes = b"/", fields: bytes = b"") -> tuple[int, bytes, bytes]:
    with RawClient(address) as client:
        client.send(b"GET " + path + b" HTTP/1.1\r\nHost: a.example\r\n" + fields + b"\r\n")
        return client.answer()


def test_a_wish_for_http_2_in_clear_text_stays_at_the_door(tmp_path: Path) -> None:
    """F25: `h2c` and HTTP2-Settings concern this connection, which stays HTTP/1.1."""
    wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    with RecordingOrigin() as origin, _serving(tmp_path, origin.url) as node, RawClient(node["http"]) as client:
        for _ in range(2):
            client.send(b"GET /x HTTP/1.1\r\nHost: a.example\r\n" + wish + b"\r\n")
            assert client.answer()[0] == 200
        seen = origin.bytes_seen().lower()
    assert seen.count(b"get /x ") == 2
    assert b"h2c" not in seen
    assert b"http2-settings" not in seen
    assert b"upgrade" not in seen


@pytest.fixture
def tls_origin(tmp_path: Path) -> Iterator[tuple[DrivenOrigin, ssl.SSLContext, str]]:
    """An origin that can speak TLS as `localhost`, and the settings by which a node trusts it."""
    identity = certificates.make(tmp_path / "origin", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert_file, identity.key_file)
    with DrivenOrigin() as origin:
        yield origin, context, f'ca = "{identity.cert_file}"'


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n", b""], ids=["length", "chunks", "close"]
)
def test_tls_that_ends_without_a_close_is_a_truncation(
    framing: bytes, tls_origin: tuple[DrivenOrigin, ssl.SSLContext, str], tmp_path: Path
) -> None:
    """O5: without close_notify anybody on the way may have ended it, even where the close ends the body."""
    origin, context, trust = tls_origin
    body = b"5\r\nshort\r\n" if b"chunked" in framing else b"short"
    with _serving(tmp_path, origin.url.replace("http://127.0.0.1", "https://localhost"), trust) as node:
        for _ in range(2):
            with RawClient(node["http"]) as client:
                client.send(b"GET /cut HTTP/1.1\r\nHost: a.example\r\n\r\n")
                side = origin.accept()
                side.secure(context)
                side.head()
                side.send(FRESH + framing + b"\r\n" + body)
                client.until(b"short")
                side.close()
                # It ends, and without the last chunk that would make it look whole.
                assert b"0\r\n\r\n" not in client.rest()


def test_words_before_the_handshake_are_no_answer(
    tls_origin: tuple[DrivenOrigin, ssl.SSLContext, str], tmp_path: Path
) -> None:
    """O6: plain text where TLS has to begin comes from somebody else."""
    origin, _, trust = tls_origin
    with (
        _serving(tmp_path, origin.url.replace("http://127.0.0.1", "https://localhost"), trust + ONCE) as node,
        RawClient(node["http"]) as client,
    ):
        client.send(b"GET /early HTTP/1.1\r\nHost: a.example\r\n\r\n")
        side = origin.accept()
        side.send(FRESH + b"Content-Length: 4\r\n\r\nevil")
        status, head, body = client.answer()
        assert status == 502
        assert b"evil" not in body
        assert re.search(rb"(?i)proxy-status: .*error=tls", head), head


def test_a_redirect_is_the_clients_to_follow(tmp_path: Path) -> None:
    """O6, X1: an origin cannot make the node ask somebody else."""
    with RecordingOrigin() as inner:
        location = b"Location: " + inner.url.encode() + b"/secret\r\nContent-Length: 0\r\n\r\n"
        with (
            RecordingOrigin(lambda _head: b"HTTP/1.1 302 Found\r\n" + location) as origin,
            _serving(tmp_path, origin.url) as node,
        ):
            status, head, _ = _get(node["http"])
        assert status == 302
        assert inner.url.encode() in head
        assert inner.bytes_seen() == b""


def test_a_head_without_end_is_bounded(tmp_path: Path) -> None:
    """O6: what an origin sends before its head is whole is bounded, and nothing of it is passed on."""
    endless = b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"a" * (4 << 20)
    with RecordingOrigin(lambda _head: endless) as origin, _serving(tmp_path, origin.url) as node:
        status, _, body = _get(node["http"])
    assert status == 502
    assert b"aaaa" not in body


def test_the_scheme_is_part_of_the_key(tmp_path: Path) -> None:
    """P7: what was fetched for https is not served over http, nor the other way round."""
    answer = FRESH + b"Content-Length: 2\r\n\r\nok"
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with RecordingOrigin(lambda _head: answer) as origin, _serving(tmp_path, origin.url) as node:
        trusting.load_verify_locations(tmp_path / "cert.pem")
        trusting.check_hostname = False
        for _ in range(2):
            assert _get(node["http"], b"/page")[0] == 200
            door = http.client.HTTPSConnection(node["https"], context=trusting)
            door.request("GET", "/page", headers={"Host": "a.example"})
            assert door.getresponse().read() == b"ok"
            door.close()
        protos = [re.search(rb"x-forwarded-proto: (\S+)", head) for head in origin.heads()]
    assert [proto[1] for proto in protos if proto] == [b"http", b"https"]


def test_an_answer_for_one_page_with_credentials_is_not_given_to_another(tmp_path: Path) -> None:
    """K5: an origin that names the asking page and allows credentials means that page, though it forgets Vary."""

    def answer(head: bytes) -> bytes:
        page = re.search(rb"(?im)^origin: (\S+)\r$", head)
        allowed = page[1] if page else b"none"
        allow = b"Access-Control-Allow-Origin: " + allowed + b"\r\nAccess-Control-Allow-Credentials: true\r\n"
        return FRESH + allow + b"Content-Length: %d\r\n\r\n" % len(allowed) + allowed

    with RecordingOrigin(answer) as origin, _serving(tmp_path, origin.url) as node:
        for page in (b"https://one.example", b"https://two.example", b"https://one.example"):
            assert _get(node["http"], b"/api", b"Origin: " + page + b"\r\n")[2] == page
        assert len(origin.heads()) == 2
