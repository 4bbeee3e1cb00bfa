"""Ending a member's tasks, also one that overlooks that it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib

from purge_api.fleet.tasks import ended


async def test_a_task_that_overlooks_a_cancellation_is_ended_all_the_same():
    overlooked = 0

    async def loop():
        nonlocal overlooked
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        overlooked += 1
        await asyncio.Event().wait()

    async def fails():
        raise OSError

    tasks = [asyncio.create_task(loop()), asyncio.create_task(fails())]
    await asyncio.wait(tasks[1:])
    async with asyncio.timeout(20):
        await ended(tasks)
    assert (overlooked, tasks[0].cancelled()) == (1, True)
    await ended([])
