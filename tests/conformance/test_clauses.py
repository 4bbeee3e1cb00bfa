"""The list of clauses: each is shown by tests that exist, or has a reason, and none gets lost."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CLAUSES: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "clauses.toml").read_text())["clause"]
LEVELS = {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY"}
AT_LEAST = {
    "RFC 9111": 80, "RFC 9110": 44, "RFC 5861": 2, "RFC 8246": 1,
    "RFC 9213": 4, "RFC 9211": 2, "RFC 9209": 1, "RFC 8586": 1,
}  # fmt: skip
"""Clauses that were listed once; a list that shrinks has lost one."""


def test_no_clause_is_lost() -> None:
    counts = Counter(clause["document"] for clause in CLAUSES)
    assert {document: counts[document] for document in AT_LEAST if counts[document] < AT_LEAST[document]} == {}
    assert max(Counter(clause["id"] for clause in CLAUSES).values()) == 1


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause["id"])
def test_a_clause_is_shown_or_excepted(clause: dict[str, Any]) -> None:
    assert clause["level"] in LEVELS
    assert re.fullmatch(r"\d+(\.\d+)*", clause["section"])
    assert clause["says"]
    assert ("shown_by" in clause) != ("exception" in clause)
    assert clause.get("exception", "reason").strip()
    for test in clause.get("shown_by", []):
        path, _, name = test.partition("::")
        text = (ROOT / path).read_text()
        shows = {
            ".rs": rf"^\s*(?:async )?fn {name}\(",
            ".py": rf"^\s*(?:async )?def {name}\(",
            ".yaml": rf"^- name: {re.escape(name)}$",
        }
        assert re.search(shows[Path(path).suffix], text, re.MULTILINE), test
