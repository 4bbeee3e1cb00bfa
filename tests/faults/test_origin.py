"""What origins do wrong, to the byte: each has its answer, its Proxy-Status and its metric, and leaves the pool whole.

One node before one origin that answers by steps ([`bytewise`]). What is broken before the head of an answer is whole is
a 502 or 504 that says why; what breaks in the body is a transfer that does not look whole, and is not stored.
"""

from __future__ import annotations

import dataclasses
import re
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import certificates
from tests.faults.bytewise import CLOSE, RESET, STALL, BytewiseOrigin, Drip, FrameOrigin, Send, Step
from tests.processes import Headland, preamble
from tests.scripted import closed_port
from tests.security import frames
from tests.security.recording import RawClient
from tests.waiting import until

ORIGIN = """
[[site]]
hosts = "{host}"
origin = "{host}"
[origin."{host}"]
servers = "{url}"
{more}
[origin."{host}".deadlines]
connect = "300ms"
first_byte = "300ms"
between_bytes = "300ms"
total = "5s"
[origin."{host}".retries]
attempts = 1
[origin."{host}".ejection]
failures = 0
"""
HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
WHOLE = HEAD + b"Content-Length: 2\r\n\r\nok"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclasses.dataclass(frozen=True)
class Case:
    """Steps of the origin, and what must come of them: the token of Proxy-Status and the reason of the metric."""

    name: str
    steps: list[Step]
    token: str
    reason: str
    status: int = 502


BEFORE_THE_HEAD = [
    Case("closed at once", [CLOSE], "connection_terminated", "reset"),
    Case("reset at once", [RESET], "connection_terminated", "reset"),
    Case("silence", [STALL], "http_response_timeout", "first_byte_timeout", 504),
    Case("a head that stalls", [Send(HEAD[:20]), STALL], "http_response_timeout", "first_byte_timeout", 504),
    Case("a head that drips", [Drip(HEAD), STALL], "http_response_timeout", "first_byte_timeout", 504),
    Case(
        "a field of 1 MiB",
        [Send(HEAD + b"X: " + b"a" * (1 << 20)), STALL],
        "http_response_header_section_size",
        "head_too_large",
    ),
    Case(
        "fields without end",
        [Send(HEAD + b"X: y\r\n" * 50_000), STALL],
        "http_response_header_section_size",
        "head_too_large",
    ),
    Case(
        "a flood of 1xx", [Send(b"HTTP/1.1 103 Early\r\n\r\n" * 500), STALL], "http_protocol_error", "too_many_interim"
    ),
    Case("HTTP/0.9", [Send(b"<html>hello</html>"), CLOSE], "http_protocol_error", "malformed"),
    Case("HTTP/2 unasked", [Send(frames.frame(frames.SETTINGS, 0, 0)), CLOSE], "http_protocol_error", "malformed"),
    Case(
        "a 101 unasked",
        [Send(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")],
        "http_protocol_error",
        "malformed",
    ),
    Case(
        "two lengths",
        [Send(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok")],
        "http_protocol_error",
        "malformed",
    ),
    Case("no number for a length", [Send(HEAD + b"Content-Length: 2x\r\n\r\nok")], "http_protocol_error", "malformed"),
    Case("a field with a NUL", [Send(HEAD + b"X: a\x00b\r\n\r\n")], "http_protocol_error", "malformed"),
]
IN_THE_BODY = [
    Case("too short", [Send(HEAD + b"Content-Length: 9\r\n\r\nshort"), CLOSE], "", "truncated"),
    Case("reset", [Send(HEAD + b"Content-Length: 9\r\n\r\nshort"), RESET], "", "truncated"),
    Case("a body that stalls", [Send(HEAD + b"Content-Length: 9\r\n\r\nshort"), STALL], "", "between_bytes_timeout"),
    Case("chunks without an end", [Send(CHUNKED + b"5\r\nshort\r\n"), CLOSE], "", "truncated"),
    Case("no size of a chunk", [Send(CHUNKED + b"5\r\nshort\r\nzz\r\n"), STALL], "", "malformed"),
    Case("a chunk longer than it says", [Send(CHUNKED + b"5\r\nshorter\r\n0\r\n\r\n"), STALL], "", "malformed"),
    Case("a size beyond all", [Send(CHUNKED + b"5\r\nshort\r\nffffffffffffffffff\r\n"), STALL], "", "malformed"),
    Case(
        "trailers without end",
        [Send(CHUNKED + b"5\r\nshort\r\n0\r\n" + b"X: y\r\n" * 50_000), STALL],
        "",
        "trailers_too_large",
    ),
]


class Node:
    """A node, its address, and its metrics."""

    def __init__(self, process: Headland) -> None:
        places = process.serving()
        self.address, self._admin = places["http"], places["admin"]

    def get(self, path: str, host: str = "plain.test") -> tuple[int, bytes, bytes]:
        """Status, head and body of a GET; the body as it is on the wire."""
        with RawClient(self.address) as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head, _, body = client.rest().partition(b"\r\n\r\n")
            while head.startswith(b"HTTP/1.1 1"):
                head, _, body = body.partition(b"\r\n\r\n")
        return int(head[9:12] or b"0"), head, body

    def metrics(self) -> dict[str, float]:
        """Every sample, by its name with labels."""
        with urllib.request.urlopen(f"http://{self._admin}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name[:1] != "#"}

    def errors(self, reason: str) -> float:
        """How often fetches failed for this reason."""
        return self.metrics()[f'headland_origin_errors_total{{reason="{reason}"}}']

    def pool_is_whole(self) -> None:
        """Nothing is busy that nobody waits for."""
        until(lambda: self.metrics()['headland_origin_pool_connections{state="busy"}'] == 0)


def _served(directory: Path, **origins: tuple[str, str]) -> Headland:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "edge.toml"
    tables = (ORIGIN.format(host=name.replace("_", "."), url=url, more=more) for name, (url, more) in origins.items())
    file.write_text(preamble(admin=True) + "".join(tables))
    return Headland("serve", "--config", file)


@pytest.fixture(scope="module")
def origin() -> Iterator[BytewiseOrigin]:
    with BytewiseOrigin({"/ok": [Send(WHOLE)]}) as running:
        yield running


@pytest.fixture(scope="module")
def node(origin: BytewiseOrigin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    pytest.importorskip("_headland", reason="the extension is not built: make develop")
    directory = tmp_path_factory.mktemp("faults")
    refused = f"http://127.0.0.1:{closed_port()}"
    with _served(directory, plain_test=(f"http://127.0.0.1:{origin.port}", ""), refused_test=(refused, "")) as process:
        yield Node(process)
        assert process.process.poll() is None, process.rest_of("stderr")


def _says(head: bytes, token: str) -> bool:
    return re.search(rb"(?i)proxy-status: [^\r]*error=" + token.encode() + rb"\b", head) is not None


def _path(case: Case) -> str:
    return "/" + re.sub(r"\W", "-", case.name)


@pytest.mark.parametrize("case", BEFORE_THE_HEAD, ids=lambda case: case.name)
def test_what_breaks_before_the_head_is_an_error_that_says_why(node, origin, case):
    origin.scripts[_path(case)] = case.steps
    before = node.errors(case.reason)
    status, head, body = node.get(_path(case))
    assert (status, _says(head, case.token)) == (case.status, True), head
    assert b"ok" not in body
    assert node.errors(case.reason) == before + 1
    node.pool_is_whole()
    assert node.get("/ok")[::2] == (200, b"ok")


@pytest.mark.parametrize("case", IN_THE_BODY, ids=lambda case: case.name)
def test_what_breaks_in_the_body_never_looks_whole_and_is_not_stored(node, origin, case):
    origin.scripts[_path(case)] = case.steps
    before = node.errors(case.reason)
    for _ in range(2):
        status, head, body = node.get(_path(case))
        assert (status, body.replace(b"5\r\n", b"")[:5]) == (200, b"short")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert not body.endswith(b"0\r\n\r\n") if length is None else len(body) < int(length[1])
    assert node.errors(case.reason) == before + 2, "the second one was fetched anew"
    node.pool_is_whole()


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["close", "reset"])
def test_an_answer_cut_at_any_byte_is_an_error_or_a_broken_transfer(node, origin, framing, end):
    whole = WHOLE if framing == "length" else CHUNKED + b"2\r\nok\r\n0\r\n\r\n"
    for cut in range(len(whole)):
        path = f"/cut-{framing}-{end.name}-{cut}"
        origin.scripts[path] = [Send(whole[:cut]), end]
        status, head, body = node.get(path)
        if status == 502:
            assert _says(head, "connection_terminated") or _says(head, "http_response_incomplete"), (cut, head)
        else:
            # A reset may overtake what was sent before it, but the other way round nothing is made up.
            assert (status, cut >= whole.index(b"\r\n\r\n") + 4) == (200, True), (cut, head)
            chunked = re.search(rb"(?i)content-length", head) is None
            assert not body.endswith(b"0\r\n\r\n") if chunked else len(body) < 2, (cut, body)
    node.pool_is_whole()
    assert node.get("/ok")[0] == 200


def test_more_than_was_declared_ends_the_connection_and_nothing_of_it_is_seen(node, origin):
    origin.scripts["/long"] = [
        Send(HEAD + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    ]
    origin.scripts["/204"] = [
        Send(b"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\nHTTP/1.1 200 OK\r\n\r\nevil")
    ]
    for path, answer in (("/long", (200, b"ok")), ("/204", (204, b""))):
        assert node.get(path)[::2] == answer
        for _ in range(3):
            assert node.get("/ok")[::2] == (200, b"ok")
        assert b"evil" not in node.get("/nothing")[2]
    node.pool_is_whole()


def test_a_body_that_drips_is_passed_on_as_long_as_it_drips(node, origin):
    origin.scripts["/drip"] = [Send(HEAD + b"Content-Length: 30\r\n\r\n"), Drip(b"x" * 30)]
    assert node.get("/drip")[::2] == (200, b"x" * 30)


def test_a_body_that_is_longer_than_what_is_taken_is_refused_or_cut_off(tmp_path):
    scripts = {
        "/declared": [Send(HEAD + b"Content-Length: 2000\r\n\r\n" + b"x" * 2000)],
        "/chunked": [
            Send(CHUNKED + b"400\r\n" + b"x" * 1024 + b"\r\n"),
            Send(b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"),
        ],
    }
    with (
        BytewiseOrigin(scripts) as origin,
        _served(tmp_path, plain_test=(f"http://127.0.0.1:{origin.port}", 'response_body_max = "1KiB"')) as process,
    ):
        node = Node(process)
        status, head, _ = node.get("/declared")
        assert (status, _says(head, "http_response_body_size")) == (502, True)
        status, head, body = node.get("/chunked")
        assert status == 502 or not body.endswith(b"0\r\n\r\n")
        assert node.errors("body_too_large") == 2
        node.pool_is_whole()


def test_nobody_listens(node):
    before = node.errors("connection_refused")
    status, head, _ = node.get("/", "refused.test")
    assert (status, _says(head, "connection_refused")) == (502, True)
    assert node.errors("connection_refused") == before + 1
    node.pool_is_whole()


def test_a_server_that_takes_no_connection_is_given_up(tmp_path):
    # Its queue is full: Linux drops the SYN of whoever comes then.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        with _served(tmp_path, plain_test=(f"http://127.0.0.1:{listener.getsockname()[1]}", "")) as process:
            node = Node(process)
            status, head, _ = node.get("/")
            assert (status, _says(head, "connection_timeout")) == (504, True)
            assert node.errors("connect_timeout") == 1
            node.pool_is_whole()
        for filler in fillers:
            filler.close()


def test_a_name_that_leads_nowhere(tmp_path):
    # A label has 63 bytes at most (RFC 1035 section 2.3.4): no name server is asked for this one.
    with _served(tmp_path, plain_test=(f"http://{'x' * 64}.test:80", "")) as process:
        node = Node(process)
        status, head, _ = node.get("/")
        assert (status, _says(head, "dns_error")) == (502, True), head
        assert node.errors("dns_error") == 1
        node.pool_is_whole()


def test_a_name_that_leads_to_the_inside_is_asked_nothing(origin, tmp_path):
    url = f"http://localhost:{origin.port}"
    with _served(tmp_path, plain_test=(url, "public_only = true")) as process:
        node = Node(process)
        asked = len(origin.heads)
        status, head, _ = node.get("/ok")
        assert (status, _says(head, "destination_ip_prohibited")) == (502, True)
        assert (node.errors("address_prohibited"), len(origin.heads)) == (1, asked)


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> certificates.Identity:
    return certificates.make(tmp_path_factory.mktemp("ca"), "ca.test", authority=True)


@pytest.mark.parametrize(
    ("kind", "token", "reason"),
    [
        ("expired", "tls_certificate_error", "tls_certificate_error"),
        ("another name", "tls_certificate_error", "tls_certificate_error"),
        ("another authority", "tls_certificate_error", "tls_certificate_error"),
        ("an old version", "tls_alert_received", "tls_alert_received"),
        ("a certificate asked for", "tls_alert_received", "tls_alert_received"),
        ("no TLS", "tls_protocol_error", "tls_protocol_error"),
        ("a stall", "connection_timeout", "connect_timeout"),
        ("a close", "connection_terminated", "reset"),
    ],
)
def test_tls_that_fails_is_told_apart(kind, token, reason, authority, tmp_path):
    expired = {"days": -10} if kind == "expired" else {}
    name = "wrong.test" if kind == "another name" else "app.test"
    identity = certificates.make(tmp_path / "server", name, issuer=authority, **expired)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert_file, identity.key_file)
    if kind == "an old version":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    elif kind == "a certificate asked for":
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.cert_file)
    trusted = certificates.make(tmp_path / "other", "ca.test", authority=True) if "authority" in kind else authority
    more = f'ca = "{trusted.cert_file}"\nserver_name = "app.test"\ntls_version_min = "1.3"'
    plain = {"no TLS": [Send(WHOLE)], "a stall": [STALL], "a close": [CLOSE]}.get(kind)
    running = BareOrigin(plain) if plain else BytewiseOrigin({"/": [Send(WHOLE)]}, context)
    with running, _served(tmp_path, plain_test=(f"https://127.0.0.1:{running.port}", more)) as process:
        node = Node(process)
        status, head, _ = node.get("/")
        assert (status, _says(head, token)) == (504 if kind == "a stall" else 502, True), head
        assert node.errors(reason) == 1
        assert not running.heads
        node.pool_is_whole()


class BareOrigin(BytewiseOrigin):
    """Takes its steps as soon as somebody connects, whatever they say."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__({})
        self._steps = steps

    def _serve(self, connection: socket.socket) -> None:
        for step in self._steps:
            if not self._take(connection, step):
                return
        self._until_it_gives_up(connection)


# -- HTTP/2 -----------------------------------------------------------------------------------------------------------

OK = (b"cache-control", b"no-store"), (b"content-length", b"2")
PRIOR = 'http2 = "prior-knowledge"'


def _ok(peer, stream, _number):
    peer.head(stream, *OK)
    peer.send(frames.DATA, frames.END_STREAM, stream, b"ok")
    return True


def test_streams_that_an_origin_goes_away_from_are_asked_again(tmp_path):
    """GOAWAY names the last stream that it answers: what lies above was not acted on (RFC 9113 section 6.8)."""

    def leaves(peer, stream, number):
        if number == 2:
            peer.send(frames.GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4))
            return False
        return _ok(peer, stream, number)

    with FrameOrigin(leaves) as origin, _served(tmp_path, plain_test=(f"http://127.0.0.1:{origin.port}", PRIOR)) as run:
        node = Node(run)
        for number in range(6):
            assert node.get(f"/{number}")[0] == 200
        assert origin.connections == 2
        node.pool_is_whole()


def test_a_storm_of_resets_fails_its_requests_and_no_others(tmp_path):
    def resets(peer, stream, number):
        if number % 2:
            peer.send(frames.RST_STREAM, 0, stream, (2).to_bytes(4, "big"))
            return True
        return _ok(peer, stream, number)

    with FrameOrigin(resets) as origin, _served(tmp_path, plain_test=(f"http://127.0.0.1:{origin.port}", PRIOR)) as run:
        node = Node(run)
        answers = [node.get(f"/{number}")[:2] for number in range(40)]
        assert [status for status, _ in answers] == [502, 200] * 20
        assert all(_says(head, "connection_terminated") for status, head in answers if status == 502), answers[0]
        assert node.errors("stream_reset") == 20
        assert origin.connections == 1
        node.pool_is_whole()


def test_a_stream_reset_in_its_body_never_looks_whole(tmp_path):
    def cuts(peer, stream, _number):
        peer.head(stream, (b"cache-control", b"max-age=60"), (b"content-length", b"9"))
        peer.send(frames.DATA, 0, stream, b"short")
        peer.send(frames.RST_STREAM, 0, stream, (2).to_bytes(4, "big"))
        return True

    with FrameOrigin(cuts) as origin, _served(tmp_path, plain_test=(f"http://127.0.0.1:{origin.port}", PRIOR)) as run:
        node = Node(run)
        for _ in range(2):
            status, _, body = node.get("/")
            assert status in {200, 502}
            assert len(body) < 9 or status == 502
        assert origin.requests == 2
        node.pool_is_whole()


def test_windows_of_nothing_end_at_the_deadline(tmp_path):
    """A client's upload to an origin that opens no window waits no longer than the pause between bytes."""
    closed = frames.INITIAL_WINDOW_SIZE.to_bytes(2, "big") + bytes(4)

    def silent(_peer, _stream, _number):
        return True

    with (
        FrameOrigin(silent, closed) as origin,
        _served(tmp_path, plain_test=(f"http://127.0.0.1:{origin.port}", PRIOR)) as run,
    ):
        node = Node(run)
        with RawClient(node.address) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 5\r\n\r\nhello")
            status, head, _ = client.answer()
        assert status == 504
        assert _says(head, "connection_write_timeout") or _says(head, "http_response_timeout"), head
        assert node.errors("between_bytes_timeout") + node.errors("first_byte_timeout") == 1
        node.pool_is_whole()
