"""`headland explain` tells key, rule, variants, heads, the arithmetic of freshness and the clause, for any request."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, Headland, preamble
from tests.security.recording import RawClient, RecordingOrigin

CONFIGURATION = """\
[[site]]
hosts = ["a.example"]
origin = "app"
[[site.rule]]
name = "tenants"
path_prefix = "/"
key = { headers = ["x-tenant"], cookies = ["sid"] }
[[site.rule]]
name = "off"
path = "/off"
cache = false
[origin.app]
servers = "ORIGIN"
"""
LIFETIMES = {
    "/max-age": ("Cache-Control: max-age=60", "max-age", "RFC 9111 section 5.2.2.1"),
    "/s-maxage": ("Cache-Control: max-age=1, s-maxage=60", "s-maxage", "RFC 9111 section 5.2.2.10"),
    "/cdn": ("CDN-Cache-Control: max-age=60\r\nCache-Control: no-store", "max-age", "RFC 9213 section 2.2"),
    "/expires": ("Expires: " + formatdate(2_000_000_000, usegmt=True), "expires", "RFC 9111 section 5.3"),
    "/guess": ("Last-Modified: " + formatdate(1_000_000_000, usegmt=True), "heuristic", "RFC 9111 section 4.2.2"),
}


def _answer(head: bytes) -> bytes:
    path = head.split(b" ", 2)[1].decode()
    if path in LIFETIMES:
        fields = LIFETIMES[path][0]
    elif path == "/vary":
        fields = "Cache-Control: max-age=60\r\nVary: X-Colour\r\nAge: 7\r\nLink: a\r\nLink: b"
    elif path == "/no-cache":
        fields = 'Cache-Control: no-cache\r\nETag: "1"'
    else:
        fields = "Cache-Control: no-store"
    return f"HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 2\r\n\r\nok".encode()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    directory = tmp_path_factory.mktemp("explain")
    with RecordingOrigin(_answer) as origin:
        file = directory / "edge.toml"
        file.write_text(preamble(admin=True, name="headland") + CONFIGURATION.replace("ORIGIN", origin.url))
        with Headland("serve", "--config", file) as process:
            yield process.serving()


def _get(places: dict[str, str], path: str, fields: str = "") -> None:
    with RawClient(places["http"]) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n".encode())
        assert client.answer()[0] == 200


def _explain(places: dict[str, str], path: str, *headers: str, method: str = "GET") -> dict[str, Any]:
    asked = [("url", f"http://a.example{path}"), ("method", method), *(("header", header) for header in headers)]
    with urllib.request.urlopen(f"http://{places['admin']}/v1/explain?{urllib.parse.urlencode(asked)}") as response:
        told: dict[str, Any] = json.load(response)
        return told


@pytest.mark.parametrize("path", LIFETIMES)
def test_each_source_of_a_lifetime_is_named_with_its_clause(places: dict[str, str], path: str) -> None:
    _get(places, path)
    told = _explain(places, path)
    freshness = told["stored"]["freshness"]
    assert freshness["lifetime_from"] == LIFETIMES[path][1]
    assert freshness["lifetime_clause"].startswith(LIFETIMES[path][2])
    assert freshness["initial_age_s"] + freshness["resident_s"] == freshness["age_s"]
    assert freshness["lifetime_s"] - freshness["age_s"] == freshness["ttl_s"]
    assert told["answer"]["outcome"] == "hit"
    assert told["answer"]["clause"].startswith("RFC 9111 section 4.2: ")


def test_key_variants_and_head_are_told(places: dict[str, str]) -> None:
    sid = "Cookie: a=b; sid=7\r\n"
    _get(places, "/vary", "X-Colour: red\r\n" + sid)
    _get(places, "/vary", "X-Colour: blue\r\n" + sid)
    told = _explain(places, "/vary", "X-Colour: red", "Cookie: sid=7; c=d")
    assert told["rules"] == ["tenants"]
    assert told["key"]["parts"] == {"x-tenant": None, "cookie:sid": "7"}
    assert (told["key"]["scheme"], told["key"]["host"], told["key"]["target"]) == ("http", "a.example", "/vary")
    assert sorted(variant["matches"] for variant in told["variants"]) == [False, True]
    assert told["stored"]["head"]["link"] == "a, b"
    assert told["stored"]["freshness"]["initial_age_s"] >= 7
    other = _explain(places, "/vary", "X-Colour: green", "Cookie: sid=7")
    assert other["answer"]["reason"] == "vary"
    assert other["answer"]["clause"].startswith("RFC 9111 section 4.1")
    assert _explain(places, "/vary", "X-Tenant: t")["answer"]["reason"] == "absent"


@pytest.mark.parametrize(
    ("path", "headers", "method", "answer"),
    [
        ("/max-age", [], "POST", ("bypass", "RFC 9111 section 4")),
        ("/off", [], "GET", ("bypass", "a rule of the site")),
        ("/private", [], "GET", ("bypass", "the last answer could not be shared")),
        ("/no-cache", [], "GET", ("miss", "RFC 9111 section 5.2.2.4")),
        ("/max-age", ["Cache-Control: no-cache"], "GET", ("miss", "RFC 9111 section 5.2.1")),
        ("/max-age", [], "HEAD", ("hit", "RFC 9111 section 4.2")),
    ],
)
def test_the_deciding_clause_is_named(
    places: dict[str, str], path: str, headers: list[str], method: str, answer: tuple[str, str]
) -> None:
    _get(places, path)
    told = _explain(places, path, *headers, method=method)["answer"]
    assert told["outcome"] == answer[0]
    assert told["clause"].startswith(answer[1])


def test_the_command_prints_it_for_people(places: dict[str, str]) -> None:
    _get(places, "/max-age")
    command = [sys.executable, "-m", "edge", "explain", "http://a.example/max-age", "--admin", places["admin"]]
    run = subprocess.run([*command, "-X", "HEAD"], cwd=Path(ROOT), capture_output=True, text=True, check=True)
    for words in ("RFC 9111 section 5.2.2.1: max-age", "ttl s", "tenants", "variants 1"):
        assert words in run.stdout
    refused = subprocess.run([*command, "-X", "N O"], cwd=Path(ROOT), capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "no method" in refused.stderr
