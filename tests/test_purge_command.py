"""`headland purge` as a user types it, against a node; and the demonstration of a fleet."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.nats import program
from tests.origins import Origin
from tests.processes import ROOT, TOKEN, Headland, preamble

pytest.importorskip("_headland", reason="the extension is not built: make develop")


@pytest.fixture(scope="module")
def admin(tmp_path_factory):
    directory = tmp_path_factory.mktemp("command")
    file = directory / "edge.toml"
    with Origin() as origin:
        file.write_text(
            f'{preamble(admin=True)}[[site]]\nhosts = ["shop.test", "*.shop.test"]\norigin = "app"\n'
            f'[origin.app]\nservers = "{origin.url}"\n'
        )
        with Headland("serve", "--config", file) as node:
            yield node.serving()["admin"]


def purge(admin, *words, given=""):
    command = [sys.executable, "-m", "edge", "purge", *words, "--admin", admin]
    environment = {"HEADLAND_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=ROOT, input=given, capture_output=True, text=True, env=environment, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["http://a.test/1", "http://a.test/2"], r"purged 2 urls \(\S+\)"),
        (["--path", "http://a.test/1", "--soft"], r"made stale 1 path \(\S+\)"),
        (["--wildcard", "a.test/*.png"], r"purged 1 wildcard \(\S+\)"),
        (["--regex", "*~^/[0-9]+"], r"purged 1 regex \(\S+\)"),
        (["--site", "shop.test"], r"purged 2 sites \(\S+\)"),
        (["--all", "--wait", "1"], r"purged everything \(\S+\)"),
        (["--tag", "a", "--dry-run"], r"0 objects +0 bytes +a"),
    ],
)
def test_each_kind_has_its_word(admin, words, says):
    ran = purge(admin, *words)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.fullmatch(says, ran.stdout.strip())


def test_items_come_from_files_and_standard_input_in_any_number(admin, tmp_path):
    lines = "\n".join(["# all of them", *(f"http://a.test/{number}" for number in range(1_001)), ""])
    ran = purge(admin, "-", given=lines)
    assert ran.returncode == 0
    assert ran.stdout.splitlines()[-1].endswith(", 1,001 so far")
    assert len(ran.stdout.splitlines()) == 3
    file = tmp_path / "tags"
    file.write_text("a\nb\n")
    assert purge(admin, "--type", "tag", "--file", str(file)).stdout.startswith("purged 2 tags")


@pytest.mark.parametrize(
    ("words", "given", "status", "says"),
    [
        (["nonsense"], "", 5, "item 0 is refused"),
        (["nonsense", "http://a.test/", "--partial"], "", 8, "1 item refused"),
        (["-"], "", 2, "nothing to purge"),
        (["--file", "/nowhere"], "", 2, "No such file"),
    ],
)
def test_the_exit_status_says_how_it_went(admin, words, given, status, says):
    ran = purge(admin, *words, given=given)
    assert ran.returncode == status
    assert says in ran.stderr


def test_a_node_that_does_not_answer_is_told_apart(admin):
    assert purge("127.0.0.1:1", "http://a.test/").returncode == 4


def test_the_fleet_demo_serves_and_what_it_proposes_works():
    program()
    with Headland("fleet", "demo", "--nodes", "2") as demo:
        addresses = [re.findall(r"http on (\S+?),", demo.line("stdout"))[0] for _ in range(2)]
        for _ in range(2):
            with urllib.request.urlopen(f"http://{addresses[1]}/gallery", timeout=10) as answer:
                answer.read()
                last = answer.headers["X-Cache"]
        assert last == "HIT"
        line = ""
        while "--wait" not in line:
            line = demo.line("stdout")
        token, admin = re.findall(r"HEADLAND_TOKEN=(\S+) .* --admin (\S+)", line)[0]
        words = [sys.executable, "-m", "edge", "purge", "--all", "--wait", "--admin", admin]
        ran = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, env={"HEADLAND_TOKEN": token}, check=False
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        with urllib.request.urlopen(f"http://{addresses[1]}/gallery", timeout=10) as answer:
            assert answer.headers["X-Cache"] == "MISS"
        demo.signal(signal.SIGINT)
        assert demo.status() == 0
