"""Three nodes and a real message server: what one purges, all purge, whoever was away meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sqlite3
import urllib.request

import pytest

from purge_api.async_client import AsyncPurgeClient
from purge_api.client import PurgeClient
from purge_api.fleet.nats import PRESENCE_S
from tests.nats import NatsServer
from tests.origins import Origin
from tests.processes import TOKEN, Headland
from tests.waiting import until

pytest.importorskip("_headland", reason="the extension is not built: make develop")

NODES = ("pop1", "pop2", "pop3")
CONFIGURATION = """\
[node]
name = "{name}"
workers = 1
[listen]
http = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
state_dir = "state-{name}"
tokens = [{{ name = "ci", env = "HEADLAND_TOKEN", scope = ["purge", "read"] }}]
[purge]
allow = ["127.0.0.0/8"]
[fleet]
servers = "{bus}"
{more}
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = "{origin}"
"""


class Node:
    """A node of the fleet, which may be ended and started again."""

    def __init__(self, directory, name, bus, origin, more=""):
        self.name = name
        self.state = directory / f"state-{name}"
        self._file = directory / f"{name}.toml"
        self._file.write_text(CONFIGURATION.format(name=name, bus=bus, origin=origin, more=more))
        self.process = None

    def start(self):
        self.process = Headland("serve", "--config", self._file)
        self.process.__enter__()
        places = self.process.serving()
        self.http = f"http://{places['http']}"
        self.client = PurgeClient(f"http://{places['admin']}", TOKEN)
        self.admin = f"http://{places['admin']}"
        return self

    def stop(self, number=signal.SIGTERM):
        if self.process is not None:
            self.process.signal(number)
            self.process.status()
            self.process.__exit__(None, None, None)
            self.process = None

    def get(self, path):
        with urllib.request.urlopen(f"{self.http}{path}", timeout=10) as answer:
            answer.read()
            return answer.headers["X-Cache"]

    def has(self, purge_id):
        return any(purge.id == purge_id for purge in self.client.recent(1_000))

    def metric(self, name):
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        names = (f"headland_fleet_{name} ", f"headland_fleet_{name}_total ")
        return float(next(line for line in lines if line.startswith(names)).split()[1])


def varied(target):
    return 200, {"Cache-Control": "max-age=60", "Vary": "Accept-Language"}, target.encode()


@pytest.fixture
def bus(tmp_path):
    directory = tmp_path / "bus"
    directory.mkdir()
    with NatsServer(directory) as server:
        yield server


@pytest.fixture
def fleet(tmp_path, bus):
    with Origin(varied) as origin, contextlib.ExitStack() as ended:
        nodes = [Node(tmp_path, name, bus.url, origin.url) for name in NODES]
        for node in nodes:
            ended.callback(node.stop, signal.SIGKILL)
            node.start()
        until(lambda: all(node.metric("nodes") == len(NODES) for node in nodes))
        yield nodes


def test_a_purge_of_one_node_is_in_force_on_all(fleet):
    for node in fleet:
        node.get("/a")
        assert node.get("/a") == "HIT"
    purge = fleet[0].client.purge("wildcard", ["*/a"], wait_s=10)
    assert purge.state == "applied"
    assert [(node["name"], node["state"]) for node in purge.document["nodes"]] == [(name, "applied") for name in NODES]
    assert [node.get("/a") for node in fleet] == ["MISS"] * 3
    assert all(node.has(purge.id) for node in fleet)
    shown = fleet[0].client.show(purge.id).document
    assert all(node["received_at"] <= node["applied_at"] for node in shown["nodes"])
    until(lambda: all(node.client.show(purge.id).document["counts"]["nodes"] == 3 for node in fleet))
    assert {node.client.show(purge.id).state for node in fleet} == {"applied"}


def test_a_purge_of_one_variant_is_one_on_all_nodes(fleet):
    def asked(node, tongue):
        request = urllib.request.Request(f"{node.http}/vary", headers={"Accept-Language": tongue})
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
            return answer.headers["X-Cache"]

    for node in fleet:
        assert [asked(node, tongue) for tongue in ("de", "en", "de")] == ["MISS", "MISS", "HIT"]
    purge = fleet[0].client.purge("url", [f"{fleet[0].http}/a"], wait_s=10)
    for node in fleet:
        fleet[0].client.purge("url", [f"{node.http}/vary"], headers={"accept-language": "de"}, wait_s=10)
    assert [[asked(node, tongue) for tongue in ("de", "en")] for node in fleet] == [["MISS", "HIT"]] * 3
    assert fleet[1].client.show(fleet[1].client.recent(1)[0].id).document["headers"] == {"accept-language": "de"}
    assert "headers" not in fleet[1].client.show(purge.id).document


def test_a_purge_is_found_by_its_id_on_every_node_long_after(fleet):
    purge = fleet[0].client.purge("tag", ["first"], wait_s=10)

    async def purge_more():
        async with AsyncPurgeClient(fleet[1].admin, TOKEN) as client:
            await asyncio.gather(*(client.purge("tag", [f"t{number}"]) for number in range(1_100)))

    asyncio.run(purge_more())
    until(lambda: not any(node.has(purge.id) for node in fleet))
    for node in fleet:
        assert node.client.show(purge.id).items == ("first",)
    fleet[2].stop()
    fleet[2].start()
    assert fleet[2].client.show(purge.id).state == "applied"


def test_waiting_for_the_fleet_says_who_did_not_apply(fleet):
    fleet[2].process.signal(signal.SIGSTOP)
    purge = fleet[0].client.purge("tag", ["a"], wait_s=0.5)
    assert purge.state == "spreading"
    assert [node["name"] for node in purge.document["nodes"] if node["state"] != "applied"] == ["pop3"]
    fleet[2].process.signal(signal.SIGCONT)
    until(lambda: fleet[0].client.show(purge.id).state == "applied")


def test_a_node_that_ended_is_not_waited_for_once_its_sign_has_run_out(fleet):
    fleet[2].stop(signal.SIGKILL)
    until(lambda: fleet[0].metric("nodes") == 2, 2 * PRESENCE_S)
    purge = fleet[0].client.purge("tag", ["a"], wait_s=10)
    assert purge.document["counts"] == {"items": 1, "nodes": 2, "applied": 2}


def test_a_node_that_was_down_catches_up_before_it_serves(fleet):
    fleet[1].stop(signal.SIGKILL)
    missed = [fleet[0].client.purge("tag", [f"t{number}"]).id for number in range(20)]
    until(lambda: fleet[0].metric("published") == 20)
    fleet[1].start()
    assert {purge.id for purge in fleet[1].client.recent(1_000)} >= set(missed)


def test_nodes_go_on_without_the_bus_and_spread_later_even_over_a_crash(fleet, bus):
    bus.stop()
    first = fleet[0].client.purge("tag", ["first"])
    fleet[0].stop(signal.SIGKILL)
    fleet[0].start()  # without a bus, after its deadline
    second = fleet[0].client.purge("tag", ["second"])
    assert fleet[0].client.show(second.id).state in {"applied", "spreading"}
    bus.start()
    for node in fleet[1:]:
        until(lambda node=node: node.has(first.id) and node.has(second.id))
        kept = [purge.id for purge in node.client.recent(10)]
        assert kept.index(second.id) < kept.index(first.id), "newest first, in the order of the purges"


def test_a_node_that_lost_purges_is_found_and_repaired(fleet):
    lost = fleet[0].client.purge("tag", ["lost"], wait_s=10)
    fleet[1].stop()
    (database,) = fleet[1].state.glob("**/cache.db")
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        assert connection.execute("DELETE FROM Cache WHERE key = (SELECT max(key) FROM Cache)").rowcount == 1
    fleet[1].start()
    assert fleet[1].has(lost.id)
    assert fleet[1].metric("repaired") == 1


def test_a_gap_that_nobody_keeps_empties_the_node(fleet, bus, tmp_path):
    fleet[1].get("/a")
    fleet[1].client.purge("tag", ["x"], wait_s=10)
    fleet[1].stop()
    bus.stop()
    shutil.rmtree(tmp_path / "bus" / "jetstream")
    bus.start()
    fleet[1].start()
    assert fleet[1].client.recent(1)[0].document["type"] == "all"
    assert fleet[1].metric("gaps") == 1
    # Those that ran meanwhile notice it as well, and the fleet is whole again.
    until(lambda: all(node.metric("gaps") == 1 for node in fleet))
    until(lambda: all(node.metric("nodes") == len(NODES) for node in fleet))
    assert fleet[0].client.purge("tag", ["y"], wait_s=10).state == "applied"


def test_what_the_servers_lost_is_given_to_them_again_and_reaches_who_was_away(fleet, bus, tmp_path):
    kept = fleet[0].client.purge("tag", ["kept"], wait_s=10)
    fleet[2].stop()
    bus.stop()
    shutil.copytree(tmp_path / "bus" / "jetstream", tmp_path / "before")
    bus.start()
    lost = [fleet[0].client.purge("tag", [f"lost{number}"]) for number in range(3)]
    until(lambda: all(fleet[1].has(purge.id) for purge in lost))
    bus.stop()
    shutil.rmtree(tmp_path / "bus" / "jetstream")
    shutil.move(tmp_path / "before", tmp_path / "bus" / "jetstream")
    bus.start()
    fleet[2].start()
    until(lambda: all(fleet[2].has(purge.id) for purge in (kept, *lost)))


def test_many_purges_at_a_high_rate_are_applied_once_and_nothing_is_repaired(fleet):
    items = [[f"t{number}"] for number in range(6_000)]

    async def purge_all():
        async with AsyncPurgeClient(fleet[0].admin, TOKEN) as client:
            for first in range(0, len(items), 500):
                await asyncio.gather(*(client.purge("tag", item) for item in items[first : first + 500]))

    asyncio.run(purge_all())
    for node in fleet[1:]:
        until(lambda node=node: node.metric("applied") >= len(items))
    fleet[2].stop()
    fleet[2].start()
    announced = fleet[0].client.purge("tag", ["last"], wait_s=10)
    assert announced.state == "applied"
    assert [node.metric("repaired") for node in fleet] == [0, 0, 0]
    assert fleet[1].metric("applied") == len(items) + 1


def permissions():
    """Users that may publish on subjects of their own name alone."""
    common = '"$KV.>", "$JS.API.>", "$JS.FC.>", "_INBOX.>"'
    users = [
        f'{{ user: "{name}", password: "secret", permissions: '
        f'{{ publish: ["headland.*.{name}", {common}], subscribe: ">" }} }}'
        for name in NODES[:2]
    ]
    return "authorization { users = [\n" + "\n".join(users) + "\n] }\n"


def test_what_a_node_may_not_purge_is_refused_by_the_others(tmp_path):
    peers = """\
[[fleet.peer]]
name = "pop1"
scope = "purge"
[[fleet.peer]]
name = "pop2"
scope = "purge:tag"
"""
    directory = tmp_path / "bus"
    directory.mkdir()
    with (
        NatsServer(directory, configuration=permissions()) as bus,
        Origin() as origin,
        contextlib.ExitStack() as ended,
    ):
        nodes = []
        for name in NODES[:2]:
            node = Node(tmp_path, name, bus.url, origin.url, f'user = "{name}"\npassword_env = "BUS"\n{peers}')
            nodes.append(node)
        for node in nodes:
            ended.callback(node.stop, signal.SIGKILL)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BUS", "secret")
            for node in nodes:
                node.start()
        until(lambda: all(node.metric("nodes") == 2 for node in nodes))
        allowed = nodes[1].client.purge("tag", ["a"], wait_s=10)
        refused = nodes[1].client.purge("all", wait_s=0.5)
        assert (allowed.state, refused.state) == ("applied", "spreading")
        until(lambda: nodes[0].metric("refused") == 1)
        assert nodes[0].has(allowed.id)
        assert not nodes[0].has(refused.id)
