"""Purging a node that runs as a process: what was answered survives kill -9, and what is damaged is said."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import urllib.request

import pytest

from purge_api.client import Answered, ClientError, PurgeClient
from tests.origins import Origin
from tests.processes import TOKEN, Headland, preamble

pytest.importorskip("_headland", reason="the extension is not built: make develop")

CONFIGURATION = """\
[purge]
allow = ["127.0.0.0/8"]
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = "{origin}"
"""
ROUNDS = int(os.environ.get("HEADLAND_KILL_ROUNDS", "5"))
"""Times that the node is killed; `make kills` asks for 200."""
CLIENTS = 8
ANSWERS = 10


@pytest.fixture
def configuration(tmp_path):
    with Origin() as origin:
        file = tmp_path / "edge.toml"
        file.write_text(preamble(admin=True) + CONFIGURATION.format(origin=origin.url))
        yield file


def node_of(configuration):
    return Headland("serve", "--config", configuration)


def purge_until_killed(node, places, answered):
    """Many clients purge at once; the node is killed as soon as there are enough answers."""
    enough = threading.Semaphore(0)

    def purge(number):
        client = PurgeClient(f"http://{places['admin']}", TOKEN)
        with contextlib.suppress(ClientError):
            for count in range(1_000):
                answered.append(client.purge("tag", [f"tag-{number}-{count}"]).id)
                enough.release()

    threads = [threading.Thread(target=purge, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for _ in range(ANSWERS):
        assert enough.acquire(timeout=20)
    node.signal(signal.SIGKILL)
    for thread in threads:
        thread.join(20)
    node.status()


def test_no_answered_purge_is_lost_by_kill_9(configuration):
    answered: list[str] = []
    for _ in range(ROUNDS):
        before = len(answered)
        with node_of(configuration) as node:
            purge_until_killed(node, node.serving(), answered)
        assert len(answered) >= before + ANSWERS
    with node_of(configuration) as node:
        client = PurgeClient(f"http://{node.serving()['admin']}", TOKEN)
        found = [client.show(purge_id) for purge_id in answered]
        assert len({purge.epoch for purge in found}) == len(answered)
        assert client.purge("all").epoch > max(purge.epoch for purge in found)


def test_a_purge_on_the_data_port_survives_as_well(configuration):
    with node_of(configuration) as node:
        places = node.serving()
        request = urllib.request.Request(f"http://{places['http']}/a", method="PURGE")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        node.signal(signal.SIGKILL)
        node.status()
    with node_of(configuration) as node:
        (kept,) = PurgeClient(f"http://{node.serving()['admin']}", TOKEN).recent()
        assert kept.document["actor"] == "PURGE"
        assert kept.items == (f"http://{places['http']}/a",)


def test_of_a_damaged_journal_nothing_is_believed_and_nothing_older_is_served(configuration):
    disk = '[cache]\ndisk = { path = "tier", size = "64MiB", segment = "16MiB", admission = "always" }\n'
    configuration.write_text(configuration.read_text() + disk)

    def told(places):
        request = urllib.request.Request(f"http://{places['http']}/a", headers={"Host": "a.example"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
            return answer.headers["X-Cache"]

    verdicts = []
    for damaged in (False, False, True):
        if damaged:
            (database,) = configuration.parent.glob("state/**/cache.db")
            with contextlib.closing(sqlite3.connect(database)) as connection, connection:
                connection.execute("UPDATE Cache SET value = x'8004950a'")
        with node_of(configuration) as node:
            places = node.serving()
            verdicts.append(told(places))
            client = PurgeClient(f"http://{places['admin']}", TOKEN)
            newest = next(iter(client.recent(1)), None)
            with urllib.request.urlopen(f"http://{places['admin']}/metrics", timeout=10) as answer:
                assert f"headland_purge_journal_damaged {float(damaged)}" in answer.read().decode()
            client.purge("tag", ["other"])
            node.signal(signal.SIGTERM)
            assert node.status() == 0
            said = node.rest_of("stderr")
            assert damaged == ("is damaged" in said)
    assert verdicts == ["MISS", "HIT", "MISS"], "the second comes from the disk"
    assert (newest.document["type"], newest.document["actor"]) == ("all", "journal")


def test_two_nodes_do_not_share_a_journal(configuration):
    with node_of(configuration) as first:
        first.serving()
        with node_of(configuration) as second:
            assert second.status() == 7
            assert "in use by another node" in second.rest_of("stderr")


def test_the_audit_line_of_a_purge_is_on_standard_error(configuration):
    with node_of(configuration) as node:
        PurgeClient(f"http://{node.serving()['admin']}", TOKEN).purge("tag", ["news"])
        line = node.line("stderr")
        assert '"result":"applied"' in line
        assert '"actor":"ci"' in line
        assert TOKEN not in line


def test_tokens_are_replaced_by_a_reload(configuration):
    secret = configuration.parent / "token"
    secret.write_text("the-first-token")
    text = configuration.read_text()
    configuration.write_text(text.replace('env = "HEADLAND_TOKEN"', 'file = "token"'))
    with node_of(configuration) as node:
        base = f"http://{node.serving()['admin']}"
        first, second = (PurgeClient(base, f"the-{each}-token") for each in ("first", "second"))
        first.purge("tag", ["news"])
        assert node.line("stderr").startswith("{")
        secret.write_text("the-second-token")
        node.signal(signal.SIGHUP)
        assert node.line("stderr").startswith("headland: reloaded ")
        second.purge("tag", ["news"])
        with pytest.raises(Answered, match="not known"):
            first.purge("tag", ["news"])
