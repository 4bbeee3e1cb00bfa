"""Ranges of what is stored (RFC 9110 section 14), by curl over HTTP/1.1 and HTTP/2 and by a client of raw bytes."""

from __future__ import annotations

import email
import email.policy
import subprocess
from collections.abc import Iterator

import pytest

from tests.processes import Headland
from tests.security.recording import RawClient, RecordingOrigin

BODY = b"".join(b"%07d|" % number for number in range(1000))


def _answer(head: bytes) -> bytes:
    assert b"\r\nrange:" not in head.lower()
    fields = b'Cache-Control: max-age=60\r\nContent-Type: text/x-lines\r\nETag: "v1"\r\n'
    return b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    with (
        RecordingOrigin(_answer) as origin,
        Headland("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as process,
    ):
        address = process.serving()["http"]
        # A fill that is not yet over answers several ranges with the whole.
        while b"; hit" not in _raw(address, b"")[1]:
            continue
        yield address


def _raw(node: str, fields: bytes) -> tuple[int, bytes, bytes]:
    with RawClient(node) as client:
        client.send(b"GET /lines HTTP/1.1\r\nHost: a.example\r\n" + fields + b"\r\n")
        return client.answer()


def _parts(media_type: str, content: bytes) -> list[tuple[str, bytes]]:
    """The parts of a multipart answer, as an independent reader sees them: Content-Range and bytes."""
    text = b"content-type: " + media_type.encode() + b"\r\n\r\n" + content
    message = email.message_from_bytes(text, policy=email.policy.HTTP)
    assert message.is_multipart()
    assert not message.defects
    parts = []
    for part in message.iter_parts():
        assert part.get_content_type() == "text/x-lines"
        parts.append((part["content-range"], part.get_payload(decode=True)))
    return parts


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_several_ranges_come_as_parts_of_one_answer(node: str, version: str) -> None:
    command = ["curl", "-s", version, "-r", "8-15,4000-4007,-8", "-w", "%{stderr}%{http_code} %{content_type}"]
    run = subprocess.run([*command, "-H", "Host: a.example", f"http://{node}/lines"], capture_output=True, check=True)
    status, _, media_type = run.stderr.decode().partition(" ")
    assert status == "206"
    assert media_type.startswith("multipart/byteranges; boundary=")
    assert _parts(media_type, run.stdout) == [
        ("bytes 8-15/8000", b"0000001|"),
        ("bytes 4000-4007/8000", b"0000500|"),
        ("bytes 7992-7999/8000", b"0000999|"),
    ]


def test_the_answer_as_a_whole_has_a_length_and_no_content_range(node: str) -> None:
    status, head, content = _raw(node, b"Range: bytes=0-7,16-23\r\n")
    assert status == 206
    assert b"content-length: %d\r\n" % len(content) in head.lower() + b"\r\n"
    assert b"content-range" not in head.lower()
    assert head.lower().count(b"content-type:") == 1
    assert b'etag: "v1"' in head.lower()


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        (b"bytes=0-7,8-15", 206, BODY[:16]),
        (b"bytes=0-9,5-15,9000-", 206, BODY[:16]),
        (b"bytes=-8", 206, BODY[-8:]),
        (b"bytes=7992-", 206, BODY[-8:]),
        (b"bytes=0-,0-,0-", 206, BODY),
        (b"bytes=0-3999,4001-7999", 200, BODY),
        (b"bytes=" + b",".join(b"%d-%d" % (at, at) for at in range(0, 1000, 2)), 200, BODY),
        (b"lines=1-2", 200, BODY),
        (b"bytes=5-2", 200, BODY),
    ],
)
def test_sets_that_are_one_range_or_none(node: str, asked: bytes, status: int, expected: bytes) -> None:
    found, _, content = _raw(node, b"Range: " + asked + b"\r\n")
    assert (found, content) == (status, expected)


@pytest.mark.parametrize("asked", [b"bytes=8000-", b"bytes=9000-9001,10000-", b"bytes=-0"])
def test_nothing_of_it_is_there(node: str, asked: bytes) -> None:
    status, head, _ = _raw(node, b"Range: " + asked + b"\r\n")
    assert status == 416
    assert b"content-range: bytes */8000" in head.lower()


def test_if_range_decides_between_parts_and_the_whole(node: str) -> None:
    asked = b"Range: bytes=0-7,16-23\r\n"
    assert _raw(node, asked + b'If-Range: "v1"\r\n')[0] == 206
    status, _, content = _raw(node, asked + b'If-Range: "v0"\r\n')
    assert (status, content) == (200, BODY)
    assert _raw(node, asked + b'If-Range: W/"v1"\r\n')[0] == 200
