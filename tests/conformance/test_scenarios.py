"""Every scenario of `scenarios/*.yaml` and `tests/regressions/*.yaml`, over every version of HTTP, against one node."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

pytest.importorskip("_headland", reason="the extension is not built: make develop")

from tests import certificates
from tests.conformance.scenario import DIRECTORY, Run, load
from tests.processes import preamble
from tests.quic_client import client_of
from tests.scripted import ScriptedOrigin
from tests.virtual import VirtualNode

REGRESSIONS = Path(__file__).parents[1] / "regressions"
SCENARIOS = load(DIRECTORY) + load(REGRESSIONS)
SCENARIOS_MIN = 120
CONFIGURATION = """\
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = "{origin}"
[origin.app.ejection]
failures = 0
[origin.app.retries]
attempts = 1
"""
_numbers = itertools.count()


@pytest.fixture(scope="module")
def origin():
    with ScriptedOrigin() as running:
        yield running


@pytest.fixture(scope="module")
def node(origin, tmp_path_factory):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    directory = tmp_path_factory.mktemp("virtual")
    secure = certificates.make(directory, "a.example")
    text = preamble(secure=secure, workers=1) + CONFIGURATION.format(origin=origin.url)
    with VirtualNode(text, directory) as running:
        yield running


@pytest.mark.parametrize("version", ["h1", "h2", "h3"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: f"{each['topic']}: {each['name']}")
def test_scenario(scenario, version, node, origin):
    Run(scenario, node, origin, client_of(node.places, version), f"/{next(_numbers)}").run()


def test_no_scenario_is_lost():
    names = [(each["topic"], each["name"]) for each in SCENARIOS]
    assert len(set(names)) == len(names) >= SCENARIOS_MIN
    assert all(each["says"] and each["steps"] for each in SCENARIOS)
