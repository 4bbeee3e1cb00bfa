"""Rules leave when nothing older can be stored, and not before."""

from __future__ import annotations

import pytest

from purge_api.forgetter import Forgetter
from purge_api.journal import Journal
from purge_api.record import Draft
from tests.purging import Context

WAIT_S = 20


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path)


@pytest.fixture
def journal(context):
    journal = Journal(context.state_dir / "purges", context.ledger)
    yield journal
    journal.close()


async def test_rules_are_forgotten_after_a_while_as_far_as_the_node_lets_them(context, journal):
    now_s = 0.0
    forgetter = Forgetter(context, lambda: now_s, after_s=100)
    for number in range(5):
        journal.submit(Draft("tag", (f"t{number}",), False, "ci", "", 0)).result(WAIT_S)
        assert await forgetter.round() == 0
        now_s += 10
    assert context.node.forgotten == []
    now_s = 111
    assert await forgetter.round() == 2, "the marks of 0 s and 10 s are old enough"
    context.node.oldest = 3
    now_s = 1_000
    assert await forgetter.round() == 3
    assert context.node.forgotten == [2, 3]
