"""The disk tier under what disks and operators do to it: the right bytes or a miss, whatever happens."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import urllib.request
from pathlib import Path

import pytest

from purge_api.client import PurgeClient
from tests.faults.disk_node import (
    CONFIGURATION,
    OBJECTS,
    SITES,
    TOKEN,
    Starts,
    all_right,
    body_of,
    get,
    metrics_of,
    stop,
    until,
)
from tests.origins import Origin
from tests.processes import Headland
from tests.security.recording import RawClient
from tests.virtual import VirtualNode

ROUNDS = int(os.environ.get("HEADLAND_KILL_ROUNDS", "8"))
"""How often a node is killed; `make kills` does it 200 times."""


def test_what_memory_has_no_room_for_is_read_from_disk(starts: Starts, origin: Origin) -> None:
    with starts() as node:
        places = node.serving()
        assert all_right(places["http"]) == 0
        assert all_right(places["http"]) > OBJECTS // 4
        assert len(origin.asked) < OBJECTS * 3 // 2


def test_a_large_response_is_sent_as_it_is_read_and_kept_when_memory_has_room(starts: Starts, origin: Origin) -> None:
    body = body_of("/large") * 20
    with starts() as node:
        with RawClient(node.serving()["http"]) as client:
            assert get(client, "/large")[2] == body
        stop(node)
    with starts() as node:
        places = node.serving()
        with RawClient(places["http"]) as leaving:
            leaving.send(b"GET /large HTTP/1.1\r\nHost: a.example\r\nRange: bytes=9-\r\n\r\n")
            leaving.until(b"\r\n\r\n")
        with RawClient(places["http"]) as client:
            part = get(client, "/large", fields="Range: bytes=300000-2000000\r\n")
            assert (part[0], part[2]) == (206, body[300_000:2_000_001])
            assert get(client, "/large", fields='If-None-Match: "/large"\r\n')[0] == 304
            told, whole = get(client, "/large")[1:]
            assert "detail=disk" in told
            assert whole == body
            until(lambda: "detail=disk" not in get(client, "/large")[1])
        assert len(origin.asked) == 1


def test_a_large_response_that_is_read_once_pushes_nothing_out_of_memory(starts: Starts, origin: Origin) -> None:
    with starts() as node:
        with RawClient(node.serving()["http"]) as client:
            get(client, "/large")
        stop(node)
    with starts() as node:
        places = node.serving()
        all_right(places["http"])
        with RawClient(places["http"]) as client:
            for _ in range(2):
                assert "detail=disk" in get(client, "/large")[1]
                # What the first might leave to be done is done by then: a worker takes its tasks in turn.
                for number in range(OBJECTS - 20, OBJECTS):
                    get(client, f"/{number}")


def test_a_restart_begins_warm_and_ages_go_on(starts: Starts, origin: Origin) -> None:
    with starts() as node:
        all_right(node.serving()["http"])
        stop(node)
    asked = len(origin.asked)
    with starts() as node:
        assert all_right(node.serving()["http"]) > OBJECTS * 3 // 4
    assert len(origin.asked) - asked < OBJECTS // 4


def test_only_what_was_asked_for_again_is_written_on_second_hit(starts: Starts, origin: Origin) -> None:
    with starts("second-hit") as node:
        places = node.serving()
        with RawClient(places["http"]) as client:
            for _ in range(5):
                get(client, "/popular")
            for number in range(OBJECTS):
                get(client, f"/{number}")
        stop(node)
    with starts("second-hit") as node, RawClient(node.serving()["http"]) as client:
        assert get(client, "/popular")[1].startswith("hit")
        assert "uri-miss" in get(client, "/0")[1]


def test_what_memory_held_comes_back_first(starts: Starts, origin: Origin) -> None:
    with starts("second-hit") as node, RawClient(node.serving()["http"]) as client:
        for _ in range(3):
            get(client, "/popular")
        get(client, "/once")
        stop(node)
    with starts("second-hit") as node:
        places = node.serving()
        until(lambda: metrics_of(places)['store_objects{tier="memory"}'] == 1)
        with RawClient(places["http"]) as client:
            told = get(client, "/popular")[1]
            assert told.startswith("hit")
            assert "disk" not in told


def test_what_was_purged_or_changed_does_not_come_back_after_a_restart(starts: Starts, origin: Origin) -> None:
    with starts() as node:
        places = node.serving()
        all_right(places["http"], 20)
        PurgeClient(f"http://{places['admin']}", TOKEN).purge("url", ["http://a.example/1"])
        with RawClient(places["http"]) as client:
            assert get(client, "/2", "POST")[0] == 200
        stop(node)
    with starts() as node, RawClient(node.serving()["http"]) as client:
        for target, word in (("/1", "fwd="), ("/2", "fwd="), ("/3", "hit")):
            assert get(client, target)[1].startswith(word), target


def test_a_purge_after_a_restart_reaches_what_was_stored_before(starts: Starts, origin: Origin) -> None:
    with starts() as node:
        places = node.serving()
        PurgeClient(f"http://{places['admin']}", TOKEN).purge("tag", ["unrelated"])
        all_right(places["http"], 5)
        stop(node)
    with starts() as node:
        places = node.serving()
        PurgeClient(f"http://{places['admin']}", TOKEN).purge("host", ["a.example"])
        with RawClient(places["http"]) as client:
            assert get(client, "/1")[1].startswith("fwd=")


def test_a_node_that_is_killed_under_load_never_gives_a_wrong_byte(starts: Starts, origin: Origin) -> None:
    choice = random.Random(5)  # noqa: S311 - the same moments in every run
    for _ in range(ROUNDS):
        with starts() as node:
            address, last = node.serving()["http"], choice.randrange(20, 300)
            answered: list[str] = []
            loads = [threading.Thread(target=_load, args=(address, choice.randrange(1000), answered)) for _ in range(3)]
            for load in loads:
                load.start()
            _wait_for(answered, last)
            node.process.send_signal(signal.SIGKILL)
            for load in loads:
                load.join()
    with starts() as node:
        places = node.serving()
        assert all_right(places["http"]) > 0
        assert metrics_of(places)['disk_errors_total{kind="read"}'] == 0


def _wait_for(answered: list[str], count: int) -> None:
    until(lambda: len(answered) >= count)


def _load(address: str, seed: int, answered: list[str]) -> None:
    choice = random.Random(seed)  # noqa: S311 - the same load in every run
    with RawClient(address) as client:
        while True:
            target = f"/{choice.randrange(OBJECTS)}"
            status, _, body = get(client, target)
            if status == 0 or len(body) < 1000:
                return
            assert body_of(target).startswith(body), target
            answered.append(target)


def test_flipped_bits_and_torn_tails_are_misses(starts: Starts, origin: Origin, tmp_path: Path) -> None:
    with starts() as node:
        all_right(node.serving()["http"])
        stop(node)
    choice = random.Random(6)  # noqa: S311 - the same places in every run
    for file in (tmp_path / "disk").glob("*.segment"):
        content = bytearray(file.read_bytes())
        for _ in range(40):
            content[choice.randrange(8, len(content))] ^= 1 << choice.randrange(8)
        file.write_bytes(content[: choice.randrange(len(content) // 2, len(content))])
    with starts() as node:
        places = node.serving()
        assert all_right(places["http"]) > 0
        assert all_right(places["http"]) > 0
        assert metrics_of(places)['disk_errors_total{kind="damaged"}'] > 0


def test_segments_that_are_deleted_under_a_running_node_do_no_harm(
    starts: Starts, origin: Origin, tmp_path: Path
) -> None:
    with starts() as node:
        places = node.serving()
        all_right(places["http"])
        for file in (tmp_path / "disk").glob("*.segment"):
            file.unlink()
        for _ in range(3):
            all_right(places["http"])
        assert node.process.poll() is None


def test_a_second_node_is_refused(starts: Starts, origin: Origin, tmp_path: Path) -> None:
    with starts() as first:
        first.serving()
        second = tmp_path / "second.toml"
        text = (tmp_path / "edge.toml").read_text().replace('"state"', '"state2"')
        second.write_text(text)
        with Headland("serve", "--config", second, HEADLAND_TOKEN=TOKEN) as node:
            assert node.process.wait(30) != 0
            assert "another node has it" in node.rest_of("stderr")


def test_a_full_disk_takes_the_tier_out_of_service_and_nothing_else(
    starts: Starts, origin: Origin, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=4m", "none", str(small)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with starts(disk=str(small)) as node:
            places = node.serving()
            all_right(places["http"])
            until(lambda: metrics_of(places)['disk_in_service{for="writing"}'] == 0)
            all_right(places["http"])
            assert metrics_of(places)['disk_errors_total{kind="write"}'] == 1
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_what_comes_from_the_future_is_a_miss(origin: Origin, tmp_path: Path) -> None:
    text = (
        CONFIGURATION.replace("ORIGIN", origin.url)
        .replace("ADMISSION", "always")
        .replace("DISK", "disk")
        .replace("SITES", SITES)
    )
    text = re.sub(r"\[admin\].*?(?=\[cache\])", '[admin]\nlisten = "off"\n', text, flags=re.DOTALL)
    with VirtualNode(text, tmp_path) as node, RawClient(node.address) as client:
        node.advance(3600)
        assert "stored" in get(client, "/1")[1]
    with VirtualNode(text, tmp_path) as node, RawClient(node.address) as client:
        assert get(client, "/1")[1].startswith("fwd=")
    with VirtualNode(text, tmp_path) as node, RawClient(node.address) as client:
        node.advance(60)
        assert get(client, "/1")[1].startswith("hit; ttl=35")


def test_explain_says_that_it_may_be_on_disk(starts: Starts, origin: Origin) -> None:
    with starts() as node:
        all_right(node.serving()["http"], 3)
        stop(node)
    with starts() as node:
        places = node.serving()
        request = urllib.request.Request(
            f"http://{places['admin']}/v1/explain?url=http://a.example/1", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["on_disk"] is True
