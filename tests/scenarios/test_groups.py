"""Cache groups (RFC 9875): what an origin names together, a successful write invalidates together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes import Headland
from tests.security.recording import RawClient, RecordingOrigin

GROUPS = {b"/a": b'"menu", "all"', b"/b": b'"menu"', b"/c": b'"other"', b"/broken": b"menu", b"/none": b""}
WRITES = {b"/write": b'"menu"', b"/write-broken": b"menu", b"/write-fails": b'"menu"'}


def _answer(head: bytes) -> bytes:
    path = head.split(b" ", 2)[1]
    if path in WRITES:
        status = b"500 Oh" if path == b"/write-fails" else b"200 OK"
        named = b"Cache-Group-Invalidation: " + WRITES[path] + b"\r\n"
        return b"HTTP/1.1 " + status + b"\r\n" + named + b"Content-Length: 2\r\n\r\nok"
    fields = b"Cache-Control: max-age=60\r\nCache-Groups: " + GROUPS[path] + b"\r\n"
    return b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 2\r\n\r\nok"


@pytest.fixture
def node() -> Iterator[str]:
    with (
        RecordingOrigin(_answer) as origin,
        Headland("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as process,
    ):
        address = process.serving()["http"]
        for path in GROUPS:
            while not _is_hit(address, path):
                continue
        yield address


def _ask(node: str, method: bytes, path: bytes, host: bytes = b"a.example") -> tuple[int, bytes]:
    with RawClient(node) as client:
        client.send(method + b" " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 0\r\n\r\n")
        status, head, _ = client.answer()
        return status, head.lower()


def _is_hit(node: str, path: bytes) -> bool:
    return b"; hit" in _ask(node, b"GET", path)[1]


def test_a_write_invalidates_its_groups_and_nothing_else(node: str) -> None:
    assert _ask(node, b"POST", b"/write")[0] == 200
    assert [_is_hit(node, path) for path in (b"/a", b"/b", b"/c", b"/broken", b"/none")] == [
        False, False, True, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path"), [(b"POST", b"/write-broken"), (b"POST", b"/write-fails"), (b"GET", b"/write")]
)
def test_what_is_no_successful_write_invalidates_nothing(node: str, method: bytes, path: bytes) -> None:
    _ask(node, method, path)
    assert _is_hit(node, b"/a")


def test_a_write_to_another_host_is_about_its_own_groups(node: str) -> None:
    assert _ask(node, b"POST", b"/write", b"b.example")[0] == 200
    assert _is_hit(node, b"/a")
