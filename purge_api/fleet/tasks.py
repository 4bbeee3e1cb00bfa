"""Ending tasks that may overlook that they are cancelled.

`asyncio.wait_for` of Python 3.11 gives the result, and forgets the cancellation, when what it waits for comes at the
same moment; a task that loops over such calls would then run for ever, and whoever waits for it, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

__all__ = ["ended"]

AGAIN_S = 0.2
"""Seconds after which a task that still runs is cancelled once more."""


async def ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended, however; what they raised is read over."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        done, running = await asyncio.wait(running, timeout=AGAIN_S)
        await asyncio.gather(*done, return_exceptions=True)
