"""An answer to POST that is the resource's own representation is kept as a GET's (RFC 9110 section 9.3.3)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes import Headland
from tests.security.recording import RawClient, RecordingOrigin

FRESH = b"Cache-Control: max-age=60\r\n"
OWN = {
    b"/own": FRESH + b"Content-Location: /own\r\n",
    b"/absolute": FRESH + b"Content-Location: http://a.example/absolute\r\n",
    b"/expires": b"Expires: Fri, 01 Jan 2100 00:00:00 GMT\r\nContent-Location: expires\r\n",
}
NOT = {
    b"/unsaid": FRESH,
    b"/other": FRESH + b"Content-Location: /elsewhere\r\n",
    b"/foreign": FRESH + b"Content-Location: http://b.example/foreign\r\n",
    b"/twice": FRESH + b"Content-Location: /twice\r\nContent-Location: /twice\r\n",
    b"/no-lifetime": b"Last-Modified: Fri, 01 Jan 2010 00:00:00 GMT\r\nContent-Location: /no-lifetime\r\n",
    b"/private": b"Cache-Control: private, max-age=60\r\nContent-Location: /private\r\n",
    b"/cookie": FRESH + b"Content-Location: /cookie\r\nSet-Cookie: a=b\r\n",
}


def _answer(head: bytes) -> bytes:
    method, path, _ = head.split(b" ", 2)
    status = b"201 Created" if path == b"/created" else b"200 OK"
    fields = (OWN | NOT).get(path, FRESH + b"Content-Location: " + path + b"\r\n")
    body = b"by " + method
    return b"HTTP/1.1 " + status + b"\r\n" + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    with (
        RecordingOrigin(_answer) as origin,
        Headland("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as process,
    ):
        yield process.serving()["http"]


def _ask(node: str, method: bytes, path: bytes) -> tuple[bytes, bytes]:
    with RawClient(node) as client:
        client.send(method + b" " + path + b" HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n")
        _, head, body = client.answer()
        return head.lower(), body


@pytest.mark.parametrize("path", OWN)
def test_what_a_get_would_get_is_kept(node: str, path: bytes) -> None:
    assert _ask(node, b"POST", path)[1] == b"by POST"
    head, body = _ask(node, b"GET", path)
    assert body == b"by POST"
    assert b"; hit" in head


@pytest.mark.parametrize("path", [*NOT, b"/created"])
def test_what_is_not_surely_that_is_not_kept(node: str, path: bytes) -> None:
    assert _ask(node, b"POST", path)[1] == b"by POST"
    assert _ask(node, b"GET", path)[1] == b"by GET"


def test_another_post_replaces_it_and_is_itself_always_sent(node: str) -> None:
    for _ in range(2):
        head, body = _ask(node, b"POST", b"/again")
        assert body == b"by POST"
        assert b"; hit" not in head
    assert _ask(node, b"PUT", b"/again")[1] == b"by PUT"
    assert _ask(node, b"GET", b"/again")[1] == b"by GET"
