"""What protects a fleet: TLS and credentials at the message servers, their permissions, and that nobody is believed."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import nats
import orjson
import pytest

from tests import certificates
from tests.nats import NatsServer
from tests.origins import Origin
from tests.test_fleet import NODES, Node
from tests.waiting import until

pytest.importorskip("_headland", reason="the extension is not built: make develop")

FLOOD_MESSAGES = 2_000
PEERS = """\
[[fleet.peer]]
name = "pop1"
scope = "purge"
[[fleet.peer]]
name = "pop2"
scope = ["purge:tag", "purge:host"]
sites = []
"""


def permissions(first: str = NODES[0]) -> str:
    """As docs/fleet.md tells: each on its own subjects, and only the first may make the stream."""
    stream, bucket = "HEADLAND_PURGES", "KV_headland-nodes"
    users = []
    for name in NODES[:2]:
        allowed = [f"headland.*.{name}", f"$KV.headland-nodes.{name}", "$JS.FC.>", "_INBOX.>", "$JS.API.STREAM.NAMES"]
        for each in (stream, bucket):
            allowed += [f"$JS.API.STREAM.INFO.{each}", f"$JS.API.CONSUMER.*.{each}", f"$JS.API.CONSUMER.*.{each}.>"]
            allowed += [f"$JS.API.STREAM.CREATE.{each}"] if name == first else []
        allowed += [f"$JS.API.STREAM.MSG.GET.{bucket}", f"$JS.API.DIRECT.GET.{bucket}.>"]
        subjects = ", ".join(f'"{each}"' for each in allowed)
        grants = f'publish: [{subjects}], subscribe: ["headland.>", "_INBOX.>"]'
        users.append(f'{{ user: "{name}", password: "secret", permissions: {{ {grants} }} }}')
    return "authorization { users = [\n" + "\n".join(users) + "\n] }\n"


def credentials(name: str, more: str = "") -> str:
    return f'user = "{name}"\npassword_env = "BUS"\n{more}'


@pytest.fixture(autouse=True)
def password(monkeypatch):
    monkeypatch.setenv("BUS", "secret")


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / "bus"
    directory.mkdir()
    return directory


@pytest.fixture
def guarded(tmp_path, directory):
    """Two nodes with permissions and with rules for what each may purge; and the server."""
    with NatsServer(directory, configuration=permissions()) as bus, Origin() as origin, contextlib.ExitStack() as ended:
        nodes = [Node(tmp_path, name, bus.url, origin.url, credentials(name, PEERS)) for name in NODES[:2]]
        for node in nodes:
            ended.callback(node.stop, signal.SIGKILL)
            node.start()
        until(lambda: all(node.metric("nodes") == 2 for node in nodes))
        yield bus, nodes


def batch(node: str, *purges: dict, **more: object) -> bytes:
    return orjson.dumps({"v": 1, "node": node, "purges": list(purges), **more})


def purge(number: int, kind: str = "tag", *items: str) -> dict:
    base = {"id": f"{number}-{number:016x}", "mode": "hard", "actor": "liar", "received_ms": 1}
    return {**base, "type": kind, "items": list(items) or ["x"]}


@contextlib.asynccontextmanager
async def as_second(bus: NatsServer, on_error=None):
    """A client with the credentials of the second node."""
    client = await nats.connect(bus.url, user="pop2", password="secret", error_cb=on_error)
    try:
        yield client
    finally:
        await client.close()


LIES = {
    "not JSON": b"\x00",
    "another version": batch("pop2", purge(1), v=2),
    "another node's name": batch("pop1", purge(2, "all", "")),
    "what it may not purge": batch("pop2", purge(3, "all", "")),
    "an unknown kind": batch("pop2", purge(4, "ban")),
    "no rule": batch("pop2", purge(5, "tag", "a,b")),
    "no items": batch("pop2", {**purge(6), "items": []}),
    "an expression that is too large": batch("pop2", purge(7, "regex", "*~(a{100}){100}{100}")),
}


async def test_a_node_that_lies_or_floods_purges_nothing_that_it_may_not(guarded):
    bus, (first, second) = guarded
    async with as_second(bus) as liar:
        for lie in LIES.values():
            await liar.publish("headland.purge.pop2", lie)
        await liar.flush()
        # One message, one refusal.
        await asyncio.to_thread(until, lambda: first.metric("refused") == len(LIES))
        given = await asyncio.to_thread(first.client.recent, 100)
        assert "liar" not in [purge.document["actor"] for purge in given]

        for _ in range(FLOOD_MESSAGES):
            await liar.publish("headland.purge.pop2", LIES["no rule"])
        await liar.flush()
        honest = await asyncio.to_thread(second.client.purge, "tag", ["honest"], wait_s=10)
        assert honest.state == "applied"
        await asyncio.to_thread(until, lambda: first.metric("refused") == len(LIES) + FLOOD_MESSAGES)


async def test_the_servers_refuse_what_is_not_a_node_s_own(guarded):
    bus, (first, second) = guarded
    refused: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.append(str(error).lower())

    subjects = (
        "headland.purge.pop1",
        "headland.told.pop1",
        "$KV.headland-nodes.pop1",
        "$JS.API.STREAM.DELETE.HEADLAND_PURGES",
        "$JS.API.STREAM.PURGE.HEADLAND_PURGES",
        "$JS.API.STREAM.UPDATE.HEADLAND_PURGES",
    )
    async with as_second(bus, on_error) as liar:
        for subject in subjects:
            await liar.publish(subject, batch("pop1", purge(1, "all", "")))
        await asyncio.to_thread(until, lambda: len(refused) == len(subjects))
    assert all("permissions violation" in each for each in refused)
    after = await asyncio.to_thread(first.client.purge, "tag", ["after"], wait_s=10)
    assert after.state == "applied"
    assert [node.metric("gaps") for node in (first, second)] == [0, 0]


def test_nodes_and_servers_know_each_other_by_certificates(tmp_path, directory):
    authority = certificates.make(tmp_path / "ca", "authority", authority=True)
    other = certificates.make(tmp_path / "other", "other authority", authority=True)
    server = certificates.make(tmp_path / "server", "localhost", issuer=authority)
    own = certificates.make(tmp_path / "node", "node", issuer=authority)
    configuration = (
        f'tls {{ cert_file: "{server.cert_file}", key_file: "{server.key_file}", '
        f'ca_file: "{authority.cert_file}", verify: true }}\n'
    )
    with NatsServer(directory, configuration=configuration) as bus, Origin() as origin, contextlib.ExitStack() as ended:
        url = bus.url.replace("nats://127.0.0.1", "tls://localhost")
        nodes = []
        for name, trusted, shown in ((NODES[0], authority, own), (NODES[1], authority, own), (NODES[2], other, own)):
            files = f'ca = "{trusted.cert_file}"\ncert = "{shown.cert_file}"\nkey = "{shown.key_file}"\n'
            nodes.append(Node(tmp_path, name, url, origin.url, files))
            ended.callback(nodes[-1].stop, signal.SIGKILL)
            nodes[-1].start()
        until(lambda: all(node.metric("nodes") == 2 for node in nodes[:2]))
        purged = nodes[0].client.purge("tag", ["a"], wait_s=10)
        assert [each["name"] for each in purged.document["nodes"]] == list(NODES[:2])
        assert nodes[2].metric("nodes") == 0
        assert nodes[2].client.purge("tag", ["alone"]).state == "applied"
