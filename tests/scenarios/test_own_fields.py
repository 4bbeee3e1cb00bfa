"""Fields that are one client's alone reach the client that caused the fetch, and no other (RFC 9111 section 5.2.2)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes import Headland
from tests.security.recording import RawClient, RecordingOrigin

ANSWERS = {
    b"/cookie": b"Cache-Control: public, max-age=60\r\nSet-Cookie: id=1\r\nSet-Cookie: theme=dark\r\n",
    b"/no-cache": b'Cache-Control: max-age=60, no-cache="x-user"\r\nX-User: alice\r\nX-All: 1\r\n',
    b"/private": b'Cache-Control: max-age=60, private="x-user, x-cart"\r\nX-User: alice\r\nX-Cart: 3\r\nX-All: 1\r\n',
}


def _answer(head: bytes) -> bytes:
    path = head.split(b" ", 2)[1]
    return b"HTTP/1.1 200 OK\r\n" + ANSWERS[path] + b"Content-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    with (
        RecordingOrigin(_answer) as origin,
        Headland("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as process,
    ):
        yield process.serving()["http"]


def _get(node: str, path: bytes) -> bytes:
    with RawClient(node) as client:
        client.send(b"GET " + path + b" HTTP/1.1\r\nHost: a.example\r\n\r\n")
        return client.answer()[1].lower()


@pytest.mark.parametrize(
    ("path", "own"),
    [
        (b"/cookie", [b"set-cookie: id=1", b"set-cookie: theme=dark"]),
        (b"/no-cache", [b"x-user: alice"]),
        (b"/private", [b"x-user: alice", b"x-cart: 3"]),
    ],
)
def test_only_the_client_that_caused_the_fetch_gets_them(node: str, path: bytes, own: list[bytes]) -> None:
    first, second = _get(node, path), _get(node, path)
    assert b"; stored" in first
    assert b"; hit" in second
    for line in own:
        assert line in first
        assert line not in second
    assert (b"x-all: 1" in second) == (path != b"/cookie")
