"""A node in the tests' own process whose clock can be put forward: hours pass without waiting.

Only the time that the cache reasons with is virtual; sockets and their deadlines keep real time. The clock is the whole
node's, so tests that share one count from the moment at which they begin.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import _headland
from edge.configuration import load

DRAIN_MS = 2_000
"""Milliseconds that running requests may take to end."""
STEP_MS_MAX = 2**31
"""Milliseconds that the core takes at once."""


class VirtualNode:
    """One node from a TOML text; a context that drains it."""

    def __init__(self, text: str, directory: Path) -> None:
        file = directory / "edge.toml"
        file.write_text(text)
        self.node = _headland.Node(load(file).snapshot)
        self._has_disk = "disk = {" in text or "[cache.disk]" in text

    def __enter__(self) -> Self:
        self.node.start()
        if self._has_disk:
            # It is answered when the index has everything: before, what it does not know yet is a miss.
            self.node.inspect(b'{"what": "stat"}')
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.node.drain(DRAIN_MS)

    @property
    def places(self) -> dict[str, str]:
        """The address of its first door of each kind."""
        return dict(reversed(self.node.addresses()))

    @property
    def address(self) -> str:
        """`ip:port` of its first door."""
        return self.node.addresses()[0][1]

    def now_s(self) -> int:
        """Its Unix time in whole seconds."""
        return self.node.advance_clock(0) // 1000

    def advance(self, seconds: float) -> None:
        """Let virtual seconds pass."""
        left = round(seconds * 1000)
        while left > 0:
            step = min(left, STEP_MS_MAX)
            self.node.advance_clock(step)
            left -= step
