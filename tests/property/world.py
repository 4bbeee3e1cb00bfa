"""A node under random schedules: its virtual time, its purges, its restarts."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.processes import preamble
from tests.virtual import VirtualNode

SETTLE_S = 10
"""Seconds within which every fill ends."""


class World:
    """A node that keeps its disk and its rules when it ends and begins anew."""

    def __init__(self, configuration: str, directory: Path) -> None:
        self.passed_s = 0
        """Virtual seconds since it began."""
        self._text = preamble(workers=1, name="headland") + configuration
        self._directory = directory
        self._node = VirtualNode(self._text, directory).__enter__()

    @property
    def address(self) -> str:
        """Where the node serves."""
        return self._node.address

    def now_s(self) -> float:
        """Seconds, real and virtual ones, since some moment."""
        return time.monotonic() + self.passed_s

    def pause(self, seconds: int) -> None:
        """Let virtual seconds pass."""
        self._node.advance(seconds)
        self.passed_s += seconds

    def purge(self, path: str, *, soft: bool) -> None:
        """Put a rule in force, as the purge API does."""
        self._node.node.ledger().apply("url", f"http://a.example{path}", soft, self._node.node.advance_clock(0))

    def restart(self) -> None:
        """End the node and begin it anew, at the same time of day and with the rules that a journal would have kept."""
        rules = self._node.node.ledger().rules()
        self.close()
        self._node = VirtualNode(self._text, self._directory).__enter__()
        self._node.advance(self.passed_s)
        for kind, value, soft, at_ms, epoch, headers in rules:
            self._node.node.ledger().apply(kind, value, soft, at_ms, epoch, headers=headers)

    def close(self) -> None:
        """End the node."""
        self._node.__exit__(None, None, None)

    def settle(self) -> None:
        """Wait until nothing is fetched any more."""
        deadline = time.monotonic() + SETTLE_S
        while json.loads(self._node.node.metrics())["store"]["fills"]:
            assert time.monotonic() < deadline, "a fill does not end"
