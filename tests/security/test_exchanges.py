"""Exchanges whose both ends the test holds: bodies each way, interim answers, tunnels, and what breaks midway."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Headland, preamble
from tests.security.driven import DrivenOrigin
from tests.security.recording import PLAIN, RawClient, RecordingOrigin

HOST = b"Host: a.example\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\n" + HOST + b"\r\n"
LAST_CHUNK = b"0\r\n\r\n"
CONFIGURATION = """\
[limits]
{limits}
[purge]
allow = ["127.0.0.1/32"]
[[site]]
hosts = ["a.example"]
origin = "app"
[[site.rule]]
path = "/moved"
redirect = "https://b.example/"
[[site.rule]]
path = "/denied"
deny = 403
[origin.app]
servers = "{origin}"
"""


def _serve(directory: Path, origin: str, limits: str = "") -> Headland:
    file = directory / "edge.toml"
    file.write_text(preamble(name="headland") + CONFIGURATION.format(origin=origin, limits=limits))
    return Headland("serve", "--config", file)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[str, DrivenOrigin]]:
    """A node of its own for each test, so that each connection to the origin is a new one."""
    with DrivenOrigin() as origin, _serve(tmp_path, origin.url) as process:
        yield process.serving()["http"], origin


def _request(line: bytes, fields: bytes = b"") -> bytes:
    return line + b" HTTP/1.1\r\n" + HOST + fields + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"


def test_an_upload_and_its_answer_stream_at_once(node: tuple[str, DrivenOrigin]) -> None:
    """The origin echoes each piece while the client has not yet sent the next one."""
    address, origin = node
    with RawClient(address) as client:
        client.send(_request(b"POST /echo", CHUNKED))
        client.send(b"5\r\nfirst\r\n")
        side = origin.accept()
        assert b"transfer-encoding: chunked" in side.head().lower()
        side.until(b"first")
        side.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.until(b"\r\n\r\n")
        for piece in (b"first", b"again", b"third"):
            if piece != b"first":
                client.send(b"5\r\n" + piece + b"\r\n")
                side.until(piece)
            side.send(b"5\r\n" + piece + b"\r\n")
            client.until(piece)
        client.send(LAST_CHUNK)
        side.until(LAST_CHUNK)
        side.send(LAST_CHUNK)
        client.until(LAST_CHUNK)


@pytest.mark.parametrize(
    "broken", [b"zz\r\n", b"5\nabcde\r\n", b"5\r\nabcdeX\r\n", b"5;\x00\r\nabcde\r\n", b"0\r\nBad Name: 1\r\n\r\n"]
)
def test_an_upload_that_breaks_is_broken_off_at_the_origin_too(node: tuple[str, DrivenOrigin], broken: bytes) -> None:
    """F14: the head and a part are there already; the origin must not take what it has for the whole."""
    address, origin = node
    with RawClient(address) as client:
        client.send(_request(b"POST /up", CHUNKED) + b"4\r\npart\r\n")
        side = origin.accept()
        side.head()
        side.until(b"part")
        client.send(broken + LAST_CHUNK + HIDDEN)
        assert LAST_CHUNK not in side.rest()
        assert client.answer()[0] in (0, 400)
        assert client.ended()


@pytest.mark.parametrize("fields", [b"Content-Length: 100\r\n", CHUNKED], ids=["by length", "by chunks"])
def test_a_client_that_leaves_in_its_upload_leaves_no_whole_one(node: tuple[str, DrivenOrigin], fields: bytes) -> None:
    address, origin = node
    with RawClient(address) as client:
        client.send(_request(b"POST /up", fields) + b"4\r\npart\r\n")
        side = origin.accept()
        side.head()
        side.until(b"part")
    assert LAST_CHUNK not in side.rest()


def test_a_client_is_told_to_continue_once_its_body_is_wanted(node: tuple[str, DrivenOrigin]) -> None:
    """100-continue is between the two ends of one connection; the answer that follows is the origin's."""
    address, origin = node
    with RawClient(address) as client:
        client.send(_request(b"POST /up", b"Content-Length: 4\r\nExpect: 100-continue\r\n"))
        side = origin.accept()
        head = side.head()
        if b"\r\nexpect:" in head.lower():
            side.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert client.answer()[0] == 100
        client.send(b"body")
        side.until(b"body")
        side.send(PLAIN)
        assert client.answer()[0] == 200


def test_interim_answers_of_an_origin_are_never_the_answer(node: tuple[str, DrivenOrigin]) -> None:
    """O2: the final answer is what counts, however many came before it."""
    address, origin = node
    with RawClient(address) as client:
        client.send(_request(b"GET /hints"))
        side = origin.accept()
        side.head()
        side.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" * 3 + PLAIN)
        statuses = [client.answer()[0]]
        while statuses[-1] == 103:
            statuses.append(client.answer()[0])
        assert statuses[-1] == 200


def test_a_flood_of_interim_answers_is_cut_off(node: tuple[str, DrivenOrigin]) -> None:
    address, origin = node
    with RawClient(address) as client:
        client.send(_request(b"GET /flood"))
        side = origin.accept()
        side.head()
        with contextlib.suppress(OSError):
            side.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100_000)
        status = client.answer()[0]
        while status == 103:
            status = client.answer()[0]
        assert status == 502


def test_trailers_of_an_upload_reach_the_origin_without_those_that_frame(node: tuple[str, DrivenOrigin]) -> None:
    """F15: a trailer is never taken for a field of the head."""
    address, origin = node
    trailers = b"Checksum: abc\r\nContent-Length: 7\r\nHost: evil.example\r\nAuthorization: x\r\n"
    with RawClient(address) as client:
        client.send(
            _request(b"POST /up", CHUNKED + b"Trailer: Checksum\r\n") + b"4\r\nbody\r\n0\r\n" + trailers + b"\r\n"
        )
        side = origin.accept()
        seen = side.head()
        seen += side.until(b"\r\n0\r\n") + side.until(b"\r\n")
        while not seen.endswith(b"\r\n\r\n") and not seen.endswith(b"0\r\n\r\n"):
            seen += side.until(b"\r\n")
        for gone in (b"evil.example", b"authorization", b"content-length"):
            assert gone not in seen.lower(), seen
        side.send(PLAIN)
        assert client.answer()[0] == 200


def test_trailers_of_an_answer_reach_a_client_that_takes_them(node: tuple[str, DrivenOrigin]) -> None:
    address, origin = node
    with RawClient(address) as client:
        client.send(_request(b"GET /down", b"TE: trailers\r\nConnection: TE\r\n"))
        side = origin.accept()
        side.head()
        side.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Checksum\r\n\r\n")
        side.send(b"4\r\nbody\r\n0\r\nChecksum: abc\r\nSet-Cookie: a=b\r\nContent-Length: 1\r\n\r\n")
        answer = client.until(b"\r\n0\r\n") + client.until(b"\r\n\r\n")
        assert b"checksum: abc" in answer.lower()
        trailer = answer.lower().partition(b"\r\n0\r\n")[2]
        assert b"content-length" not in trailer


def test_an_answer_to_head_has_no_content(node: tuple[str, DrivenOrigin]) -> None:
    """O2: what an origin sends behind an answer to HEAD is given to nobody."""
    address, origin = node
    with RawClient(address) as client:
        client.send(_request(b"HEAD /h"))
        side = origin.accept()
        side.until(b"\r\n\r\n")
        side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Control: no-store\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
        client.until(b"\r\n\r\n")
        client.send(_request(b"HEAD /i"))
        other = origin.accept()
        assert b" /i HTTP/1.1\r\n" in other.head()
        other.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 204")


def test_options_of_the_whole_server_are_answered_by_the_node_itself(node: tuple[str, DrivenOrigin]) -> None:
    address, _ = node
    with RawClient(address) as client:
        client.send(_request(b"OPTIONS *") * 2)
        assert [client.answer()[0] for _ in range(2)] == [204, 204]


def test_what_follows_a_wish_to_upgrade_stays_http_without_a_101(node: tuple[str, DrivenOrigin]) -> None:
    """F25: the origin answers 200, so the pipelined bytes are the next request."""
    address, origin = node
    with RawClient(address) as client:
        client.send(_request(b"GET /ws", b"Connection: upgrade\r\nUpgrade: websocket\r\n") + _request(b"GET /next"))
        side = origin.accept()
        assert b"\r\nupgrade: websocket\r\n" in side.head().lower()
        side.send(PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        side.close()
        assert client.answer()[0] == 200
        following = origin.accept()
        assert following.head().startswith(b"GET /next ")
        following.send(PLAIN)
        assert client.answer()[0] == 200


def test_both_ends_of_a_tunnel_see_each_other_leave(node: tuple[str, DrivenOrigin]) -> None:
    address, origin = node
    with RawClient(address) as client:
        client.send(_request(b"GET /ws", b"Connection: upgrade\r\nUpgrade: echo\r\n"))
        side = origin.accept()
        side.head()
        side.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello")
        assert client.answer()[0] == 101
        client.until(b"hello")
        client.send(b"\x00\x01binary\r\n")
        side.until(b"\x00\x01binary\r\n")
        side.close()
        assert client.ended()


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n" + CHUNKED + b"\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n" + CHUNKED + b"\r\n5\r\nshort\r\n0\r\n",
    ],
    ids=["by length", "by chunks", "before the last line"],
)
def test_an_old_client_sees_a_truncated_answer_as_a_broken_connection(
    node: tuple[str, DrivenOrigin], cut: bytes, reset: bool
) -> None:
    """O5: HTTP/1.0 has no last chunk; only a reset or a length says that something is missing."""
    address, origin = node
    for _ in range(2):
        with RawClient(address) as client:
            client.send(b"GET /cut HTTP/1.0\r\n" + HOST + b"\r\n")
            side = origin.accept()
            side.head()
            side.send(cut)
            answer = b""
            if not reset:
                side.close()
            else:
                answer = client.until(b"short")
                side.close(reset=True)
            answer += client.rest()
        assert client.was_reset or b"content-length: 9" in answer.lower(), answer


FRESH = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\nok"


def _fresh(head: bytes) -> bytes:
    # The origin takes what is in a chunked body for heads too.
    target = re.match(rb"GET (/n\d+) ", head)
    if not target:
        return FRESH
    return FRESH.replace(b"Length: 2", b"Length: %d" % len(target[1])).removesuffix(b"ok") + target[1]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, RecordingOrigin]]:
    """One node for what needs no steps of the origin."""
    with (
        RecordingOrigin(_fresh) as origin,
        _serve(tmp_path_factory.mktemp("shared"), origin.url) as process,
    ):
        yield process.serving()["http"], origin


def _smuggled(origin: RecordingOrigin) -> bool:
    """Whether the hidden request was forwarded as one: what the node takes for a request gets a Via."""
    return any(head.startswith(b"GET /hidden") and b"\r\nvia: " in head.lower() for head in origin.heads())


UNWANTED: dict[str, tuple[bytes, set[int]]] = {
    "a hit": (b"GET /hit", {200}),
    "a hit for HEAD": (b"HEAD /hit", {200}),
    "a redirect": (b"POST /moved", {301, 302, 307, 308}),
    "a refusal by rule": (b"POST /denied", {403}),
    "a target that goes nowhere": (b"POST /..%2fx", {400}),
    "a purge": (b"PURGE /hit2", {200, 404}),
    "a method that is off": (b"TRACE /x", {405}),
}


@pytest.mark.parametrize("framing", ["by length", "by chunks"])
@pytest.mark.parametrize("row", UNWANTED)
def test_a_body_that_nobody_wants_is_never_read_as_a_request(
    row: str, framing: str, shared: tuple[str, RecordingOrigin]
) -> None:
    """F7, F8, P2: the body holds a request; the next head on the connection is the one behind it, or there is none."""
    address, origin = shared
    line, statuses = UNWANTED[row]
    if framing == "by length":
        message = _request(line, b"Content-Length: %d\r\n" % len(HIDDEN)) + HIDDEN
    else:
        message = _request(line, CHUNKED) + b"%x\r\n%s\r\n" % (len(HIDDEN), HIDDEN) + LAST_CHUNK
    with RawClient(address) as client:
        client.send(_request(b"GET /hit"))
        assert client.answer()[0] == 200
        client.send(message + _request(b"GET /behind"))
        status = int(client.until(b"\r\n\r\n")[9:12]) if line.startswith(b"HEAD") else client.answer()[0]
        assert status in statuses
        status, _, body = client.answer()
        assert (status, body) in ((0, b""), (200, b"ok"))
    assert not _smuggled(origin)


def test_a_body_that_nobody_wants_may_arrive_after_the_answer(shared: tuple[str, RecordingOrigin]) -> None:
    address, origin = shared
    with RawClient(address) as client:
        client.send(_request(b"POST /denied", b"Content-Length: %d\r\n" % len(HIDDEN)))
        assert client.answer()[0] == 403
        client.send(HIDDEN + _request(b"GET /behind"))
        assert client.answer()[0] in (0, 200)
    assert not _smuggled(origin)


def test_a_thousand_pipelined_requests_are_answered_in_order(shared: tuple[str, RecordingOrigin]) -> None:
    """F27: each answer's content is the target that was asked for; hits stand among misses."""
    address, _ = shared
    targets = [b"/n%d" % (n - n % 3 * (n % 2)) for n in range(1000)]
    with RawClient(address) as client:
        client.send_aside(b"".join(_request(b"GET " + target) for target in targets))
        assert [client.answer()[2] for _ in targets] == targets


def test_a_slow_head_ends_at_its_deadline_and_not_later_for_each_byte(tmp_path: Path) -> None:
    """F26, S1: the deadline is of the whole head, so bytes that trickle in do not move it."""
    with RecordingOrigin() as origin, _serve(tmp_path, origin.url, 'header_time = "300ms"') as process:
        address = process.serving()["http"]
        with RawClient(address) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a.ex")
            assert client.trickle(b"a") == 408
        with RawClient(address) as client:
            client.send(_request(b"GET /"))
            assert client.answer()[0] == 200
            client.send(b"GET /")
            assert client.trickle(b"a") == 408
        assert len(origin.heads()) == 1


def test_a_host_of_nobody_is_misdirected(shared: tuple[str, RecordingOrigin]) -> None:
    """X1: nothing a client names is ever dialled."""
    address, origin = shared
    for host in (b"other.example", b"127.0.0.1", b"169.254.169.254", b"[::1]"):
        with RawClient(address) as client:
            client.send(b"GET /x HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            assert client.answer()[0] == 421, host
    with RawClient(address) as client:
        client.send(b"GET http://a.example/abs HTTP/1.1\r\nHost: other.example\r\n\r\n")
        assert client.answer()[0] in (200, 400)
    for head in origin.heads():
        assert b"\r\nhost: a.example\r\n" in head.lower()
