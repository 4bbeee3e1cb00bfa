"""One node with many sites before a scripted origin; tests keep apart by their paths and hosts."""

from __future__ import annotations

import itertools
import shutil
import threading

import pytest

from tests import certificates
from tests.processes import Headland, preamble
from tests.quic_client import client_of
from tests.scripted import WAIT_S, ScriptedOrigin, closed_port

REFILLS = 2
"""Purged pages that are fetched anew at a time."""
CONFIGURATION = """\
[cache]
memory = "64MiB"
object_max = "1MiB"
refills = {refills}
[purge]
allow = ["127.0.0.1/32"]
nginx_helper = true

[[site]]
hosts = ["site.test", "*.site.test"]
origin = "app"
[[site]]
hosts = "*"
origin = "app"
[[site.rule]] # one key, another origin: how a test makes the origin fail
header = {{ x-origin = "dead" }}
origin = "dead"
[[site.rule]]
header = {{ x-origin = "hasty" }}
origin = "hasty"

[origin.app]
servers = "{origin}"
[origin.dead]
servers = "http://127.0.0.1:{dead}"
[origin.hasty]
servers = "{origin}"
[origin.hasty.deadlines]
connect = "1s"
first_byte = "200ms"
between_bytes = "200ms"
[origin.hasty.retries]
attempts = 1
[origin.hasty.ejection]
failures = 0
"""

_numbers = itertools.count()


@pytest.fixture(scope="session")
def origin():
    with ScriptedOrigin() as running:
        yield running


@pytest.fixture(scope="session")
def places(origin, tmp_path_factory):
    pytest.importorskip("_headland", reason="the extension is not built: make develop")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    file = tmp_path_factory.mktemp("scenarios") / "edge.toml"
    secure = certificates.make(file.parent, "site.test", "*.site.test")
    file.write_text(
        preamble(admin=True, secure=secure)
        + CONFIGURATION.format(origin=origin.url, dead=closed_port(), refills=REFILLS)
    )
    with Headland("serve", "--config", file) as node:
        yield node.serving()
        assert node.process.poll() is None, node.rest_of("stderr")


@pytest.fixture(params=["h1", "h2", "h3"])
def client(request, places):
    return client_of(places, request.param)


@pytest.fixture
def path():
    return f"/{next(_numbers)}"


@pytest.fixture
def gate():
    """An event that a script waits for; opened at the end of the test, whatever happens."""

    class Gate(threading.Event):
        def pass_through(self) -> None:
            assert self.wait(WAIT_S)

    gate = Gate()
    yield gate
    gate.set()
