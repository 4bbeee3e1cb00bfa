"""Poisoned keys and deceived caches: what one client sends never decides what another is given."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

import pytest

from tests.processes import Headland
from tests.security.recording import RawClient, RecordingOrigin

HOST = b"a.example"
FRESH = b"Cache-Control: max-age=60\r\n"


def _answer(head: bytes) -> bytes:
    """What the origin saw of the request: its line and body-less head, after fields that its path chooses."""
    path = head.split(b" ", 2)[1]
    fields = FRESH
    if path.startswith(b"/cookie"):
        fields += b"Set-Cookie: secret=1\r\n"
    if path.startswith(b"/private"):
        fields = b"Cache-Control: private, max-age=60\r\n"
    if path.startswith(b"/account"):
        fields = b"Cache-Control: no-store\r\n"
    if path.startswith(b"/star"):
        fields += b"Vary: *\r\n"
    if path.startswith(b"/names"):
        fields += b"Vary: " + b", ".join(b"x%d" % n for n in range(1000)) + b"\r\n"
    if path.startswith(b"/stripped"):
        fields = b"Cache-Control: no-store\r\nConnection: close, Cache-Control, Set-Cookie\r\nSet-Cookie: a=b\r\n"
    if path.startswith(b"/age"):
        fields += b"Age: 9223372036854775808\r\nDate: nonsense\r\nLast-Modified: x\r\n"
    if path.startswith(b"/conflict"):
        fields += b"Cache-Control: no-store\r\n"
    if path.startswith(b"/coding"):
        fields += b"Vary: Accept-Encoding\r\n"
    body = head.split(b"\r\n", 1)[0] + b"|" + b"|".join(re.findall(rb"(?im)^(?:host|range|if-[a-z-]+): .*$", head))
    return b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture(scope="module")
def origin() -> Iterator[RecordingOrigin]:
    with RecordingOrigin(_answer) as made:
        yield made


@pytest.fixture(scope="module")
def node(origin: RecordingOrigin) -> Iterator[str]:
    with Headland("serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as process:
        yield process.serving()["http"]


def _get(
    node: str, target: bytes, fields: bytes = b"", method: bytes = b"GET", host: bytes = HOST
) -> tuple[int, bytes]:
    with RawClient(node) as client:
        client.send(method + b" " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + fields + b"\r\n")
        status, head, body = client.answer()
        return status, head.lower() + b"\r\n\r\n" + body


def _is_hit(answer: bytes) -> bool:
    return b"; hit" in answer


@pytest.mark.parametrize(
    "path", [b"/cookie", b"/private", b"/account/x.css", b"/account.css", b"/account%2fx.css", b"/star", b"/names",
             b"/stripped", b"/conflict"]
)  # fmt: skip
def test_what_may_not_be_kept_is_not_kept_whatever_its_name(path: bytes, node: str) -> None:
    """D1, D4, O4, O7, O8, K4: the second client has a miss."""
    _get(node, path, b"Cookie: session=victim\r\n")
    assert not _is_hit(_get(node, path)[1])


@pytest.mark.parametrize(
    "end",
    [b";x.js", b"%3bx.js", b"%23x.css", b"%3fx.css", b"%0ax.css", b"%00x.css", b".x.css", b"!x", b"%c0%ae", b"%252f"],
)
def test_the_origin_and_the_key_see_the_same_bytes(end: bytes, node: str, origin: RecordingOrigin) -> None:
    """D2, P5: no delimiter is decoded for the one and not for the other."""
    target = b"/account" + end
    before = len(origin.heads())
    status, _ = _get(node, target)
    seen = [head.split(b" ", 2)[1].lower() for head in origin.heads()[before:]]
    assert (status, seen) in ((200, [target]), (400, []))


@pytest.mark.parametrize("target", [b"/static/..%2faccount", b"/static/%2e%2e%2faccount", b"/s/..%5caccount"])
def test_hidden_steps_upwards_are_refused(target: bytes, node: str, origin: RecordingOrigin) -> None:
    """D3."""
    before = len(origin.heads())
    assert _get(node, target)[0] == 400
    assert len(origin.heads()) == before


@pytest.mark.parametrize(
    "other",
    [
        b"/q?a=1;cb=2",
        b"/q?a=1&cb=2",
        b"/q?a=1|b",
        b"/q?a=1__b",
        b"/q?a=1%00",
        b"//q?a=1",
        b"/q;x?a=1",
        b"/q?A=1",
        b"/q%3fa=1",
    ],
)
def test_other_targets_have_other_keys(other: bytes, node: str) -> None:
    """P3, P5, P6."""
    _get(node, b"/q?a=1")
    assert _is_hit(_get(node, b"/q?a=1")[1])
    assert not _is_hit(_get(node, other)[1])


@pytest.mark.parametrize("host", [b"b.example", b"a.example:1337", b"a.example.b"])
def test_other_hosts_have_other_keys(host: bytes, node: str) -> None:
    """P4, P10: and the origin is told the host of the key."""
    _get(node, b"/host")
    _, answer = _get(node, b"/host", host=host)
    assert not _is_hit(answer)
    assert b"host: " + host in answer


def test_a_body_of_a_get_decides_nothing_for_others(node: str) -> None:
    """P2: neither stored, nor able to change what is."""
    _get(node, b"/fat", b"Content-Length: 5\r\n\r\nevil=", b"GET")
    assert not _is_hit(_get(node, b"/fat")[1])


@pytest.mark.parametrize(
    "fields",
    [
        b"If-None-Match: *\r\n",
        b'If-Match: "x"\r\n',
        b"If-Modified-Since: Wed, 25 Nov 2026 00:00:00 GMT\r\n",
        b"X-HTTP-Method-Override: DELETE\r\n",
        b"Max-Forwards: 0\r\n",
    ],
)
def test_a_condition_of_one_client_is_not_the_next_ones(fields: bytes, node: str) -> None:
    """P9, E3, E4: whoever comes after gets the whole, true content."""
    path = b"/part" + b"%d" % zlib.crc32(fields)
    _get(node, path, fields)
    status, answer = _get(node, path)
    assert status == 200
    body = answer.partition(b"\r\n\r\n")[2]
    assert body.startswith(b"GET " + path)
    if _is_hit(answer):
        assert b"range" not in body.lower()
        assert b"if-" not in body.lower()


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        (b"Range: bytes=0-0\r\n", b"range: bytes=0-0|"),
        (b'If-Range: "x"\r\nRange: bytes=1-\r\n', b"range: bytes=1-|"),
        (b"Range: BYTES= 1-02,\r\n", b"range: bytes=1-2|"),
        (b"Range: bytes=0-0,2-3\r\n", b""),
        (b"Range: bytes=x\r\n", b""),
    ],
)
def test_a_range_of_one_client_is_asked_for_in_our_words(fields: bytes, asked: bytes, node: str) -> None:
    """P9: a 200 is the whole, whatever range it answers; what else a client writes there reaches no origin."""
    path = b"/range%d" % zlib.crc32(fields)
    _get(node, path, fields)
    status, answer = _get(node, path)
    body = answer.partition(b"\r\n\r\n")[2].lower().replace(b"\r", b"") + b"|"
    assert status == 200
    assert body.startswith(b"get " + path)
    assert asked in body
    assert (b"|range:" in body) == bool(asked)


def test_other_methods_have_other_answers(node: str, origin: RecordingOrigin) -> None:
    """P7: HEAD may be served from GET, OPTIONS and unknown methods may not, nor are they stored."""
    _get(node, b"/method")
    for method in (b"OPTIONS", b"BREW"):
        assert not _is_hit(_get(node, b"/method", method=method)[1])
        _get(node, b"/only", method=method)
    assert not _is_hit(_get(node, b"/only")[1])
    assert any(head.startswith(b"BREW /method ") for head in origin.heads())


def test_garbage_in_accept_encoding_makes_no_variants(node: str, origin: RecordingOrigin) -> None:
    """P8: a thousand spellings of nothing are one variant."""
    for number in range(50):
        _get(node, b"/coding", b"Accept-Encoding: evil%d, ;;q=%d\r\n" % (number, number))
    assert len([head for head in origin.heads() if head.startswith(b"GET /coding ")]) <= 2


def test_an_age_beyond_all_numbers_is_only_old(node: str) -> None:
    """O8: no overflow that makes it fresh."""
    _get(node, b"/age")
    assert not _is_hit(_get(node, b"/age")[1])


def test_a_request_that_was_here_before_is_a_loop(node: str) -> None:
    """K3: the node knows its own name in CDN-Loop."""
    assert _get(node, b"/loop", b"CDN-Loop: other, headland\r\n")[0] == 508
    assert _get(node, b"/loop", b"CDN-Loop: other\r\n")[0] == 200


@pytest.mark.parametrize(
    "name", [b"Host", b"Content-Length", b"Cache-Control", b"Authorization", b"Cookie", b"X-Forwarded-For"]
)
def test_a_nominated_field_that_matters_is_not_lost(name: bytes, node: str, origin: RecordingOrigin) -> None:
    """K1: Connection cannot take away what the request or the node says end to end."""
    path = b"/nominated-" + name
    fields = b"Connection: " + name + b"\r\nAuthorization: a\r\nCookie: b=c\r\nCache-Control: max-age=1\r\n"
    status, _ = _get(node, path, fields)
    heads = [head.lower() for head in origin.heads() if head.startswith(b"GET " + path + b" ")]
    assert (status, heads) == (400, []) or all(
        b"\r\n" + kept + b": " in heads[0]
        for kept in (b"host", b"authorization", b"cookie", b"cache-control", b"x-forwarded-for")
    )
