"""Servers that come and go while requests run: lists in a file and behind a URL."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.curls import Client
from tests.processes import Headland, preamble
from tests.scripted import ScriptedOrigin
from tests.waiting import until

SITE = """\
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = "{url}"
slow_start = "0s"
[origin.app.discovery]
{where}
interval = "100ms"
"""


@pytest.fixture
def servers():
    with ScriptedOrigin() as one, ScriptedOrigin() as two:
        for server, name in ((one, "one"), (two, "two")):
            server.says("/", {"Cache-Control": "no-store"}, name)
        yield one, two


@pytest.fixture
def serve(tmp_path, servers):
    pytest.importorskip("_headland", reason="the extension is not built: make develop")
    nodes: list[Headland] = []

    def start(where):
        file = tmp_path / "edge.toml"
        file.write_text(preamble(admin=True) + SITE.format(url=servers[0].url, where=where))
        node = Headland("serve", "--config", file)
        nodes.append(node)
        places = node.serving()
        client = Client(places["http"], "h1")
        client.admin = places["admin"]
        return client

    yield start
    for node in nodes:
        with node:
            pass


def _known(client):
    with urllib.request.urlopen(f"http://{client.admin}/v1/origins") as answer:
        return [server["server"] for server in json.load(answer)["origins"][0]["servers"]]


def _bodies(client):
    return {client.get("/").body for _ in range(6)}


def test_a_file_lists_the_servers(serve, servers, tmp_path):
    one, two = servers
    client = serve('file = "servers.txt"')
    assert _bodies(client) == {b"one"}, "until there is a list, the servers of the settings are asked"
    listed = tmp_path / "servers.txt"
    listed.write_text(f"{one.url}\n{two.url}\n")
    until(lambda: len(_known(client)) == 2)
    assert _bodies(client) == {b"one", b"two"}
    listed.write_text(f"{two.url}\n")
    until(lambda: _known(client) == [two.url])
    assert _bodies(client) == {b"two"}
    listed.write_text("nothing of that kind\n")
    assert _bodies(client) == {b"two"}
    assert _known(client) == [two.url], "the last good list stays"


def test_a_url_lists_the_servers_and_no_request_is_lost_meanwhile(serve, servers, gate):
    one, _ = servers
    with ScriptedOrigin() as registry:
        registry.says("/v1", {}, json.dumps({"servers": [{"url": one.url}]}))
        client = serve(f'url = "{registry.url}/v1"')

        def late(exchange):
            gate.pass_through()
            exchange.answer(200, {"Cache-Control": "no-store"}, "late")

        one.at("/busy", late)
        with client.start("/busy") as busy:
            one.wait_asked("/busy", 1)
            for number in range(1, 6):
                server = servers[number % 2]
                registry.says("/v1", {}, json.dumps([server.url]))
                until(lambda server=server: _known(client) == [server.url])
                assert {answer.status for answer in (client.get("/") for _ in range(5))} == {200}
            gate.set()
            assert busy.answer().body == b"late", "a server that went away ends what it began"
        registry.says("/v1", {}, "no", status=500)
        asked = len(registry.asked("/v1"))
        registry.wait_asked("/v1", asked + 2)
        assert client.get("/").status == 200
