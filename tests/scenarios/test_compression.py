"""Compression at the edge: one representation stored, each form of it made once, and undone for who cannot read it."""

from __future__ import annotations

import gzip
import json
import random
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from purge_api.client import PurgeClient
from tests.curls import Answer, Client
from tests.processes import TOKEN, Headland, preamble
from tests.scripted import ScriptedOrigin

CONFIGURATION = """\
[cache]
memory = "64MiB"
[[site]]
hosts = "*"
origin = "app"
[site.compression]
smallest = "100B"
[[site]]
hosts = "plain.example"
origin = "app"
[origin.app]
servers = "ORIGIN"
"""
_RANDOM = random.Random(7)  # noqa: S311 - the same bytes in every run
_WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "it", "rains")
TEXT = " ".join(_RANDOM.choices(_WORDS, k=3000))
PAGE = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "max-age=60", "ETag": '"v1"'}
CODINGS = ("br", "gzip", "zstd")
DECODED = ("--compressed",)


@pytest.fixture(scope="module")
def places(origin: ScriptedOrigin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    file = tmp_path_factory.mktemp("compression") / "edge.toml"
    file.write_text(preamble(admin=True) + CONFIGURATION.replace("ORIGIN", origin.url))
    with Headland("serve", "--config", file) as node:
        yield node.serving()
        assert node.process.poll() is None, node.rest_of("stderr")


@pytest.fixture(params=["h1", "h2"])
def client(request: pytest.FixtureRequest, places: dict[str, str]) -> Client:
    """Only curl can read every coding; how a body is coded does not depend on the protocol."""
    return Client(places["http"], request.param)


def _explained(places: dict[str, str], url: str, coding: str) -> dict[str, object]:
    asked = urllib.parse.urlencode({"url": url, "header": f"Accept-Encoding: {coding}"})
    request = urllib.request.Request(
        f"http://{places['admin']}/v1/explain?{asked}", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(request) as answer:
        told: dict[str, object] = json.load(answer)
        return told


def _coded(client: Client, path: str, coding: str, *fields: str) -> Answer:
    """What comes for this Accept-Encoding, its coding undone by curl."""
    return client.get(path, f"Accept-Encoding: {coding}", *fields, extra=DECODED)


@pytest.mark.parametrize("coding", CODINGS)
def test_the_first_client_and_all_others_get_it_compressed(
    client: Client, origin: ScriptedOrigin, path: str, coding: str
) -> None:
    origin.says(path, PAGE, TEXT)
    first, second = _coded(client, path, coding), _coded(client, path, coding)
    assert (first.cache, second.cache) == ("fwd=uri-miss; stored", "hit")
    for answer in (first, second):
        assert answer.headers["content-encoding"] == coding
        assert answer.headers["vary"].lower() == "accept-encoding"
        assert answer.headers["etag"] == 'W/"v1"'
        assert answer.body == TEXT.encode()
    assert int(second.headers["content-length"]) < len(TEXT) // 2
    assert len(origin.asked(path)) == 1
    assert origin.asked(path)[0].headers["Accept-Encoding"] == "identity"


def test_one_representation_serves_every_coding(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.says(path, PAGE, TEXT)
    for coding in (*CODINGS, "identity", "deflate"):
        answer = _coded(client, path, coding)
        assert answer.headers.get("content-encoding") == (coding if coding in CODINGS else None)
        assert answer.body == TEXT.encode()
    plain = client.get(path)
    assert plain.headers["etag"] == '"v1"'
    assert int(plain.headers["content-length"]) == len(TEXT)
    assert len(origin.asked(path)) == 1


def test_the_preferred_coding_is_the_clients_and_then_the_sites(
    client: Client, origin: ScriptedOrigin, path: str
) -> None:
    origin.says(path, PAGE, TEXT)
    for accepted, coding in [("gzip, br, zstd", "zstd"), ("gzip, br;q=0.5", "gzip"), ("br;q=0, gzip;q=0.1", "gzip")]:
        assert _coded(client, path, accepted).headers["content-encoding"] == coding


def test_a_range_is_of_the_uncompressed_bytes(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.says(path, PAGE, TEXT)
    _coded(client, path, "gzip")
    part = client.get(path, "Accept-Encoding: gzip", "Range: bytes=10-19")
    assert part.status == 206
    assert part.body == TEXT.encode()[10:20]
    assert "content-encoding" not in part.headers
    assert part.headers["etag"] == '"v1"'
    # A weak tag never identifies the bytes that a part belongs to (RFC 9110 section 13.1.5).
    whole = client.get(path, "Accept-Encoding: gzip", "Range: bytes=10-19", 'If-Range: W/"v1"')
    assert whole.status == 200
    assert whole.body == TEXT.encode()
    assert "accept-ranges" not in _coded(client, path, "gzip").headers


def test_conditions_hold_for_every_form(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.says(path, PAGE, TEXT)
    client.get(path)
    for tag in ('"v1"', 'W/"v1"'):
        answer = _coded(client, path, "br", f"If-None-Match: {tag}")
        assert (answer.status, answer.headers["etag"], answer.body) == (304, 'W/"v1"', b"")
    head = client.get(path, "Accept-Encoding: br", method="HEAD")
    assert head.headers["content-encoding"] == "br"
    assert head.headers["etag"] == 'W/"v1"'


@pytest.mark.parametrize(
    "fields",
    [
        {"Cache-Control": "max-age=60, no-transform"},
        {"Content-Type": "image/png"},
        {"Repr-Digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"},
    ],
)
def test_what_must_not_be_touched_is_not(
    client: Client, origin: ScriptedOrigin, path: str, fields: dict[str, str]
) -> None:
    origin.says(path, {**PAGE, **fields}, TEXT)
    for _ in range(2):
        answer = client.get(path, "Accept-Encoding: gzip")
        assert "content-encoding" not in answer.headers
        assert answer.body == TEXT.encode()
        assert answer.headers["etag"] == '"v1"'
        assert "vary" not in answer.headers


def test_short_answers_and_sites_without_the_table_stay_plain(
    client: Client, origin: ScriptedOrigin, path: str
) -> None:
    origin.says(path, PAGE, "short")
    assert "content-encoding" not in client.get(path, "Accept-Encoding: gzip").headers
    origin.says(path, PAGE, TEXT)
    answer = client.get(path, "Accept-Encoding: gzip", host="plain.example")
    assert "content-encoding" not in answer.headers
    assert origin.asked(path)[-1].headers["Accept-Encoding"] == "gzip"


def test_what_the_origin_compressed_is_undone_for_who_cannot_read_it(
    client: Client, origin: ScriptedOrigin, path: str
) -> None:
    origin.says(path, {**PAGE, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}, gzip.compress(TEXT.encode()))
    for _ in range(2):
        plain = client.get(path, "Accept-Encoding: br")
        assert plain.body == TEXT.encode()
        assert plain.headers["etag"] == 'W/"v1"'
        assert "content-encoding" not in plain.headers
    as_sent = _coded(client, path, "gzip")
    assert (as_sent.headers["content-encoding"], as_sent.headers["etag"]) == ("gzip", '"v1"')
    assert as_sent.headers["vary"] == "Accept-Encoding"
    assert len(origin.asked(path)) == 1


def test_a_body_that_cannot_be_undone_is_a_broken_transfer_and_not_kept(
    client: Client, origin: ScriptedOrigin, path: str
) -> None:
    broken = gzip.compress(_RANDOM.randbytes(50_000))[:-20]
    origin.says(path, {**PAGE, "Content-Encoding": "gzip"}, broken)
    for _ in range(2):
        assert client.get(path).ended != 0


def test_what_is_not_stored_is_compressed_for_its_client(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.says(path, {**PAGE, "Cache-Control": "no-store"}, TEXT)
    for _ in range(2):
        answer = _coded(client, path, "br")
        assert answer.headers["content-encoding"] == "br"
        assert answer.body == TEXT.encode()
        assert answer.headers["vary"].lower() == "accept-encoding"
    posted = client.get(path, "Accept-Encoding: gzip", method="POST", body="x", extra=DECODED)
    assert posted.headers["content-encoding"] == "gzip"
    assert posted.body == TEXT.encode()


def test_what_has_come_is_sent_on_while_the_origin_pauses(
    client: Client, origin: ScriptedOrigin, path: str, gate: object
) -> None:
    def slow(exchange: object) -> None:
        exchange.begin(200, {**PAGE, "Cache-Control": "no-store"}, len(TEXT))  # type: ignore[attr-defined]
        exchange.send(TEXT[:500].encode())  # type: ignore[attr-defined]
        gate.pass_through()  # type: ignore[attr-defined]
        exchange.send(TEXT[500:].encode())  # type: ignore[attr-defined]

    origin.at(path, slow)
    with client.start(path, "Accept-Encoding: gzip", extra=DECODED) as transfer:
        transfer.until(TEXT[:500].encode())
        gate.set()  # type: ignore[attr-defined]
        assert transfer.answer().body.endswith(TEXT[-100:].encode())


def test_many_clients_of_a_cold_page_share_one_form(
    client: Client, origin: ScriptedOrigin, path: str, places: dict[str, str]
) -> None:
    before = _made(places)
    origin.says(path, PAGE, TEXT)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: _coded(client, path, "br"), range(40)))
    assert {answer.body for answer in answers} == {TEXT.encode()}
    assert {answer.headers["content-encoding"] for answer in answers} == {"br"}
    assert len(origin.asked(path)) == 1
    assert _made(places) - before == 1


def _made(places: dict[str, str]) -> int:
    request = urllib.request.Request(f"http://{places['admin']}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request) as answer:
        lines = answer.read().decode().splitlines()
    return int(
        float(next(line for line in lines if line.startswith('headland_recoded_bodies_total{form="br"}')).split()[1])
    )


def test_a_confirmed_page_keeps_its_forms_under_its_new_head(
    client: Client, origin: ScriptedOrigin, path: str, places: dict[str, str]
) -> None:
    origin.says(path, {**PAGE, "Cache-Control": "max-age=0", "X-Turn": "1"}, TEXT)
    assert _coded(client, path, "br").headers["x-turn"] == "1"
    origin.says(path, {"ETag": '"v1"', "Cache-Control": "max-age=60", "X-Turn": "2"}, status=304)
    before = _made(places)
    for outcome in ("fwd=stale", "hit"):
        answer = _coded(client, path, "br")
        assert answer.headers["x-turn"] == "2"
        assert answer.body == TEXT.encode()
        assert answer.cache.startswith(outcome) or outcome != "hit"
    assert _made(places) == before


def test_a_purge_of_the_page_takes_its_forms_along(
    client: Client, origin: ScriptedOrigin, path: str, places: dict[str, str]
) -> None:
    origin.says(path, PAGE, TEXT)
    _coded(client, path, "br")
    origin.says(path, PAGE, TEXT[::-1])
    assert _coded(client, path, "br").body == TEXT.encode()
    PurgeClient(f"http://{places['admin']}", TOKEN).purge("url", [client.url(path)])
    assert _coded(client, path, "br").body == TEXT[::-1].encode()


def test_explain_tells_the_form(client: Client, origin: ScriptedOrigin, path: str, places: dict[str, str]) -> None:
    origin.says(path, PAGE, TEXT)
    client.get(path)
    assert _explained(places, client.url(path), "br")["form"] == {"coding": "br", "made": False}
    _coded(client, path, "br")
    assert _explained(places, client.url(path), "br")["form"] == {"coding": "br", "made": True}
    assert _explained(places, client.url(path), "identity")["form"] is None
