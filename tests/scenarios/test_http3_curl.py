"""HTTP/3 by curl: a second client, whose stack is neither ours nor that of the other tests.

`HEADLAND_TEST_CURL` names one that speaks HTTP/3 where the one on the path does not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Headland
from tests.quic import HOST, configure
from tests.scripted import ScriptedOrigin, closed_port

FIELDS = {"Cache-Control": "max-age=600", "ETag": '"v1"'}
LARGE = bytes(range(256)) * 4096
TIME_S = "30"


def _curl() -> str:
    curl = os.environ.get("HEADLAND_TEST_CURL") or shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    version = subprocess.run([curl, "--version"], capture_output=True, check=True, text=True).stdout
    if "HTTP3" not in version.split():
        pytest.skip(f"{curl} has no HTTP/3; HEADLAND_TEST_CURL names one that has")
    return curl


@pytest.fixture
def places(origin: ScriptedOrigin, tmp_path: Path) -> Iterator[dict[str, str]]:
    with Headland("serve", "--config", configure(tmp_path, origin.url)) as node:
        yield node.serving()
        assert node.process.poll() is None, node.rest_of("stderr")


def _ask(places: dict[str, str], path: str, *options: str, body: bytes = b"") -> bytes:
    """What curl writes: with `-i` head and body, else the body."""
    port = places["https"].rpartition(":")[2]
    version = () if "--alt-svc" in options else ("--http3-only",)
    route = ("--resolve", f"{HOST}:{port}:127.0.0.1")
    url = f"https://{HOST}:{port}{path}"
    command = [_curl(), "-q", "-sS", "-k", "--max-time", TIME_S, *version, *route, *options, url]
    ran = subprocess.run(command, capture_output=True, check=False, input=body)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _head_and_body(answer: bytes) -> tuple[str, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode("latin-1").lower(), body


def test_a_miss_a_hit_and_the_head_alone(places: dict[str, str], origin: ScriptedOrigin, path: str) -> None:
    origin.says(path, FIELDS, LARGE)
    head, body = _head_and_body(_ask(places, path, "-i"))
    assert head.startswith("http/3 200")
    assert "uri-miss" in head
    assert body == LARGE
    again, body = _head_and_body(_ask(places, path, "-i"))
    assert "; hit" in again
    assert body == LARGE
    alone, body = _head_and_body(_ask(places, path, "-i", "--head"))
    assert f"content-length: {len(LARGE)}" in alone
    assert not body
    assert len(origin.asked(path)) == 1


def test_a_range_and_a_condition(places: dict[str, str], origin: ScriptedOrigin, path: str) -> None:
    origin.says(path, FIELDS, LARGE)
    assert _ask(places, path) == LARGE
    assert _ask(places, path, "--range", "500000-700000") == LARGE[500_000:700_001]
    head, body = _head_and_body(_ask(places, path, "-i", "-H", 'If-None-Match: "v1"'))
    assert head.startswith("http/3 304")
    assert not body


def test_an_upload_of_much_and_one_of_nothing(places: dict[str, str], origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, lambda it: it.answer(200, {}, b"got " + it.body[::-1]))
    assert _ask(places, path, "--data-binary", "@-", body=LARGE[:1_000_000]) == b"got " + LARGE[:1_000_000][::-1]
    assert _ask(places, path, "--data-binary", "") == b"got "


def test_an_answer_of_nothing(places: dict[str, str], origin: ScriptedOrigin, path: str) -> None:
    origin.says(path, FIELDS, "")
    for _ in range(2):
        head, body = _head_and_body(_ask(places, path, "-i"))
        assert head.startswith("http/3 200")
        assert not body


def test_a_client_that_is_told_comes_back_over_http3(origin: ScriptedOrigin, path: str, tmp_path: Path) -> None:
    origin.says(path, FIELDS, "hello")
    remembering = ("-w", " %{http_version}", "--alt-svc", str(tmp_path / "alternatives"))
    file = configure(tmp_path, origin.url)
    # Alt-Svc names the port that is configured.
    file.write_text(file.read_text().replace('https = "127.0.0.1:0"', f'https = "127.0.0.1:{closed_port()}"'))
    with Headland("serve", "--config", file) as node:
        places = node.serving()
        assert _ask(places, path, *remembering) == b"hello 2"
        assert _ask(places, path, *remembering) == b"hello 3"
