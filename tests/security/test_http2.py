"""HTTP/2 from a client of bare frames: what has no way into HTTP/1.1, and floods that must end their connection."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Headland, preamble
from tests.security import frames
from tests.security.driven import DrivenOrigin
from tests.security.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FrameClient,
    block,
    frame,
    request,
)
from tests.security.recording import CLOSE, RawClient, RecordingOrigin

CONFIGURATION = """\
[limits]
write_stall_time = "300ms"
[[site]]
hosts = "a.example"
origin = "app"
[origin.app]
servers = "{origin}"
"""
LARGE_BYTES = 4 << 20
FRESH = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n"
WHOLE = END_HEADERS | END_STREAM
GROWTH_MAX_KIB = 24 << 10
"""How much the process may grow over one flood: buffers of a few connections and what the allocator keeps."""


def _answer(head: bytes) -> bytes:
    if b" /large " in head:
        return FRESH % LARGE_BYTES + bytes(LARGE_BYTES)
    if b" /cut " in head:
        return FRESH % 9 + b"short" + CLOSE
    if b" /cut-chunk " in head:
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n" + CLOSE
    return FRESH % 2 + b"ok"


@pytest.fixture(scope="module")
def origin() -> Iterator[RecordingOrigin]:
    with RecordingOrigin(_answer) as made:
        yield made


@pytest.fixture(scope="module")
def process(origin: RecordingOrigin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headland]:
    file = tmp_path_factory.mktemp("http2") / "edge.toml"
    file.write_text(preamble(name="headland") + CONFIGURATION.format(origin=origin.url))
    with Headland("serve", "--config", file) as made:
        yield made


@pytest.fixture(scope="module")
def node(process: Headland) -> str:
    return process.serving()["http"]


def _resident_kib(process: Headland) -> int:
    text = Path(f"/proc/{process.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))


def _still_serves(node: str) -> None:
    with RawClient(node) as client:
        client.send(b"GET /fine HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert client.answer()[0] == 200


MALFORMED: dict[str, bytes] = {
    "upper case": request((b"X-Upper", b"1")),
    "empty path": request(path=b""),
    "path without slash": request(path=b"evil"),
    "space in the method": request(method=b"GET /evil HTTP/1.1\r\nX:"),
    "space in the path": request(path=b"/evil HTTP/1.1"),
    "line end in a value": request((b"x", b"1\r\nevil: 1")),
    "NUL in a value": request((b"x", b"1\x00")),
    "line end in a name": request((b"x: 1\r\nevil", b"1")),
    "line end in the path": request(path=b"/evil\r\nX: 1"),
    "line end in the authority": request(authority=b"a.example\r\nX: evil"),
    "user in the authority": request(authority=b"evil@a.example"),
    "pseudo field twice": block((b":method", b"GET")) + request(path=b"/evil"),
    "pseudo field late": block((b":method", b"GET"), (b":scheme", b"http"), (b"x", b"1"), (b":path", b"/evil")),
    "status": request((b":status", b"200"), path=b"/evil"),
    "connection": request((b"connection", b"close"), path=b"/evil"),
    "keep-alive": request((b"keep-alive", b"1"), path=b"/evil"),
    "te": request((b"te", b"gzip"), path=b"/evil"),
    "transfer-encoding": request((b"transfer-encoding", b"chunked"), path=b"/evil"),
    "upgrade": request((b"upgrade", b"websocket"), path=b"/evil"),
    "no method": block((b":scheme", b"http"), (b":path", b"/evil"), (b":authority", b"a.example")),
    "no path": block((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.example")),
    "length of nothing": request((b"content-length", b"5"), path=b"/evil"),
    "signed length": request((b"content-length", b"+5"), path=b"/evil"),
    "CONNECT": block((b":method", b"CONNECT"), (b":authority", b"a.example:443")),
    "backslash": request(path=b"/evil\\x"),
    "encoded traversal": request(path=b"/static/..%2fevil"),
    "fragment": request(path=b"/evil#x"),
    "two hosts": request((b"host", b"evil.example"), path=b"/evil"),
    "underscored framing": request((b"content_length", b"5"), path=b"/evil"),
}
REWRITTEN = {"two hosts", "fragment", "underscored framing"}
"""Rows that may be served: the authority wins over Host; what no server is sent, or is no framing, is cut off."""


@pytest.mark.parametrize("row", MALFORMED)
def test_what_cannot_be_said_in_http_1_is_refused(row: str, node: str, origin: RecordingOrigin) -> None:
    """2h and F21: a stream error or a 4xx; never a head at the origin that says something else."""
    before = len(origin.heads())
    with FrameClient(node) as client:
        client.send(frame(HEADERS, WHOLE, 1, MALFORMED[row]))
        outcome = client.outcome(1)
    assert outcome in ("reset", "closed", 400, 404, 421, 501) or row in REWRITTEN, outcome
    for head in origin.heads()[before:]:
        assert row in REWRITTEN, head
        for gone in (b"evil.example", b"#", b"content_length"):
            assert gone not in head
    _still_serves(node)


LENGTHS: dict[str, tuple[bytes, bytes]] = {
    "too much": (b"3", b"helloGET /evil HTTP/1.1\r\nHost: a.example\r\n\r\n"),
    "too little": (b"9", b"hello"),
}


@pytest.mark.parametrize("row", LENGTHS)
def test_a_length_that_the_data_contradicts_gives_no_whole_request(row: str, tmp_path: Path) -> None:
    """2i, H2.CL: the stream is reset, and the origin's connection with it; what is beyond is no request of its own."""
    length, data = LENGTHS[row]
    file = tmp_path / "edge.toml"
    with DrivenOrigin() as origin:
        file.write_text(preamble(name="headland") + CONFIGURATION.format(origin=origin.url))
        with Headland("serve", "--config", file) as process, FrameClient(process.serving()["http"]) as client:
            client.send(frame(HEADERS, END_HEADERS, 1, request((b"content-length", length), method=b"POST")))
            side = origin.accept()
            side.head()
            client.send(frame(DATA, END_STREAM, 1, data))
            assert client.outcome(1) in ("reset", "closed", 400, 502)
            assert len(side.rest()) < int(length), "the origin took the upload for whole"


def test_two_lengths_are_refused(node: str, origin: RecordingOrigin) -> None:
    before = len(origin.heads())
    with FrameClient(node) as client:
        lengths = (b"content-length", b"5"), (b"content-length", b"2")
        client.send(frame(HEADERS, END_HEADERS, 1, request(*lengths, method=b"POST", path=b"/evil")))
        client.send(frame(DATA, END_STREAM, 1, b"hello"))
        assert client.outcome(1) in ("reset", "closed", 400)
    assert len(origin.heads()) == before


@pytest.mark.parametrize("path", [b"/cut", b"/cut-chunk"])
def test_a_truncated_answer_is_a_reset(path: bytes, node: str) -> None:
    """O5 over HTTP/2."""
    for _ in range(2):
        with FrameClient(node) as client:
            client.send(frame(HEADERS, WHOLE, 1, request(path=path)))
            assert client.outcome(1) in ("reset", 502)


def _flood_of_resets(first: int) -> bytes:
    reset = struct.pack(">I", 8)
    return b"".join(
        frame(HEADERS, WHOLE, stream, request((b"cache-control", b"no-cache"))) + frame(RST_STREAM, 0, stream, reset)
        for stream in range(first, first + 2000, 2)
    )


def _flood_of_own_goals(first: int) -> bytes:
    return b"".join(
        frame(HEADERS, WHOLE, stream, request(path=b"/own-goal")) + frame(WINDOW_UPDATE, 0, stream, bytes(4))
        for stream in range(first, first + 2000, 2)
    )


@pytest.mark.parametrize("flood", [_flood_of_resets, _flood_of_own_goals], ids=["rapid reset", "MadeYouReset"])
def test_floods_of_resets_end_the_connection(
    flood: object, node: str, process: Headland, origin: RecordingOrigin
) -> None:
    """2a, 2b: a client's early resets are counted, whoever sends them; the origin sees few of the requests."""
    assert callable(flood)
    before, resident = len(origin.heads()), _resident_kib(process)
    with FrameClient(node) as client:
        sent = 0
        while sent < 20 and client.send(flood(1 + sent * 2000)):
            sent += 1
        client.until_closed()
    assert len(origin.heads()) - before <= 200
    assert _resident_kib(process) - resident < GROWTH_MAX_KIB
    _still_serves(node)


@pytest.mark.parametrize("size", [0, 64])
def test_a_flood_of_continuations_ends_the_connection(size: int, node: str, process: Headland) -> None:
    """2c: within the bound on a head; empty ones are counted too."""
    resident = _resident_kib(process)
    filler = block((b"x", b"a" * (size - 4))) if size else b""
    with FrameClient(node) as client:
        client.send(frame(HEADERS, END_STREAM, 1, request()))
        sent = 0
        while sent < 200 and client.send(frame(CONTINUATION, 0, 1, filler) * 500):
            sent += 1
        client.until_closed()
    assert _resident_kib(process) - resident < GROWTH_MAX_KIB
    _still_serves(node)


CONTROL: dict[str, bytes] = {
    "settings": frame(SETTINGS, 0, 0),
    "ping": frame(PING, 0, 0, bytes(8)),
    "priority": frame(PRIORITY, 0, 1, struct.pack(">IB", 3, 1)),
    "unknown": frame(0x77, 0, 0, bytes(8)),
}


@pytest.mark.parametrize("row", CONTROL)
def test_a_flood_of_control_frames_costs_no_memory(row: str, node: str, process: Headland) -> None:
    """2d: the client never reads the answers; what is not taken is not piled up."""
    resident = _resident_kib(process)
    with FrameClient(node) as client:
        client._socket.settimeout(1.0)
        sent = 0
        # Once the node takes no more, sending stalls: that is the bound at work.
        while sent < 100 and client.send(CONTROL[row] * 2000):
            sent += 1
        assert _resident_kib(process) - resident < GROWTH_MAX_KIB
        _still_serves(node)


FLOODS = CONTROL | {"tiny data": frame(DATA, 0, 1, b"x"), "empty data": frame(DATA, 0, 1)}


@pytest.mark.parametrize("row", FLOODS)
def test_a_flood_of_light_frames_ends_with_a_reason(row: str, node: str) -> None:
    """2d, 2g: a client that reads is told why: ENHANCE_YOUR_CALM (RFC 9113 7)."""
    with FrameClient(node) as client:
        client.send(frame(HEADERS, END_HEADERS, 1, request(method=b"POST", path=b"/tiny")))
        client.send(FLOODS[row] * 15_000)
        client.until_closed()
        assert client.goaway == 0xB
    _still_serves(node)


@pytest.mark.parametrize("count", [900, 7000, 16000])
@pytest.mark.parametrize("name", [b"x", b"cookie"])
def test_small_references_to_one_large_field_are_bounded(
    name: bytes, count: int, node: str, process: Headland, origin: RecordingOrigin
) -> None:
    """2e: the decoded head is what counts, in bytes and in fields."""
    before, resident = len(origin.heads()), _resident_kib(process)
    entry = b"\x40" + bytes((len(name),)) + name + frames._text(b"a" * 4000)
    payload = request(path=b"/bomb") + entry + b"\xbe" * count
    with FrameClient(node) as client:
        for stream in range(1, 41, 2):
            client.send(frame(HEADERS, END_STREAM, stream, payload[:16000]))
            client.send(frame(CONTINUATION, END_HEADERS, stream, payload[16000:]))
        assert client.outcome(1) in ("reset", "closed", 400, 431)
        assert _resident_kib(process) - resident < GROWTH_MAX_KIB
    assert len(origin.heads()) == before
    _still_serves(node)


def test_a_client_that_never_opens_its_window_loses_its_stream(node: str, process: Headland) -> None:
    """2f: the content waits in the cache, not once per stream, and not for ever."""
    with RawClient(node) as client:
        client.send(b"GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert len(client.answer()[2]) == LARGE_BYTES
    resident = _resident_kib(process)
    nothing = struct.pack(">HI", frames.INITIAL_WINDOW_SIZE, 0)
    with FrameClient(node, nothing) as client:
        client.send(b"".join(frame(HEADERS, WHOLE, stream, request(path=b"/large")) for stream in range(1, 101, 2)))
        assert client.outcome(99) in ("reset", "closed")
        assert _resident_kib(process) - resident < GROWTH_MAX_KIB


@pytest.mark.parametrize("size", [0, 1])
def test_a_body_of_tiny_frames_is_bounded(size: int, node: str, process: Headland) -> None:
    """2g: frames that carry next to nothing cost as much as others; the node either serves them or ends it."""
    resident = _resident_kib(process)
    with FrameClient(node) as client:
        client._socket.settimeout(1.0)
        client.send(frame(HEADERS, END_HEADERS, 1, request(method=b"POST", path=b"/tiny")))
        sent = 0
        while sent < 60 and client.send(frame(DATA, 0, 1, b"x" * size) * 1000):
            sent += 1
        assert _resident_kib(process) - resident < GROWTH_MAX_KIB
        _still_serves(node)


PROTOCOL_ERRORS: dict[str, bytes] = {
    "a promise of a client": frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + request()),
    "an even stream": frame(HEADERS, WHOLE, 2, request()),
    "a stream of its own": frame(DATA, END_STREAM, 0, b"x"),
    "a frame too large": (1 << 20).to_bytes(3, "big") + bytes((DATA, 0)) + struct.pack(">I", 1),
    "a window that overflows": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF)),
    "an update of nothing": frame(WINDOW_UPDATE, 0, 0, bytes(4)),
    "settings with an odd length": frame(SETTINGS, 0, 0, b"abc"),
    "an acknowledgment with content": frame(SETTINGS, ACK, 0, bytes(6)),
    "a continuation of nothing": frame(CONTINUATION, END_HEADERS, 1, b""),
}


@pytest.mark.parametrize("row", PROTOCOL_ERRORS)
def test_an_error_of_the_connection_ends_it_with_a_reason(row: str, node: str) -> None:
    """2j and RFC 9113 section 5.4.1."""
    with FrameClient(node) as client:
        client.send(PROTOCOL_ERRORS[row])
        client.until_closed()
        assert client.goaway, "closed without a GOAWAY that says why"
    _still_serves(node)
