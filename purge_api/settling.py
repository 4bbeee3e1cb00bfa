"""Telling many that wait on an event loop what became of their work, from another thread, at once.

Waking a loop takes a system call, and each lets the interpreter go and come back; one per batch instead of one per
future is what makes a group commit cheap. Futures of threads are settled where they are.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

__all__ = ["Settling"]

AnyFuture = Future[Any] | asyncio.Future[Any]


class Settling:
    """Outcomes that are yet to be told; belongs to the thread that has them."""

    def __init__(self) -> None:
        self._by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}

    def settle(self, future: AnyFuture, outcome: object) -> None:
        """A result, or an exception to be raised."""
        if isinstance(future, asyncio.Future):
            self._by_loop.setdefault(future.get_loop(), []).append((future, outcome))
        else:
            _set(future, outcome)

    def tell(self) -> None:
        """Wake each loop once."""
        for loop, outcomes in self._by_loop.items():
            try:
                loop.call_soon_threadsafe(_set_all, outcomes)
            except RuntimeError:  # the loop has closed, and nobody waits
                continue
        self._by_loop = {}


def _set_all(outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in outcomes:
        if not future.done():
            _set(future, outcome)


def _set(future: AnyFuture, outcome: object) -> None:
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
