"""Nodes as parents of nodes: each page has one parent on whom all agree, and a lost one is bypassed without a storm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.curls import Client
from tests.processes import Headland, preamble
from tests.scripted import ScriptedOrigin, closed_port

SITE = """\
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = [{servers}]
balance = "hash"
{more}
"""
PAGES = [f"/page?{number}" for number in range(24)]


def _get_all(client: Client) -> list[tuple[int, bytes]]:
    answers = [client.get(page, host="site.test") for page in PAGES]
    return [(answer.status, answer.body) for answer in answers]


class Tree:
    """One origin, two shields, and as many edges as are asked for."""

    def __init__(self, directory) -> None:
        self._directory = directory
        self._undo = contextlib.ExitStack()
        self._count = 0
        self.origin = self._undo.enter_context(ScriptedOrigin())
        self.origin.at("/page", lambda it: it.answer(200, {"Cache-Control": "max-age=600"}, it.target))

    def node(self, *servers: str, more: str = "") -> tuple[Headland, str]:
        """A node before these servers, and where it serves."""
        self._count += 1
        file = self._directory / str(self._count) / "edge.toml"
        file.parent.mkdir()
        listed = ", ".join(f'"{server}"' for server in servers)
        file.write_text(preamble(name=f"node{self._count}", workers=1) + SITE.format(servers=listed, more=more))
        node = self._undo.enter_context(Headland("serve", "--config", file))
        return node, node.serving()["http"]

    def close(self) -> None:
        self._undo.close()


@pytest.fixture
def tree(tmp_path) -> Iterator[Tree]:
    pytest.importorskip("_headland", reason="the extension is not built: make develop")
    tree = Tree(tmp_path)
    yield tree
    tree.close()


def test_each_page_is_fetched_once_for_all_edges_and_a_lost_parent_costs_its_own_pages_only(tree):
    shields = [tree.node(tree.origin.url) for _ in range(2)]
    parents = [f"http://{address}" for _, address in shields]
    quick = (
        '[origin.app.retries]\nattempts = 2\nbudget_percent = 100\n[origin.app.ejection]\nfailures = 2\nbase = "10m"'
    )
    whole = [(200, page.encode()) for page in PAGES]
    for _ in range(2):
        assert _get_all(Client(tree.node(*parents, more=quick)[1], "h1")) == whole
    assert len(tree.origin.asked("/page")) == len(PAGES), "both edges agreed on each page's parent"

    lost = shields[0][0]
    lost.process.kill()
    lost.process.wait()
    for _ in range(2):
        assert _get_all(Client(tree.node(*parents, more=quick)[1], "h1")) == whole
    again = len(tree.origin.asked("/page")) - len(PAGES)
    assert 0 < again < len(PAGES), "what the other parent owned is still there; the lost one's pages were fetched once"


def test_nodes_that_ask_each_other_find_out(tree):
    # Two nodes, each the other's parent: the request comes back to the first, which knows its name in CDN-Loop.
    port = closed_port()
    first = tree.node(f"http://127.0.0.1:{port}")[1]
    file = tree._directory / "second.toml"
    text = preamble(name="second", workers=1).replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
    file.write_text(text + SITE.format(servers=f'"http://{first}"', more=""))
    with Headland("serve", "--config", file) as second:
        second.serving()
        answer = Client(first, "h1").get("/page", host="site.test")
    assert answer.status == 508
    assert len(tree.origin.exchanges) == 0
