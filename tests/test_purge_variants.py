"""Purging one variant of a URL: only what a request with the named header fields would get is gone."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from purge_api.client import Answered, PurgeClient
from tests.curls import VERSIONS
from tests.origins import Origin
from tests.processes import ROOT, TOKEN, Headland, preamble
from tests.scenarios.test_partial_content import Source
from tests.scripted import ScriptedOrigin
from tests.waiting import until

pytest.importorskip("_headland", reason="the extension is not built: make develop")

BODY = b"x" * 20_000
CONFIGURATION = """\
[cache]
disk = {{ path = "tier", size = "64MiB", segment = "16MiB", admission = "always" }}
[[site]]
hosts = ["plain.test", "coded.test"]
origin = "app"
[[site]]
hosts = "tongues.test"
origin = "app"
[[site.rule]]
languages = ["en", "de"]
[origin.app]
servers = "{origin}"
"""


def answer(target):
    vary = {"/both": "Accept-Language, Accept-Encoding", "/none": ""}.get(target, "Accept-Language")
    fields = {"Cache-Control": "max-age=600", "Content-Type": "text/plain", "ETag": '"1"'}
    return 200, fields | ({"Vary": vary} if vary else {}), BODY


@pytest.fixture
def configuration(tmp_path):
    with Origin(answer) as origin:
        file = tmp_path / "edge.toml"
        file.write_text(preamble(admin=True) + CONFIGURATION.format(origin=origin.url))
        yield file


class Node:
    """A node as a process, what it tells clients, and a client for its purges."""

    def __init__(self, configuration):
        self.process = Headland("serve", "--config", configuration)

    def __enter__(self):
        self.process.__enter__()
        self.places = self.process.serving()
        self.client = PurgeClient(f"http://{self.places['admin']}", TOKEN)
        return self

    def __exit__(self, *error):
        self.process.__exit__(*error)

    def get(self, url, language=None, version="h1", *more):
        """The word in X-Cache for a GET in this language."""
        fields = () if language is None else ("-H", f"Accept-Language: {language}")
        address = ("--connect-to", f"::{self.places['http']}")
        command = ["curl", "-s", VERSIONS[version], "-o", "/dev/null", "-D", "-", *address, *fields, *more, url]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        lines = dict(line.lower().split(": ", 1) for line in said.splitlines() if ": " in line)
        return lines["x-cache"].upper()

    def all(self, url, languages=("de", "en", None), version="h1"):
        return [self.get(url, language, version) for language in languages]

    def stop(self, number=signal.SIGTERM):
        self.process.signal(number)
        self.process.status()


@pytest.fixture
def node(configuration):
    with Node(configuration) as node:
        yield node


@pytest.mark.parametrize("version", VERSIONS)
def test_one_variant_goes_and_the_others_stay(node, version):
    url = "http://plain.test/a"
    assert node.all(url, version=version) == ["MISS"] * 3
    purge = node.client.purge("url", [url], headers={"Accept-Language": "de"})
    assert purge.document["headers"] == {"accept-language": "de"}
    assert node.all(url, version=version) == ["MISS", "HIT", "HIT"]
    node.client.purge("url", [url], headers={"accept-language": None})
    assert node.all(url, version=version) == ["HIT", "HIT", "MISS"]
    node.client.purge("url", [url])
    assert node.all(url, version=version) == ["MISS"] * 3


def test_a_soft_purge_makes_one_variant_stale(node):
    url = "http://plain.test/a"
    node.all(url)
    node.client.purge("url", [url], headers={"accept-language": "de"}, soft=True)
    assert node.get(url, "en") == "HIT"
    assert node.get(url, "de") != "HIT"


def test_every_field_in_vary_counts_and_no_other(node):
    url = "http://plain.test/both"
    coded = ("-H", "Accept-Encoding: br")
    variants = [("de", "h1", *coded), ("de",), ("en", "h1", *coded)]
    assert [node.get(url, *each) for each in variants] == ["MISS"] * 3
    node.client.purge("url", [url], headers={"accept-language": "de", "accept-encoding": "br", "x-other": "1"})
    assert [node.get(url, *each) for each in variants] == ["MISS", "HIT", "HIT"]


def test_without_vary_there_is_one_variant(node):
    url = "http://plain.test/none"
    node.get(url)
    node.client.purge("url", [url], headers={"accept-language": "fr"})
    assert node.get(url) == "MISS"


def test_fields_are_taken_as_the_rules_of_the_site_leave_them(node):
    url = "http://tongues.test/a"
    assert node.all(url, ("de-CH, fr;q=0.5", "en")) == ["MISS", "MISS"]
    purge = node.client.purge("url", [url], headers={"accept-language": "fr;q=0.9, de-AT"})
    assert purge.document["headers"] == {"accept-language": "de"}
    assert node.all(url, ("de", "en")) == ["MISS", "HIT"]
    with pytest.raises(Answered, match="one by one"):
        node.client.purge("url", ["http://plain.test/a", url], headers={"accept-language": "fr, de-AT"})


def test_the_disk_gives_back_the_others_alone(configuration):
    url = "http://plain.test/a"
    with Node(configuration) as node:
        node.all(url)
        node.stop()
    with Node(configuration) as node:
        node.client.purge("url", [url], headers={"accept-language": "de"})
        assert node.all(url) == ["MISS", "HIT", "HIT"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_selection_is_in_force_again_after_a_restart(configuration, number):
    url = "http://plain.test/a"
    with Node(configuration) as node:
        node.all(url)
        node.stop()
    with Node(configuration) as node:
        purge = node.client.purge("url", [url], headers={"accept-language": "de"})
        node.stop(number)
    with Node(configuration) as node:
        assert node.client.show(purge.id).document["headers"] == {"accept-language": "de"}
        assert node.all(url) == ["MISS", "HIT", "HIT"]


def test_a_dry_run_counts_one_variant(node):
    url = "http://plain.test/a"
    node.all(url)
    counted = [
        node.client.dry_run("url", [url], headers=headers)[0]["objects"]
        for headers in ({"accept-language": "de"}, {"accept-language": "fr"}, None)
    ]
    assert counted == [1, 0, 3]
    assert node.all(url) == ["HIT"] * 3


def test_parts_go_with_their_variant_alone(tmp_path):
    """What a large response is stored in belongs to its variant, too."""
    part = 1 << 20
    with ScriptedOrigin() as origin:
        source = Source(bytes(3 * part), Vary="Accept-Language")
        origin.at("/large", source)
        file = tmp_path / "edge.toml"
        file.write_text(preamble(admin=True) + CONFIGURATION.format(origin=origin.url))
        with Node(file) as node:
            url = "http://plain.test/large"

            def ask(language):
                return node.get(url, language, "h1", "-H", f"Range: bytes=0-{2 * part - 1}")

            def counted(**fields):
                return node.client.dry_run("url", [url], **fields)[0]["objects"]

            assert [ask("de"), ask("en")] == ["MISS", "MISS"]
            # A head and two parts each; the last part may still be on its way into the store.
            until(lambda: counted() == 6)
            given = source.given
            assert counted(headers={"accept-language": "de"}) == 3
            node.client.purge("url", [url], headers={"accept-language": "de"})
            assert (ask("en"), source.given) == ("HIT", given)
            assert (ask("de"), source.given) == ("MISS", given + 2 * part)


def test_the_command_names_header_fields(node):
    url = "http://plain.test/a"
    node.all(url)

    def purge(*words):
        command = [sys.executable, "-m", "edge", "purge", *words, "--admin", node.places["admin"]]
        environment = {"HEADLAND_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=60, check=False
        )

    assert "1 objects" in purge(url, "-H", "Accept-Language: de", "--dry-run").stdout
    assert purge(url, "--header", "Accept-Language: de").returncode == 0
    assert purge(url, "--header", "Accept-Language:").returncode == 0
    assert node.all(url) == ["MISS", "HIT", "MISS"]
    refused = purge("--tag", "a", "-H", "Accept-Language: de")
    assert (refused.returncode, "mean nothing for type tag" in refused.stderr) == (5, True)
    assert purge(url, "-H", "Accept-Language").returncode == 2
