"""What happens to a fill that is running when the world changes under it."""

import json
import socket
import threading
import urllib.request

import pytest

from tests.origins import Origin
from tests.processes import Headland, preamble

CONFIG = """\
[log]
format = "json"
path = "-"
[purge]
allow = ["127.0.0.0/8"]
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = "{origin}"
"""
WAIT_S = 10.0
"""Seconds that anything may take here."""


class Versions:
    """An origin's answers: the first one is held back until it is released, each says which it is."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.release = threading.Event()
        self._count = 0

    def __call__(self, _target: str) -> tuple[int, dict[str, str], bytes]:
        self._count += 1
        number = self._count
        if number == 1:
            self.asked.set()
            assert self.release.wait(WAIT_S)
        return 200, {"Cache-Control": "max-age=60"}, f"version {number}".encode()


class Request(threading.Thread):
    """A request that is under way."""

    def __init__(self, url: str, method: str = "GET") -> None:
        super().__init__(daemon=True)
        self._request = urllib.request.Request(url, method=method)
        self.body = b""
        self.start()

    def run(self) -> None:
        with urllib.request.urlopen(self._request, timeout=WAIT_S) as answer:
            self.body = answer.read()

    def answer(self) -> bytes:
        self.join(WAIT_S)
        return self.body


@pytest.fixture
def versions():
    return Versions()


@pytest.fixture
def process(tmp_path, versions):
    """A node whose origin answers so; its access log is on standard output."""
    with Origin(versions) as origin:
        file = tmp_path / "edge.toml"
        file.write_text(preamble(admin=True) + CONFIG.format(origin=origin.url))
        with Headland("serve", "--config", file) as headland:
            yield headland
        versions.release.set()


@pytest.fixture
def node(process):
    """Where it serves."""
    return process.serving()["http"]


def test_a_fill_that_runs_while_a_post_succeeds_is_not_stored(node, versions):
    reader = Request(f"http://{node}/a")
    assert versions.asked.wait(WAIT_S)
    assert Request(f"http://{node}/a", "POST").answer() == b"version 2"
    versions.release.set()
    assert reader.answer() == b"version 1"
    assert Request(f"http://{node}/a").answer() == b"version 3"
    assert Request(f"http://{node}/a").answer() == b"version 3"


def test_who_asks_after_a_purge_does_not_get_what_was_fetched_before_it(node, versions):
    reader = Request(f"http://{node}/a")
    assert versions.asked.wait(WAIT_S)
    Request(f"http://{node}/a", "PURGE").answer()
    late = Request(f"http://{node}/a")
    late.join(0.2)
    versions.release.set()
    assert reader.answer() == b"version 1"
    assert late.answer() == b"version 2"
    assert Request(f"http://{node}/a").answer() == b"version 2"


def test_a_request_whose_client_leaves_before_its_answer_is_logged(node, process, versions):
    host, port = node.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /left HTTP/1.1\r\nHost: a\r\n\r\n")
        assert versions.asked.wait(WAIT_S)
    line = json.loads(process.line("stdout"))
    assert (line["target"], line["status"], line["complete"], line["cache"]) == ("/left", 499, False, "miss")
