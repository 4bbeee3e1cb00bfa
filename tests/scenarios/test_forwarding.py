"""What a gateway adds to a message that passes, what it counts, and what it answers itself (RFC 9110 section 7.6)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes import Headland
from tests.security.recording import PLAIN, RawClient, RecordingOrigin

EMPTY = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
BEHIND = b"Cache-Status: inner; hit\r\nVia: 1.1 inner\r\nCDN-Loop: other\r\n"


def _answer(head: bytes) -> bytes:
    path = head.split(b" ", 2)[1]
    if path == b"/empty":
        return EMPTY
    return PLAIN.replace(b"\r\n\r\n", b"\r\n" + BEHIND + b"\r\n") if path == b"/behind" else PLAIN


@pytest.fixture(scope="module")
def origin() -> Iterator[RecordingOrigin]:
    with RecordingOrigin(_answer) as made:
        yield made


@pytest.fixture(scope="module")
def node(origin: RecordingOrigin) -> Iterator[str]:
    with Headland("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as process:
        yield process.serving()["http"]


def _ask(node: str, line: bytes, fields: bytes = b"") -> tuple[int, bytes, bytes]:
    with RawClient(node) as client:
        client.send(line + b" HTTP/1.1\r\nHost: a.example\r\n" + fields + b"\r\n")
        return client.answer()


def test_via_names_this_hop_both_ways(node: str, origin: RecordingOrigin) -> None:
    """RFC 9110 section 7.6.3, RFC 8586 section 2: behind the hops before it, and never instead of them."""
    _, head, _ = _ask(node, b"GET /behind", b"Via: 1.0 before\r\nCDN-Loop: before\r\nConnection: cdn-loop\r\n")
    asked = origin.heads()[-1].lower()
    assert asked.index(b"via: 1.0 before") < asked.index(b"via: 1.1 headland")
    assert b"cdn-loop: headland" in asked
    assert b"cdn-loop: before" in asked
    answered = head.lower()
    assert answered.index(b"via: 1.1 inner") < answered.index(b"via: 1.1 headland")


def test_cache_status_keeps_the_members_before_it(node: str) -> None:
    """RFC 9211 section 2: nearest to the origin first."""
    head = _ask(node, b"GET /behind")[1].lower()
    assert head.index(b"cache-status: inner; hit") < head.index(b"cache-status: headland; ")


@pytest.mark.parametrize("left", [b"0", b"00"])
def test_max_forwards_ends_here(node: str, origin: RecordingOrigin, left: bytes) -> None:
    before = len(origin.heads())
    status, head, _ = _ask(node, b"OPTIONS /x", b"Max-Forwards: " + left + b"\r\n")
    assert status == 204
    assert b"allow:" in head.lower()
    assert len(origin.heads()) == before


@pytest.mark.parametrize(
    ("method", "left", "passed"),
    [
        (b"OPTIONS", b"5", b"max-forwards: 4\r\n"),
        (b"OPTIONS", b"1", b"max-forwards: 0\r\n"),
        (b"OPTIONS", b"x", None),
        (b"OPTIONS", b"-1", None),
        (b"GET", b"0", None),
    ],
)
def test_max_forwards_counts_down(
    node: str, origin: RecordingOrigin, method: bytes, left: bytes, passed: bytes | None
) -> None:
    """Of other methods it is nobody's business (RFC 9110 section 7.6.2 allows to ignore it)."""
    assert _ask(node, method + b" /x", b"Max-Forwards: " + left + b"\r\n")[0] == 200
    asked = origin.heads()[-1].lower()
    assert asked.startswith(method.lower())
    assert passed in asked if passed else b"max-forwards" not in asked


def test_204_has_no_length(node: str) -> None:
    """RFC 9110 section 8.6."""
    status, head, _ = _ask(node, b"GET /empty")
    assert status == 204
    assert b"content-length" not in head.lower()
