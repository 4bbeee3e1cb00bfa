"""The disk tier under what disks and operators do to it: the right bytes or a miss, whatever happens."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from purge_api.client import PurgeClient
from tests.origins import Answer, Origin
from tests.processes import Headland
from tests.security.recording import RawClient
from tests.virtual import VirtualNode

TOKEN = "a-token-for-tests"
CONFIGURATION = """\
[node]
name = "pop1"
workers = 2
[listen]
http = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
state_dir = "state"
tokens = [{ name = "ci", env = "HEADLAND_TOKEN", scope = ["purge", "read"] }]
[cache]
memory = "16MiB"
disk = { path = "DISK", size = "64MiB", admission = "ADMISSION", segment = "16MiB" }
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = "ORIGIN"
"""
ROUNDS = 8
"""How often a node is killed; 200 by hand."""
OBJECTS = 250
"""Distinct paths, of which memory holds about a quarter."""


def _body(target: str) -> bytes:
    """Up to 200 KB that only this target has."""
    seed = int.from_bytes(hashlib.sha256(target.encode()).digest()[:8], "big")
    return random.Random(seed).randbytes(1000 + seed % 200_000)  # noqa: S311 - the same bytes in every run


def _answer(target: str) -> Answer:
    body = _body(target) * (20 if target == "/large" else 1)
    return 200, {"Cache-Control": "max-age=3600", "ETag": f'"{target}"'}, body


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(_answer) as running:
        yield running


@pytest.fixture
def starts(origin: Origin, tmp_path: Path) -> Callable[..., Headland]:
    """Starts a node with the disk of this test."""

    def start(admission: str = "always", disk: str = "disk") -> Headland:
        file = tmp_path / "edge.toml"
        text = CONFIGURATION.replace("ORIGIN", origin.url).replace("ADMISSION", admission)
        file.write_text(text.replace("DISK", disk))
        return Headland("serve", "--config", file, HEADLAND_TOKEN=TOKEN)

    return start


def _get(client: RawClient, target: str, method: str = "GET", fields: str = "") -> tuple[int, str, bytes]:
    client.send(f"{method} {target} HTTP/1.1\r\nHost: a.example\r\n{fields}Content-Length: 0\r\n\r\n".encode())
    status, head, body = client.answer()
    told = [line for line in head.decode().split("\r\n") if line.lower().startswith("cache-status")]
    return status, told[0].split("pop1; ")[1] if told else "", body


def _all_right(address: str, count: int = OBJECTS) -> int:
    """Asks for everything and compares it; how many came from disk. A transfer that breaks is begun anew."""
    from_disk = 0
    with contextlib.ExitStack() as clients:
        client = clients.enter_context(RawClient(address))
        for number in range(count):
            status, told, body = _get(client, f"/{number}")
            whole = _body(f"/{number}")
            if status == 200 and len(body) < len(whole):
                # A later piece of it was damaged: the connection's end told so.
                client = clients.enter_context(RawClient(address))
                status, told, body = _get(client, f"/{number}")
            assert (status, body) == (200, whole), (number, told)
            from_disk += "detail=disk" in told
    return from_disk


def _disk(places: dict[str, str]) -> dict[str, float]:
    """The metrics of the tier; those of its only disk without their path."""
    request = urllib.request.Request(f"http://{places['admin']}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request) as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#")]
    disk = {re.sub(r',?path="[^"]*"', "", name): float(value) for name, value in lines if "disk" in name}
    return {name.removeprefix("headland_").removesuffix("{}"): value for name, value in disk.items()}


def _stop(node: Headland) -> None:
    """An orderly end."""
    node.signal(signal.SIGTERM)
    assert node.status() == 0


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"


def test_what_memory_has_no_room_for_is_read_from_disk(starts: Callable[..., Headland], origin: Origin) -> None:
    with starts() as node:
        places = node.serving()
        assert _all_right(places["http"]) == 0
        assert _all_right(places["http"]) > OBJECTS // 4
        assert len(origin.asked) < OBJECTS * 3 // 2


def test_a_large_response_is_sent_as_it_is_read_and_kept_when_memory_has_room(
    starts: Callable[..., Headland], origin: Origin
) -> None:
    body = _body("/large") * 20
    with starts() as node:
        with RawClient(node.serving()["http"]) as client:
            assert _get(client, "/large")[2] == body
        _stop(node)
    with starts() as node:
        places = node.serving()
        with RawClient(places["http"]) as leaving:
            leaving.send(b"GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n")
            leaving.until(b"\r\n\r\n")
        with RawClient(places["http"]) as client:
            part = _get(client, "/large", fields="Range: bytes=300000-2000000\r\n")
            assert (part[0], part[2]) == (206, body[300_000:2_000_001])
            assert _get(client, "/large", fields='If-None-Match: "/large"\r\n')[0] == 304
            told, whole = _get(client, "/large")[1:]
            assert "detail=disk" in told
            assert whole == body
            _until(lambda: "detail=disk" not in _get(client, "/large")[1])
        assert len(origin.asked) == 1


def test_a_restart_begins_warm_and_ages_go_on(starts: Callable[..., Headland], origin: Origin) -> None:
    with starts() as node:
        _all_right(node.serving()["http"])
        _stop(node)
    asked = len(origin.asked)
    with starts() as node:
        assert _all_right(node.serving()["http"]) > OBJECTS * 3 // 4
    assert len(origin.asked) - asked < OBJECTS // 4


def test_only_what_was_asked_for_again_is_written_on_second_hit(
    starts: Callable[..., Headland], origin: Origin
) -> None:
    with starts("second-hit") as node:
        places = node.serving()
        with RawClient(places["http"]) as client:
            for _ in range(5):
                _get(client, "/popular")
            for number in range(OBJECTS):
                _get(client, f"/{number}")
        _stop(node)
    with starts("second-hit") as node, RawClient(node.serving()["http"]) as client:
        assert "detail=disk" in _get(client, "/popular")[1]
        assert "uri-miss" in _get(client, "/0")[1]


def test_what_was_purged_or_changed_does_not_come_back_after_a_restart(
    starts: Callable[..., Headland], origin: Origin
) -> None:
    with starts() as node:
        places = node.serving()
        _all_right(places["http"], 20)
        PurgeClient(f"http://{places['admin']}", TOKEN).purge("url", ["http://a.example/1"])
        with RawClient(places["http"]) as client:
            assert _get(client, "/2", "POST")[0] == 200
        _stop(node)
    with starts() as node, RawClient(node.serving()["http"]) as client:
        for target, word in (("/1", "fwd="), ("/2", "fwd="), ("/3", "hit")):
            assert _get(client, target)[1].startswith(word), target


def test_a_purge_after_a_restart_reaches_what_was_stored_before(
    starts: Callable[..., Headland], origin: Origin
) -> None:
    with starts() as node:
        places = node.serving()
        PurgeClient(f"http://{places['admin']}", TOKEN).purge("tag", ["unrelated"])
        _all_right(places["http"], 5)
        _stop(node)
    with starts() as node:
        places = node.serving()
        PurgeClient(f"http://{places['admin']}", TOKEN).purge("host", ["a.example"])
        with RawClient(places["http"]) as client:
            assert _get(client, "/1")[1].startswith("fwd=")


def test_a_node_that_is_killed_under_load_never_gives_a_wrong_byte(
    starts: Callable[..., Headland], origin: Origin
) -> None:
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
        assert _all_right(places["http"]) > 0
        assert _disk(places)['disk_errors_total{kind="read"}'] == 0


def _wait_for(answered: list[str], count: int) -> None:
    _until(lambda: len(answered) >= count)


def _load(address: str, seed: int, answered: list[str]) -> None:
    choice = random.Random(seed)  # noqa: S311 - the same load in every run
    with RawClient(address) as client:
        while True:
            target = f"/{choice.randrange(OBJECTS)}"
            status, _, body = _get(client, target)
            if status == 0 or len(body) < 1000:
                return
            assert _body(target).startswith(body), target
            answered.append(target)


def test_flipped_bits_and_torn_tails_are_misses(
    starts: Callable[..., Headland], origin: Origin, tmp_path: Path
) -> None:
    with starts() as node:
        _all_right(node.serving()["http"])
        _stop(node)
    choice = random.Random(6)  # noqa: S311 - the same places in every run
    for file in (tmp_path / "disk").glob("*.segment"):
        content = bytearray(file.read_bytes())
        for _ in range(40):
            content[choice.randrange(8, len(content))] ^= 1 << choice.randrange(8)
        file.write_bytes(content[: choice.randrange(len(content) // 2, len(content))])
    with starts() as node:
        places = node.serving()
        assert _all_right(places["http"]) > 0
        assert _all_right(places["http"]) > 0
        assert _disk(places)['disk_errors_total{kind="damaged"}'] > 0


def test_segments_that_are_deleted_under_a_running_node_do_no_harm(
    starts: Callable[..., Headland], origin: Origin, tmp_path: Path
) -> None:
    with starts() as node:
        places = node.serving()
        _all_right(places["http"])
        for file in (tmp_path / "disk").glob("*.segment"):
            file.unlink()
        for _ in range(3):
            _all_right(places["http"])
        assert node.process.poll() is None


def test_a_second_node_is_refused(starts: Callable[..., Headland], origin: Origin, tmp_path: Path) -> None:
    with starts() as first:
        first.serving()
        second = tmp_path / "second.toml"
        text = (tmp_path / "edge.toml").read_text().replace('"state"', '"state2"')
        second.write_text(text)
        with Headland("serve", "--config", second, HEADLAND_TOKEN=TOKEN) as node:
            assert node.process.wait(30) != 0
            assert "another node has it" in node.rest_of("stderr")


def test_a_full_disk_takes_the_tier_out_of_service_and_nothing_else(
    starts: Callable[..., Headland], origin: Origin, tmp_path: Path
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
            _all_right(places["http"])
            _until(lambda: _disk(places)['disk_in_service{for="writing"}'] == 0)
            _all_right(places["http"])
            assert _disk(places)['disk_errors_total{kind="write"}'] == 1
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_what_comes_from_the_future_is_a_miss(origin: Origin, tmp_path: Path) -> None:
    text = CONFIGURATION.replace("ORIGIN", origin.url).replace("ADMISSION", "always").replace("DISK", "disk")
    text = re.sub(r"\[admin\].*?(?=\[cache\])", '[admin]\nlisten = "off"\n', text, flags=re.DOTALL)
    with VirtualNode(text, tmp_path) as node, RawClient(node.address) as client:
        node.advance(3600)
        assert "stored" in _get(client, "/1")[1]
    with VirtualNode(text, tmp_path) as node, RawClient(node.address) as client:
        assert _get(client, "/1")[1].startswith("fwd=")
    with VirtualNode(text, tmp_path) as node, RawClient(node.address) as client:
        node.advance(60)
        assert _get(client, "/1")[1].startswith("hit; ttl=35")


def test_explain_says_that_it_may_be_on_disk(starts: Callable[..., Headland], origin: Origin) -> None:
    with starts() as node:
        _all_right(node.serving()["http"], 3)
        _stop(node)
    with starts() as node:
        places = node.serving()
        request = urllib.request.Request(
            f"http://{places['admin']}/v1/explain?url=http://a.example/1", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["on_disk"] is True
