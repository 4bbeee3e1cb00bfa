"""What must never get past the door: the framing rules of RFC 9112, from outside, against an origin that records.

Each row is sent as it stands, and again behind a good request on one connection. A row that is refused gets its status
and the end of the connection, and not one byte of it reaches the origin.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes import Headland
from tests.security.recording import CLOSE, PLAIN, RawClient, RecordingOrigin

HOST = b"Host: a.example\r\n"
GOOD = b"GET /good HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def _post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST /evil HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


def _get(fields: bytes = b"", line: bytes = b"GET /evil HTTP/1.1") -> bytes:
    return line + b"\r\n" + HOST + fields + b"\r\n"


REFUSED: dict[str, tuple[bytes, set[int]]] = {
    "F1 CL.TE": (_post(b"Content-Length: 6\r\n" + CHUNKED, b"0\r\n\r\nG"), {400}),
    "F2 TE.CL": (_post(CHUNKED + b"Content-Length: 4\r\n", b"5c\r\nGPOST / HTTP/1.1\r\n\r\n"), {400}),
    "F3 two encodings": (_post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"), {400, 501}),
    "F3 xchunked": (_post(b"Transfer-Encoding: xchunked\r\n"), {400, 501}),
    "F3 identity": (_post(b"Transfer-Encoding: identity\r\n"), {400, 501}),
    "F3 chunked twice": (_post(b"Transfer-Encoding: chunked, chunked\r\n"), {400, 501}),
    "F3 chunked, gzip": (_post(b"Transfer-Encoding: chunked, gzip\r\n"), {400, 501}),
    **{
        f"F3 encoding {value!r}": (_post(b"Transfer-Encoding: " + value + b"\r\n"), {400, 501})
        for value in (b",chunked", b"chunked;q=1", b"identity, chunked", b"", b'"chunked"')
    },
    **{
        f"F4 byte {byte!r}": (_post(b"Transfer-Encoding: chunked" + byte + b"\r\n"), {400, 501})
        for byte in (b"\x0b", b"\x0c", b"\x00", b"\xa0", b"\x85", b"\xff")
    },
    "F4 vertical tab": (_post(b"Transfer-Encoding: \x0bchunked\r\n"), {400, 501}),
    "F4 0xA0": (_post(b"Transfer-Encoding: \xa0chunked\r\n"), {400, 501}),
    "F5 in HTTP/1.0": (b"POST /evil HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n0\r\n\r\n", {400}),
    "F6 underscore": (_post(b"Transfer_Encoding: chunked\r\n"), {400}),
    "F6 underscore length": (_post(b"Content_Length: 5\r\n"), {400}),
    "F8 unknown expectation": (_post(b"Content-Length: 1\r\nExpect: y 100-continue\r\n", b"x"), {417}),
    "F9 two lengths": (_post(b"Content-Length: 5\r\nContent-Length: 0\r\n"), {400}),
    "F9 equal lengths": (_post(b"Content-Length: 5\r\nContent-Length: 5\r\n"), {400}),
    "F9 list of lengths": (_post(b"Content-Length: 5, 0\r\n"), {400}),
    **{
        f"F10 length {value!r}": (_post(b"Content-Length: " + value + b"\r\n"), {400, 413})
        for value in (b"+5", b"-5", b"0x5", b"1_0", b"5Z", b"", b"5 6", b"18446744073709551621")
    },
    "F16 bare LF everywhere": (b"GET /evil HTTP/1.1\nHost: a.example\n\n", {400}),
    "F16 bare LF in a value": (_get(b"A: b\nContent-Length: 5\r\n"), {400}),
    "F17 bare CR": (_get(b"A: b\rX: 1\r\n"), {400}),
    "F17 NUL in a value": (_get(b"A: b\x00c\r\n"), {400}),
    "F17 bell": (_get(b"A: \x07\r\n"), {400}),
    "F18 space in a name": (_get(b"X Y: 1\r\n"), {400}),
    "F18 parenthesis": (_get(b"X(Y): 1\r\n"), {400}),
    "F18 0x85 in a name": (_get(b"X\x85: 1\r\n"), {400}),
    "F18 empty name": (_get(b": 1\r\n"), {400}),
    "F18 no colon": (_get(b"abc\r\n"), {400}),
    "F18 space before colon": (_get(b"Content-Length : 5\r\n"), {400}),
    "F18 first line with space": (b"GET /evil HTTP/1.1\r\n X: 1\r\n" + HOST + b"\r\n", {400}),
    "F19 folded": (_get(b"A: b\r\n c\r\n"), {400}),
    "F19 folded encoding": (_post(b"Transfer-Encoding:\r\n chunked\r\n"), {400}),
    "F20 no host": (b"GET /evil HTTP/1.1\r\n\r\n", {400}),
    "F20 two hosts": (_get(b"Host: b.example\r\n"), {400}),
    **{
        f"F20 host {value!r}": (b"GET /evil HTTP/1.1\r\nHost: " + value + b"\r\n\r\n", {400})
        for value in (b"u@h", b"h/x", b"h\x00", b"h:0", b"h:99999", b"[::1", b"a b")
    },
    **{
        f"F22 target {value!r}": (_get(line=b"GET " + value + b" HTTP/1.1"), {400})
        for value in (b"evil", b"@evil/", b"/a b", b"/a\tb", b"/#f", b"/\x00", b"/\xff", b"/a\\b", b"*", b"ftp://h/")
    },
    "F23 HTTP/2.0": (_get(line=b"GET /evil HTTP/2.0"), {400, 505}),
    "F23 trailing": (_get(line=b"GET /evil HTTP/1.1x"), {400, 505}),
    "F23 lower case": (_get(line=b"GET /evil http/1.1"), {400, 505}),
    "F23 HTTP/0.9": (b"GET /evil\r\n\r\n", {400, 505}),
    "F24 bad method": (_get(line=b"G(E)T /evil HTTP/1.1"), {400}),
    "F24 CONNECT": (_get(line=b"CONNECT a.example:443 HTTP/1.1"), {400, 405, 501}),
    "F26 many fields": (_get(b"X: 1\r\n" * 1500), {431}),
    "F26 large field": (_get(b"X: " + b"a" * 65536 + b"\r\n"), {431}),
    "F26 large target": (_get(line=b"GET /" + b"a" * 65536 + b" HTTP/1.1"), {414}),
}

BROKEN_CHUNKS: dict[str, bytes] = {
    "F11 hexadecimal prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "F11 sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "F11 underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "F11 too many digits": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    "F11 empty": b"\r\nhello\r\n0\r\n\r\n",
    "F11 leading space": b" 5\r\nhello\r\n0\r\n\r\n",
    "F11 minus zero": b"-0\r\n\r\n",
    "F11 above 2^64": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "F11 leading zeros": b"0" * 4000 + b"5\r\nhello\r\n0\r\n\r\n",
    "F12 bare CR": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "F12 CR CR": b"5\r\r\nhello\r\n0\r\n\r\n",
    "F12 NUL": b"5;\x00\r\nhello\r\n0\r\n\r\n",
    "F13 ended by other bytes": b"5\r\nhelloXX0\r\n\r\n",
    "F13 no end": b"5\r\nhello0\r\n\r\n",
    "F13 an empty line before the last chunk": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "F12 extension ended by LF": b"5;a\nhello\r\n0\r\n\r\n",
    "F12 endless extension": b"5;" + b"a" * 65536 + b"\r\nhello\r\n0\r\n\r\n",
    "F13 data ended by LF": b"5\r\nhello\n0\r\n\r\n",
    "F13 data too long": b"5\r\nhelloo\r\n0\r\n\r\n",
}


@pytest.fixture(scope="module")
def origin() -> Iterator[RecordingOrigin]:
    with RecordingOrigin() as made:
        yield made


@pytest.fixture(scope="module")
def node(origin: RecordingOrigin) -> Iterator[str]:
    with Headland("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as process:
        yield process.serving()["http"]


def _seen(origin: RecordingOrigin) -> int:
    return sum(b"evil" in head for head in origin.heads())


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_no_request_is_refused_and_the_connection_ends(row: str, node: str, origin: RecordingOrigin) -> None:
    sent, statuses = REFUSED[row]
    before = _seen(origin)
    with RawClient(node) as client:
        client.send(sent)
        status, head, _ = client.answer()
        assert status in statuses, (row, head)
        assert b"connection: close" in head.lower()
        assert client.ended()
    assert _seen(origin) == before


@pytest.mark.parametrize("row", REFUSED)
def test_it_is_refused_behind_a_good_request_too_and_hides_none(row: str, node: str, origin: RecordingOrigin) -> None:
    sent, statuses = REFUSED[row]
    before = _seen(origin)
    with RawClient(node) as client:
        client.send(GOOD + sent + b"GET /evil/after HTTP/1.1\r\n" + HOST + b"\r\n")
        assert client.answer()[0] == 200
        assert client.answer()[0] in statuses, row
        assert client.ended(), "nothing behind it is served"
    assert _seen(origin) == before


SPLIT_BYTES = 3
"""Bytes of each piece of a row that arrives in pieces; long rows come in at most 40."""


@pytest.mark.parametrize("row", REFUSED)
def test_it_is_refused_however_it_is_cut_into_pieces(row: str, node: str, origin: RecordingOrigin) -> None:
    sent, statuses = REFUSED[row]
    before = _seen(origin)
    size = max(SPLIT_BYTES, len(sent) // 40)
    with RawClient(node) as client:
        for at in range(0, len(sent), size):
            client.send(sent[at : at + size])
        status, head, _ = client.answer()
        # A refusal may come before all is sent: what arrives at a closed connection resets it, answer and all.
        assert status in statuses or (not status and client.was_reset), (row, head)
        assert client.ended()
    assert _seen(origin) == before


@pytest.mark.parametrize("row", BROKEN_CHUNKS)
def test_a_broken_body_never_reaches_the_origin_as_a_whole_one(row: str, node: str, origin: RecordingOrigin) -> None:
    with RawClient(node) as client:
        client.send(_post(CHUNKED).replace(b"/evil", b"/broken") + BROKEN_CHUNKS[row])
        status, _, _ = client.answer()
        assert status in (0, 400, 413, 502), row
        assert client.ended()
    seen = origin.bytes_seen()
    last = seen[seen.rfind(b"POST /broken") :] if b"POST /broken" in seen else b""
    assert b"\r\n0\r\n\r\n" not in last.partition(b"\r\n\r\n")[2], "F14: an aborted upload looked whole"


def test_an_encoded_traversal_is_refused(node: str, origin: RecordingOrigin) -> None:
    """F22, D3: its framing is sound, so the connection may stay; its target goes nowhere."""
    before = _seen(origin)
    with RawClient(node) as client:
        client.send(_get(line=b"GET /static/..%2fevil HTTP/1.1") + GOOD)
        assert [client.answer()[0] for _ in range(2)] == [400, 200]
    assert _seen(origin) == before


def test_answers_keep_the_order_of_pipelined_requests(node: str) -> None:
    count = 300
    with RawClient(node) as client:
        client.send(GOOD * count)
        assert [client.answer()[0] for _ in range(count)] == [200] * count


def test_the_body_of_an_unwanted_request_is_never_a_request(node: str, origin: RecordingOrigin) -> None:
    """F7: what the node answers by itself still has its body read before the next head."""
    hidden = b"GET /evil/hidden HTTP/1.1\r\n" + HOST + b"\r\n"
    before = _seen(origin)
    length = b"Content-Length: %d\r\n" % len(hidden)
    with RawClient(node) as client:
        client.send(b"PURGE /x HTTP/1.1\r\n" + HOST + length + b"\r\n" + hidden + GOOD)
        assert client.answer()[0] in (200, 403, 405)
        assert client.answer()[0] in (0, 200)
    assert _seen(origin) == before


def test_what_only_concerns_one_connection_stays_on_it(node: str, origin: RecordingOrigin) -> None:
    """K1, K2 and P1: hop-by-hop and nominated fields go no further, claims of strangers are replaced."""
    fields = (
        b"Connection: close, X-Secret, Cookie\r\nX-Secret: 1\r\nCookie: a=b\r\nKeep-Alive: 5\r\nTE: gzip\r\n"
        b"Proxy-Connection: x\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-For: 6.6.6.6\r\n"
        b"X-Original-URL: /admin\r\nX-HTTP-Method-Override: DELETE\r\n"
    )
    with RawClient(node) as client:
        client.send(b"GET /hops HTTP/1.1\r\n" + HOST + fields + b"\r\n")
        assert client.answer()[0] == 200
    head = next(head for head in origin.heads() if head.startswith(b"GET /hops")).lower()
    for gone in (
        b"x-secret",
        b"keep-alive",
        b"\r\nte:",
        b"proxy-connection",
        b"evil.example",
        b"6.6.6.6",
        b"x-original-url",
        b"delete",
    ):
        assert gone not in head, gone
    for kept in (
        b"\r\ncookie: a=b",
        b"\r\nx-forwarded-for: 127.0.0.1",
        b"\r\nvia: 1.1 ",
        b"\r\ncdn-loop: ",
        b"\r\nforwarded: ",
    ):
        assert kept in head, kept


ORIGIN_FAULTS: dict[str, bytes | None] = {
    "O1 excess bytes": PLAIN + b"HTTP/1.1 200 OK\r\n\r\n",
    "O3 bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok" + CLOSE,
    "O3 NUL in a value": b"HTTP/1.1 200 OK\r\nA: \x00\r\nContent-Length: 2\r\n\r\nok" + CLOSE,
    "O3 folded": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok" + CLOSE,
    "O1 two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok" + CLOSE,
    "no answer": None,
    "nonsense": b"hello\r\n\r\n" + CLOSE,
    "unasked 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + CLOSE,
}


@pytest.mark.parametrize("row", ORIGIN_FAULTS)
def test_an_origin_that_breaks_the_rules_gives_a_clean_answer_and_no_stored_one(row: str) -> None:
    with (
        RecordingOrigin(lambda _head: ORIGIN_FAULTS[row]) as origin,
        Headland("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as process,
        RawClient(process.serving()["http"]) as client,
    ):
        for _ in range(2):
            client.send(GOOD)
            status, head, body = client.answer()
            if row == "O1 excess bytes":
                assert (status, body) == (200, b"ok")
            else:
                assert status == 502, head
                assert b"proxy-status: " in head
        assert len(origin.heads()) >= 2, "nothing was stored"


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nCache-Control: max-age=60\r\n\r\nshort" + CLOSE,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n5\r\nshort\r\n" + CLOSE,
    ],
    ids=["by length", "by chunks"],
)
def test_a_truncated_answer_never_looks_whole_and_is_never_stored(cut: bytes) -> None:
    """O5: the client sees that something is missing, and the next one asks the origin again."""
    with (
        RecordingOrigin(lambda _head: cut) as origin,
        Headland("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as process,
    ):
        address = process.serving()["http"]
        for asked in (1, 2):
            with RawClient(address) as client:
                client.send(GOOD)
                answer = client.rest()
            head, _, body = answer.partition(b"\r\n\r\n")
            whole = body.endswith(b"0\r\n\r\n") if b"chunked" in head.lower() else len(body) == 100
            assert not whole, answer
            assert len(origin.heads()) >= asked


def test_a_tunnel_begins_only_with_the_origins_101() -> None:
    """F25: bytes go both ways once the origin has agreed; the answer to anything else stays HTTP."""
    agreed = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
    ask = b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: echo\r\n\r\n"
    with (
        RecordingOrigin(lambda head: agreed if b"/ws" in head else PLAIN) as origin,
        Headland("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as process,
        RawClient(process.serving()["http"]) as client,
    ):
        client.send(ask)
        status, head, _ = client.answer()
        assert status == 101
        assert b"upgrade: echo" in head.lower()
        client.send(b"raw bytes\r\n\r\n")
        # The script takes what ends in an empty line for one more head, and answers: that it got there is the proof.
        assert client.answer()[0] == 200
        assert b"raw bytes" in origin.bytes_seen()
