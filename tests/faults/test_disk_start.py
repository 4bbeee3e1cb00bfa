"""Starts of a node with a disk tier: its index comes from a snapshot that may be damaged, old or of something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from purge_api.client import PurgeClient
from tests.faults.disk_node import OBJECTS, TOKEN, Starts, all_right, get, metrics_of, stop, until
from tests.security.recording import RawClient

LOADING = "disk_index_loading"


def _flipped(at: int) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        place = at % len(content)
        return content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :]

    return flip


HARMS: dict[str, Callable[[bytes], bytes]] = {
    "a bit at its beginning": _flipped(17),
    "a bit in its list of segments": _flipped(60),
    "a bit in an entry": _flipped(-200),
    "a bit at its end": _flipped(-1),
    "half of it is missing": lambda content: content[: len(content) // 2],
    "it is empty": lambda _: b"",
    "something follows": lambda content: content + b"\0" * 64,
}


def _loaded(places: dict[str, str]) -> None:
    until(lambda: metrics_of(places)[LOADING] == 0)


def test_an_orderly_end_leaves_a_snapshot_that_is_used_once(starts: Starts, tmp_path: Path) -> None:
    snapshot = tmp_path / "disk" / "index"
    with starts() as node:
        all_right(node.serving()["http"])
        assert not snapshot.exists()
        stop(node)
    assert snapshot.exists()
    with starts() as node:
        places = node.serving()
        _loaded(places)
        assert not snapshot.exists()
        assert all_right(places["http"]) > OBJECTS * 3 // 4
        stop(node)
        assert "snapshot" not in node.rest_of("stderr")


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_snapshot_costs_nothing_but_time(starts: Starts, tmp_path: Path, harm: str) -> None:
    with starts() as node:
        places = node.serving()
        all_right(places["http"])
        with RawClient(places["http"]) as client:
            assert get(client, "/2", "POST")[0] == 200
        PurgeClient(f"http://{places['admin']}", TOKEN).purge("url", ["http://a.example/1"])
        stop(node)
    snapshot = tmp_path / "disk" / "index"
    snapshot.write_bytes(HARMS[harm](snapshot.read_bytes()))
    with starts() as node:
        places = node.serving()
        _loaded(places)
        with RawClient(places["http"]) as client:
            for target in ("/1", "/2"):
                assert get(client, target)[1].startswith("fwd="), target
        assert all_right(places["http"]) > OBJECTS * 3 // 4
        stop(node)
        assert ("snapshot of the index is damaged" in node.rest_of("stderr")) == (harm != "something follows")


def test_a_snapshot_of_another_time_is_not_believed(starts: Starts, tmp_path: Path) -> None:
    snapshot = tmp_path / "disk" / "index"
    with starts() as node:
        all_right(node.serving()["http"], OBJECTS // 2)
        stop(node)
    old = snapshot.read_bytes()
    with starts() as node:
        places = node.serving()
        _loaded(places)
        with RawClient(places["http"]) as client:
            assert get(client, "/2", "POST")[0] == 200
        all_right(places["http"])
        stop(node)
    snapshot.write_bytes(old)
    with starts() as node:
        places = node.serving()
        _loaded(places)
        assert all_right(places["http"]) > OBJECTS * 3 // 4
        stop(node)
        assert "or of other segments" in node.rest_of("stderr")


def test_after_a_kill_the_end_of_the_run_before_is_not_met_again(starts: Starts, tmp_path: Path) -> None:
    with starts() as node:
        all_right(node.serving()["http"])
        stop(node)
    with starts() as node:
        places = node.serving()
        _loaded(places)
        with RawClient(places["http"]) as client:
            assert get(client, "/2", "POST")[0] == 200
        node.process.kill()
        node.process.wait()
    assert not (tmp_path / "disk" / "index").exists()
    with starts() as node:
        places = node.serving()
        _loaded(places)
        assert all_right(places["http"]) > OBJECTS * 3 // 4
