"""`headland cache` on a running node and on the files of one that has stopped."""

from __future__ import annotations

import json
from pathlib import Path

from tests.faults.disk_node import TOKEN, Starts, all_right, get, metrics_of, stop, until
from tests.processes import Headland
from tests.security.recording import RawClient

COUNT = 20


def _told(*words: object, status: int = 0) -> str:
    with Headland("cache", *words, HEADLAND_TOKEN=TOKEN) as command:
        told = command.rest_of("stdout")
        assert command.status() == status, command.rest_of("stderr")
        return told


def _counts(*words: object, status: int = 0) -> dict[str, int]:
    counts: dict[str, int] = json.loads(_told(*words, "--json", status=status))
    return counts


def _filled(places: dict[str, str]) -> None:
    all_right(places["http"], COUNT)
    until(lambda: metrics_of(places)["disk_writes_total"] == COUNT)


def test_a_running_node_and_its_files_tell_the_same(starts: Starts, tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    with starts() as node:
        places = node.serving()
        _filled(places)
        # Without its address it is the configured one, which has no port here.
        at = ("--admin", places["admin"])
        running = json.loads(_told("stat", "--config", config, *at, "--json"))
        urls = {record["url"] for record in json.loads(_told("list", *at, "--json"))["records"]}
        assert _counts("verify", *at)["damaged"] == 0
        stop(node)
    stopped = json.loads(_told("stat", "--config", config, "--json"))
    assert stopped["sites"] == running["sites"] == {"*": {"records": COUNT, "bytes": running["sites"]["*"]["bytes"]}}
    assert sum(each["records"] for each in stopped["ages_s"]) == COUNT
    assert urls == {f"http://a.example/{number}" for number in range(COUNT)}
    table = _told("stat", "--config", config)
    assert f"{tmp_path / 'disk'}  {COUNT}" in table
    assert len(_told("list", "--config", config, "--limit", "3").splitlines()) == 4


def test_what_is_evicted_is_gone_from_every_tier(starts: Starts, tmp_path: Path) -> None:
    with starts() as node:
        places = node.serving()
        _filled(places)
        at = ("--admin", places["admin"])
        assert _counts("evict", "http://a.example/1", "http://a.example/2", *at)["records"] == 2
        with RawClient(places["http"]) as client:
            assert get(client, "/1")[1].startswith("fwd=uri-miss")
            assert get(client, "/3")[1].startswith("hit")
        stop(node)
    config = tmp_path / "edge.toml"
    assert _counts("evict", "http://a.example/3", "--config", config)["records"] == 1
    with starts() as node:
        with RawClient(node.serving()["http"]) as client:
            assert get(client, "/3")[1].startswith("fwd=uri-miss")
            assert "detail=disk" in get(client, "/4")[1]
        stop(node)
    assert _counts("evict", "--host", "b.example", "--config", config)["records"] == 0
    assert _counts("evict", "--host", "a.example", "--config", config)["records"] == COUNT - 1
    assert json.loads(_told("list", "--config", config, "--json"))["records"] == []


def test_verify_counts_what_is_bad_and_drops_it(starts: Starts, tmp_path: Path) -> None:
    with starts() as node:
        _filled(node.serving())
        stop(node)
    segment = next((tmp_path / "disk").glob("*.segment"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    config = tmp_path / "edge.toml"
    counts = _counts("verify", "--config", config, status=8)
    assert (counts["damaged"], counts["records"]) == (1, COUNT - 1)


def test_only_who_may_purge_may_evict(starts: Starts) -> None:
    with starts() as node:
        places = node.serving()
        with Headland("cache", "evict", "--all", "--admin", places["admin"], HEADLAND_TOKEN="another") as command:
            assert command.status() == 5
            assert "evicting needs a token" in command.rest_of("stderr")
