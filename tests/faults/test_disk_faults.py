"""Disks that fail under a running node, and what is left of them at the next start."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.broken_disk import BrokenDisk
from tests.faults.disk_node import OBJECTS, Starts, all_right, answer, get, metrics_of, stop, until
from tests.origins import Origin
from tests.security.recording import RawClient

WRITING, READING = 'disk_in_service{for="writing"}', 'disk_in_service{for="reading"}'


def _load_until(places: dict[str, str], holds: Callable[[dict[str, float]], bool]) -> None:
    """Asks for everything again and again, every byte compared, until it holds for the metrics."""

    def holds_after_a_round() -> bool:
        all_right(places["http"])
        return holds(metrics_of(places))

    until(holds_after_a_round)


def test_a_disk_that_turns_read_only_is_still_read(starts: Starts, tmp_path: Path) -> None:
    with BrokenDisk(tmp_path) as disk, starts(disk=str(disk.path / "cache")) as node:
        places = node.serving()
        all_right(places["http"], OBJECTS // 2)
        disk.turn_read_only()
        _load_until(places, lambda metrics: metrics[WRITING] == 0)
        assert all_right(places["http"]) > 0
        assert metrics_of(places)[READING] == 1
        stop(node)
        assert "it is written no more: Read-only file system" in node.rest_of("stderr")


def test_a_disk_whose_reads_and_writes_fail_is_left_alone(starts: Starts, tmp_path: Path) -> None:
    with BrokenDisk(tmp_path) as disk, starts(disk=str(disk.path / "cache")) as node:
        places = node.serving()
        all_right(places["http"])
        disk.fail()
        _load_until(places, lambda metrics: metrics[WRITING] == 0 and metrics[READING] == 0)
        assert all_right(places["http"]) == 0
        assert metrics_of(places)['disk_errors_total{kind="read"}'] >= 16
        stop(node)
        told = node.rest_of("stderr")
        assert "it is read no more: Input/output error" in told
        assert "it is written no more: Input/output error" in told


def test_of_two_disks_the_one_that_fails_is_left_out(starts: Starts, tmp_path: Path) -> None:
    with BrokenDisk(tmp_path) as broken:
        more = f', more = [{{ path = "{broken.path / "cache"}", size = "64MiB" }}]'
        with starts(more=more) as node:
            places = node.serving()
            all_right(places["http"])
            broken.fail()
            for _ in range(4):
                all_right(places["http"])
            assert all_right(places["http"]) > OBJECTS // 10, "the other goes on"
            stop(node)
            assert f"{broken.path / 'cache'}: 16 reads failed in a row" in node.rest_of("stderr")


def test_a_path_that_disappears_is_written_no_more(starts: Starts, tmp_path: Path) -> None:
    with starts() as node:
        places = node.serving()
        all_right(places["http"], OBJECTS // 4)
        shutil.rmtree(tmp_path / "disk")
        _load_until(places, lambda metrics: metrics[WRITING] == 0)
        stop(node)
        assert "it is written no more: No such file or directory" in node.rest_of("stderr")


@pytest.mark.parametrize("tear", ["cut", "zeros", "garbage"])
def test_a_torn_last_write_costs_what_it_tore(starts: Starts, tmp_path: Path, tear: str) -> None:
    with starts() as node:
        places = node.serving()
        all_right(places["http"])
        until(lambda: metrics_of(places)["disk_writes_total"] >= OBJECTS)
        node.process.kill()
        node.process.wait()
    last = max((tmp_path / "disk").glob("*.segment"))
    content = last.read_bytes()
    choice = random.Random(tear)  # noqa: S311 - the same place in every run
    missing = choice.randrange(10, 100_000)
    tail = {"cut": b"", "zeros": bytes(missing), "garbage": choice.randbytes(missing)}[tear]
    last.write_bytes(content[:-missing] + tail)
    with starts() as node:
        assert all_right(node.serving()["http"]) > OBJECTS // 2
        stop(node)
    with starts() as node:
        assert all_right(node.serving()["http"]) > OBJECTS // 2


@pytest.mark.parametrize("place", ["opening", "first record", "footer", "trailer"])
def test_a_flipped_bit_costs_what_it_hit(starts: Starts, tmp_path: Path, place: str) -> None:
    with starts() as node:
        all_right(node.serving()["http"])
        stop(node)
    first = min((tmp_path / "disk").glob("*.segment"))
    content = bytearray(first.read_bytes())
    at = {"opening": 10, "first record": 40, "footer": len(content) - 100, "trailer": len(content) - 20}[place]
    content[at] ^= 4
    first.write_bytes(content)
    with starts() as node:
        found = all_right(node.serving()["http"])
        stop(node)
    # Of about 250, all but those of one file, or all but one.
    assert found > (OBJECTS // 10 if place == "opening" else OBJECTS * 3 // 4), place


def test_a_site_says_what_of_it_is_written(starts: Starts) -> None:
    sites = '[[site]]\nhosts = "{host}"\norigin = "app"\ndisk = "{word}"\n'
    always = sites.format(host="a.example", word="always") + sites.format(host="b.example", word="never")

    def status(client: RawClient, host: str) -> str:
        return get(client, "/1", host=host)[1]

    with starts("second-hit", sites=always) as node, RawClient(node.serving()["http"]) as client:
        for host in ("a.example", "b.example"):
            for _ in range(3):
                status(client, host)
        stop(node)
    with starts("second-hit", sites=always) as node, RawClient(node.serving()["http"]) as client:
        assert status(client, "a.example").startswith("hit")
        assert status(client, "b.example").startswith("fwd=uri-miss")


@pytest.mark.parametrize("place", ["second piece", "in the middle", "last piece"])
@pytest.mark.parametrize("fields", ["", "Range: bytes=1000-\r\n"])
def test_a_bit_that_flipped_behind_the_first_piece_costs_a_fetch_of_the_rest(
    starts: Starts, origin: Origin, tmp_path: Path, place: str, fields: str
) -> None:
    body = answer("/large")[2]
    with starts() as node, RawClient(node.serving()["http"]) as client:
        assert get(client, "/large")[2] == body
        stop(node)
    file = min((tmp_path / "disk").glob("*.segment"))
    content = bytearray(file.read_bytes())
    offset = {"second piece": 140_000, "in the middle": len(body) // 2, "last piece": len(body) - 10}[place]
    content[content.index(body[:1000]) + offset] ^= 1
    file.write_bytes(content)
    with starts() as node:
        places = node.serving()
        until(lambda: not metrics_of(places).get("disk_index_loading"))
        with RawClient(places["http"]) as client:
            for _ in range(2):
                status, _, found = get(client, "/large", fields=fields)
                assert (status, found) == ((206, body[1000:]) if fields else (200, body))
        assert metrics_of(places)['disk_errors_total{kind="damaged"}'] == 1
    assert 2 <= len(origin.asked) <= 3
