"""103 (Early Hints) from memory: the links of the last stored answer, before the origin has said a word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from purge_api.client import PurgeClient
from tests.processes import TOKEN, Headland, preamble
from tests.security.driven import DrivenOrigin
from tests.security.frames import END_HEADERS, END_STREAM, HEADERS, FrameClient, frame, request
from tests.security.recording import RawClient

CONFIGURATION = """\
[[site]]
hosts = "*"
origin = "app"
early_hints = true
[[site]]
hosts = "silent.example"
origin = "app"
[origin.app]
servers = "ORIGIN"
"""
STALE = (
    b'HTTP/1.1 200 OK\r\nCache-Control: max-age=0\r\nETag: "1"\r\nVary: X-Colour\r\nContent-Length: 2\r\n'
    b"Link: </a.css>; rel=preload; as=style, </next>; rel=next\r\nLink: <//cdn>; rel=preconnect\r\n\r\nok"
)
NAVIGATE = b"Sec-Fetch-Mode: navigate\r\n"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[dict[str, str], DrivenOrigin]]:
    with DrivenOrigin() as origin:
        file = tmp_path / "edge.toml"
        file.write_text(preamble(admin=True, name="headland") + CONFIGURATION.replace("ORIGIN", origin.url))
        with Headland("serve", "--config", file) as process:
            yield process.serving(), origin


def _ask(client: RawClient, fields: bytes = NAVIGATE, host: bytes = b"a.example") -> None:
    client.send(b"GET /page HTTP/1.1\r\nHost: " + host + b"\r\n" + fields + b"\r\n")


def _store(node: tuple[dict[str, str], DrivenOrigin], host: bytes = b"a.example") -> None:
    """Asks once; what is stored is stale at once. The node keeps the connection to the origin no longer."""
    places, origin = node
    with RawClient(places["http"]) as client:
        _ask(client, host=host)
        side = origin.accept()
        side.head()
        side.send(STALE.replace(b"Content-Length", b"Connection: close\r\nContent-Length"))
        assert client.answer()[0] == 200


def _statuses(node: tuple[dict[str, str], DrivenOrigin], fields: bytes = NAVIGATE, host: bytes = b"a.example") -> int:
    """The first status that a client gets; the origin answers only afterwards when that is 103."""
    places, origin = node
    with RawClient(places["http"]) as client:
        _ask(client, fields, host)
        side = origin.accept()
        side.head()
        side.send(STALE.replace(b"Content-Length", b"Connection: close\r\nContent-Length"))
        return client.answer()[0]


def test_the_links_come_before_the_origin_answers(node: tuple[dict[str, str], DrivenOrigin]) -> None:
    _store(node)
    places, origin = node
    with RawClient(places["http"]) as client:
        _ask(client)
        hints = client.until(b"\r\n\r\n")
        assert hints.startswith(b"HTTP/1.1 103 ")
        assert b"</a.css>; rel=preload; as=style" in hints
        assert b"<//cdn>; rel=preconnect" in hints
        assert b"next" not in hints
        side = origin.accept()
        side.head()
        side.send(STALE)
        assert client.answer()[0] == 200


def test_the_links_reach_an_http_2_client_on_its_stream(node: tuple[dict[str, str], DrivenOrigin]) -> None:
    _store(node)
    places, origin = node
    with FrameClient(places["http"]) as client:
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, request(path=b"/page")))
        assert client.head(1) == 103
        side = origin.accept()
        side.head()
        side.send(STALE)
        assert client.outcome(1) == 200


@pytest.mark.parametrize("fields", [b"", b"Sec-Fetch-Mode: cors\r\n", NAVIGATE + b"X-Colour: red\r\n"])
def test_other_clients_and_variants_are_sent_none(node: tuple[dict[str, str], DrivenOrigin], fields: bytes) -> None:
    _store(node)
    assert _statuses(node, fields) == 200


def test_a_site_that_does_not_want_it_sends_none(node: tuple[dict[str, str], DrivenOrigin]) -> None:
    _store(node, b"silent.example")
    assert _statuses(node, host=b"silent.example") == 200


def test_what_was_purged_gives_no_hints(node: tuple[dict[str, str], DrivenOrigin]) -> None:
    _store(node)
    PurgeClient(f"http://{node[0]['admin']}", TOKEN).purge("url", ["http://a.example/page"])
    assert _statuses(node) == 200
    assert _statuses(node) == 103
