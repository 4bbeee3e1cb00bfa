"""Reading the fleet's stream over NATS: when it asks the servers, and when it begins anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from purge_api.fleet.nats import NatsOptions, NatsTransport
from purge_api.fleet.transport import Delivered, StreamState

WAIT_S = 5.0
STREAM = "a stream"


class Far(NatsTransport):
    """Its server answers when the test says so; a batch is what the test puts in, an empty one a while of silence."""

    def __init__(self) -> None:
        super().__init__(NatsOptions((), "pop1"))
        self.batches: asyncio.Queue[list[Delivered]] = asyncio.Queue()
        self.answers: asyncio.Queue[int] = asyncio.Queue()
        self.answered = asyncio.Event()
        self.subscribed: list[int] = []

    async def _look(self) -> StreamState:
        last = await self.answers.get()
        self.answered.set()
        return StreamState(STREAM, 1, last)

    async def _subscribe(self, after: int) -> Any:
        self.subscribed.append(after)
        return self

    async def unsubscribe(self) -> None:
        """As a subscription."""

    async def _batch(self, _subscription: Any) -> list[Delivered]:
        return await self.batches.get()


def message(sequence: int) -> list[Delivered]:
    return [Delivered(sequence, "pop2", b"")]


@pytest.fixture
async def far():
    """A transport that reads from the beginning, and tells the numbers that it has read."""
    transport = Far()
    transport.answers.put_nowait(0)
    read: asyncio.Queue[int] = asyncio.Queue()

    async def reading() -> None:
        async for batch in transport.read(0, STREAM):
            read.put_nowait(batch[-1].sequence)

    async def heard() -> int:
        return await asyncio.wait_for(read.get(), WAIT_S)

    task = asyncio.create_task(reading())
    yield transport, heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_message_does_not_wait_until_a_far_server_has_said_what_it_has(far):
    transport, heard = far
    transport.batches.put_nowait([])
    transport.batches.put_nowait(message(1))
    assert await heard() == 1


async def test_a_message_on_its_way_is_no_reason_to_begin_anew(far):
    transport, heard = far
    await asyncio.wait_for(transport.answered.wait(), WAIT_S)
    transport.answered.clear()
    transport.batches.put_nowait([])
    transport.answers.put_nowait(1)
    await asyncio.wait_for(transport.answered.wait(), WAIT_S)
    transport.batches.put_nowait(message(1))
    assert await heard() == 1
    assert transport.subscribed == [0]


async def test_what_the_server_has_and_does_not_send_is_asked_for_anew(far):
    transport, heard = far
    await asyncio.wait_for(transport.answered.wait(), WAIT_S)
    transport.answered.clear()
    transport.batches.put_nowait([])
    transport.answers.put_nowait(1)
    await asyncio.wait_for(transport.answered.wait(), WAIT_S)
    transport.batches.put_nowait([])
    transport.answers.put_nowait(1)
    transport.batches.put_nowait(message(1))
    assert await heard() == 1
    assert transport.subscribed == [0, 0]
