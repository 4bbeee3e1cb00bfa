"""Dropping rules that nothing needs any more: those that are older than everything stored or being fetched.

Once in a while the node is asked how old the oldest response is that it keeps, which takes a look at each; rules up to
there leave the memory and, when the journal is swept, the disk. A rule stays at least `FORGET_AFTER_S`, longer than a
request may hold on to a response that has left the store.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from purge_api.context import Context

__all__ = ["Forgetter"]

FORGET_AFTER_S = 900.0
"""Seconds that a rule stays in any case."""
ROUND_S = 60.0
"""Seconds between two looks."""


class Forgetter:
    """Belongs to one event loop.

    Args:
        context: The node.
        clock: A monotonic time in seconds.
        after_s: Seconds that a rule stays in any case.
    """

    def __init__(
        self,
        context: Context,
        clock: Callable[[], float] = time.monotonic,
        after_s: float = FORGET_AFTER_S,
    ) -> None:
        self._context = context
        self._clock = clock
        self._after_s = after_s
        self._epochs: deque[tuple[float, int]] = deque()
        self._forgotten = 0

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.round()
            await asyncio.sleep(ROUND_S)

    async def round(self) -> int:
        """One look; the answer is the epoch up to which rules are gone."""
        now_s, epoch = self._clock(), self._context.ledger.epoch()
        self._epochs.append((now_s, epoch))
        until = self._forgotten
        while self._epochs and self._epochs[0][0] <= now_s - self._after_s:
            until = self._epochs.popleft()[1]
        if until > self._forgotten:
            self._forgotten = await asyncio.to_thread(self._context.node.forget_rules, until)
        return self._forgotten
