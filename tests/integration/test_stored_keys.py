"""What a purge or a POST makes invalid was stored for a GET, so it is found by the key that the rules give a GET."""

import urllib.request

import pytest

from tests.origins import Origin
from tests.processes import Headland, preamble

CONFIG = """\
[purge]
allow = ["127.0.0.0/8"]
[[site]]
hosts = "*"
origin = "app"
[[site.rule]]
method = "GET"
key = {{ query_drop = ["utm"] }}
[origin.app]
servers = "{origin}"
"""
WAIT_S = 10.0


@pytest.fixture
def node(tmp_path):
    with Origin(lambda _target: (200, {"Cache-Control": "max-age=60"}, b"page")) as origin:
        file = tmp_path / "edge.toml"
        file.write_text(preamble(admin=True) + CONFIG.format(origin=origin.url))
        with Headland("serve", "--config", file) as headland:
            yield headland.serving()["http"]


def outcome(node: str, target: str, method: str = "GET") -> str:
    request = urllib.request.Request(f"http://{node}{target}", method=method)
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        # Who has read all of an answer can rely on its being stored.
        answer.read()
        return answer.headers["Cache-Status"]


def test_a_purge_with_a_parameter_that_is_not_keyed_finds_the_page(node):
    assert "fwd=uri-miss" in outcome(node, "/a?x=1&utm=one")
    assert "; hit" in outcome(node, "/a?x=1&utm=two")
    outcome(node, "/a?x=1&utm=three", "PURGE")
    assert "purged" in outcome(node, "/a?x=1&utm=four")


def test_a_purge_of_another_keyed_parameter_leaves_the_page(node):
    outcome(node, "/a?x=1")
    outcome(node, "/a?x=2", "PURGE")
    assert "; hit" in outcome(node, "/a?x=1")


def test_a_post_invalidates_what_a_rule_for_get_keyed(node):
    outcome(node, "/a?x=1&utm=one")
    assert "; hit" in outcome(node, "/a?x=1&utm=two")
    outcome(node, "/a?x=1&utm=three", "POST")
    assert "fwd=uri-miss" in outcome(node, "/a?x=1&utm=four")
