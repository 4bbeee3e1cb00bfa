"""Interim answers (RFC 9110 section 15.2): a proxy must forward them, to the client that caused them and in time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes import Headland
from tests.security.driven import DrivenOrigin
from tests.security.frames import END_HEADERS, END_STREAM, HEADERS, FrameClient, frame, request
from tests.security.recording import RawClient

HINTS = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Mine: 1\r\nConnection: x-gone\r\nX-Gone: 1\r\n\r\n"
)
FRESH = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok"
PRIVATE = FRESH.replace(b"max-age=60", b"no-store")


@pytest.fixture
def node() -> Iterator[tuple[str, DrivenOrigin]]:
    with (
        DrivenOrigin() as origin,
        Headland("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as process,
    ):
        yield process.serving()["http"], origin


def _ask(client: RawClient, version: bytes = b"1.1") -> None:
    client.send(b"GET /page HTTP/" + version + b"\r\nHost: a.example\r\n\r\n")


@pytest.mark.parametrize("final", [FRESH, PRIVATE], ids=["stored", "not stored"])
def test_hints_reach_the_client_before_the_answer_is_there(node: tuple[str, DrivenOrigin], final: bytes) -> None:
    address, origin = node
    with RawClient(address) as client:
        _ask(client)
        side = origin.accept()
        side.head()
        side.send(b"HTTP/1.1 102 Processing\r\n\r\n" + HINTS)
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 102 ")
        hints = client.until(b"\r\n\r\n").lower()
        assert hints.startswith(b"http/1.1 103 ")
        assert b"link: </a.css>; rel=preload\r\n" in hints
        assert b"x-mine: 1" in hints
        assert b"gone" not in hints
        side.send(final)
        status, head, body = client.answer()
        assert (status, body) == (200, b"ok")
        assert b"x-mine" not in head.lower()


def test_hints_that_come_with_the_answer_come_before_it(node: tuple[str, DrivenOrigin]) -> None:
    address, origin = node
    with RawClient(address) as client:
        _ask(client)
        side = origin.accept()
        side.head()
        side.send(HINTS + PRIVATE)
        assert [client.answer()[0] for _ in range(2)] == [103, 200]


def test_what_is_stored_is_the_final_answer(node: tuple[str, DrivenOrigin]) -> None:
    address, origin = node
    with RawClient(address) as client:
        _ask(client)
        side = origin.accept()
        side.head()
        side.send(HINTS + FRESH)
        assert [client.answer()[0] for _ in range(2)] == [103, 200]
        _ask(client)
        status, head, body = client.answer()
        assert (status, body) == (200, b"ok")
        assert b"; hit" in head.lower()
        assert b"link" not in head.lower()


def test_a_client_of_http_1_0_is_sent_none(node: tuple[str, DrivenOrigin]) -> None:
    address, origin = node
    with RawClient(address) as client:
        _ask(client, b"1.0")
        side = origin.accept()
        side.head()
        side.send(HINTS + PRIVATE)
        assert client.answer()[0] == 200


def test_hints_reach_an_http_2_client_on_its_stream(node: tuple[str, DrivenOrigin]) -> None:
    address, origin = node
    with FrameClient(address) as client:
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, request(path=b"/page")))
        side = origin.accept()
        side.head()
        side.send(HINTS)
        assert client.head(1) == 103
        side.send(PRIVATE)
        assert client.outcome(1) == 200


def test_a_client_that_joins_a_fill_gets_its_answer(node: tuple[str, DrivenOrigin]) -> None:
    """The hints were for the client that began the fill; who joins later is not owed them."""
    address, origin = node
    with RawClient(address) as first, RawClient(address) as second:
        _ask(first)
        side = origin.accept()
        side.head()
        side.send(HINTS)
        assert first.answer()[0] == 103
        _ask(second)
        side.send(FRESH)
        assert first.answer()[0] == 200
        assert second.answer()[0] == 200


def test_hints_after_the_client_has_left_reach_nobody(node: tuple[str, DrivenOrigin]) -> None:
    """The next request on another connection gets its own answer only."""
    address, origin = node
    with RawClient(address) as leaving:
        _ask(leaving)
        side = origin.accept()
        side.head()
    with RawClient(address) as client:
        client.send(b"GET /other HTTP/1.1\r\nHost: a.example\r\n\r\n")
        other = origin.accept()
        other.head()
        side.send(HINTS + FRESH)
        other.send(PRIVATE)
        assert client.answer()[0] == 200
