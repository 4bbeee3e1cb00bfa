"""Scenarios as data: what a client sends, what the origin answers, the virtual time between, and what must come of it.

Each scenario of `scenarios/*.yaml` has `name`, `says` (the clause), `origin` (its answers in order, the last for all
that follow) and `steps`. An answer has `status` (200), `fields` and `body` (the number of the request, from 1), or is
`cut: true`: the connection breaks before the head, or `cut: body`: before the last byte. A step has `method`, `path` (a
suffix), `send` (fields), `body` and `after` (virtual seconds before it), and `expect`:

    broken                whether the transfer broke off; it must not have where nothing is said
    status, body          equal; the status is 200 where nothing is said
    cache                 our member of Cache-Status begins with this
    age                   seconds, one more allowed
    fields, absent        names in lower case: values, or names that must not be there
    asked                 requests that the origin has got in the scenario so far
    carried, carried_not  fields of the origin's latest request: values, or names that must not be there

`{now-60}` in a field is the node's time less 60 seconds as an HTTP-date; `{start+5}` counts from the beginning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import yaml

from tests.curls import Answer, Client
from tests.scripted import Exchange, ScriptedOrigin
from tests.virtual import VirtualNode

DIRECTORY = Path(__file__).parent / "scenarios"
STEP_WORDS = {"method", "path", "send", "body", "after", "expect"}
EXPECT_WORDS = {"broken", "status", "body", "cache", "age", "fields", "absent", "asked", "carried", "carried_not"}
ANSWER_WORDS = {"status", "fields", "body", "cut"}


def load(directory: Path) -> list[dict[str, Any]]:
    """All scenarios of a directory, with `topic` from the file's name."""
    files = sorted(directory.glob("*.yaml"))
    return [{"topic": file.stem, **each} for file in files for each in yaml.safe_load(file.read_text())]


@dataclass
class Run:
    """One scenario against a node, at a path of its own."""

    scenario: dict[str, Any]
    node: VirtualNode
    origin: ScriptedOrigin
    client: Client
    path: str
    start_s: int = 0
    got: list[Exchange] = field(default_factory=list)

    def run(self) -> None:
        """All steps, with what is expected of each."""
        self.start_s = self.node.now_s()
        for suffix in {step.get("path", "") for step in self.scenario["steps"]}:
            self.origin.at((self.path + suffix).split("?")[0], self._answer)
        for number, step in enumerate(self.scenario["steps"], 1):
            assert step.keys() <= STEP_WORDS, step
            self.node.advance(step.get("after", 0))
            self._check(self._ask(step), step.get("expect", {}), f"step {number}: {step}")

    def _answer(self, exchange: Exchange) -> None:
        self.got.append(exchange)
        answers = self.scenario.get("origin", [{}])
        answer = answers[min(len(self.got), len(answers)) - 1]
        assert answer.keys() <= ANSWER_WORDS, answer
        if answer.get("cut") is True:
            exchange.cut()
            return
        fields = [tuple(self._dated(line).split(": ", 1)) for line in answer.get("fields", [])]
        status = answer.get("status", 200)
        body = "" if status in {204, 304} else answer.get("body", str(len(self.got)))
        if answer.get("cut") == "body":
            exchange.begin(status, fields, len(body) + 1)  # type: ignore[arg-type]
            exchange.send(body.encode())
            exchange.cut()
            return
        exchange.answer(status, fields, body)  # type: ignore[arg-type]

    def _ask(self, step: dict[str, Any]) -> Answer:
        fields = [self._dated(line) for line in step.get("send", [])]
        path = self.path + step.get("path", "")
        return self.client.get(path, *fields, method=step.get("method"), body=step.get("body"))

    def _dated(self, text: str) -> str:
        def date(match: re.Match[str]) -> str:
            base = self.start_s if match[1] == "start" else self.node.now_s()
            return formatdate(base + int(match[2] or 0), usegmt=True)

        return re.sub(r"\{(now|start)([+-]\d+)?\}", date, text).replace("{path}", self.path)

    def _check(self, answer: Answer, expect: dict[str, Any], where: str) -> None:
        assert expect.keys() <= EXPECT_WORDS, where
        seen = f"{where}\n{answer}"
        assert (answer.ended != 0) == expect.get("broken", False), seen
        if answer.ended:
            return
        assert answer.status == expect.get("status", 200), seen
        if "body" in expect:
            assert answer.body == str(expect["body"]).encode(), seen
        if "cache" in expect:
            assert answer.cache.startswith(expect["cache"]), seen
        if "age" in expect:
            assert expect["age"] <= answer.age <= expect["age"] + 1, seen
        for name, value in expect.get("fields", {}).items():
            assert answer.headers.get(name) == self._dated(str(value)), f"{name}: {seen}"
        for name in expect.get("absent", []):
            assert name not in answer.headers, f"{name}: {seen}"
        if "asked" in expect:
            assert len(self.got) == expect["asked"], seen
        for name, value in expect.get("carried", {}).items():
            assert self.got[-1].headers.get(name) == self._dated(str(value)), f"carried {name}: {seen}"
        for name in expect.get("carried_not", []):
            assert self.got[-1].headers.get(name) is None, f"carried {name}: {seen}"
