"""Waiting for what somebody else does, with a deadline: the condition itself asks, over a socket."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_S = 20.0


def until(holds: Callable[[], bool], wait_s: float = WAIT_S) -> None:
    """Ask again and again until it holds."""
    deadline = time.monotonic() + wait_s
    while not holds():
        assert time.monotonic() < deadline, "it never held"
