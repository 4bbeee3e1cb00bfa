"""Own purges on their way to the others: in order, several messages at a time, again from the last that is safe.

    in force here -> pending (or, when that is full, the journal) -> sent -> acknowledged by the transport

The journal is the queue: what is not acknowledged is read from it again, however long the transport is away or however
often the node starts. What the transport has got already then comes twice, which does no harm.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import dataclass

from purge_api.fleet.message import BATCH_PURGES_MAX, encoded
from purge_api.fleet.transport import Transport
from purge_api.journal import Journal
from purge_api.record import PurgeRecord

__all__ = ["Publisher"]

PENDING_PURGES_MAX = 4_096
"""Own purges that wait in memory to be sent; more are read from the journal."""
UNDERWAY_MESSAGES_MAX = 64
"""Messages sent and not acknowledged yet: a far transport must not hold the next purge back."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message under way."""

    task: asyncio.Task[int]
    last_epoch: int
    purges: int


class Publisher:
    """Belongs to one event loop.

    Args:
        node: The name of this node.
        transport: What carries the messages.
        journal: Where own purges are.
    """

    def __init__(self, node: str, transport: Transport, journal: Journal) -> None:
        self.published = 0
        """Own purges up to this epoch are safe with the transport."""
        self.count = 0
        """Purges that the transport has taken."""
        self.sequence = 0
        """The newest message of this node in the stream, as the transport said."""
        self._node = node
        self._transport = transport
        self._journal = journal
        self._sent_epoch = 0
        self._underway: deque[_Sent] = deque()
        self._pending: deque[PurgeRecord] = deque()
        self._backlog: deque[PurgeRecord] = deque()
        """Own purges read from the journal; sent before those that are pending."""
        self._read_journal = True
        self._again = False
        self._due = asyncio.Event()

    def begin_behind(self, epoch: int) -> None:
        """Own purges up to an epoch are published; the journal keeps those behind it."""
        self.published = epoch
        self._journal.keep_from(epoch)

    def again_from(self, epoch: int) -> None:
        """Own purges from an epoch on are published once more."""
        self.begin_behind(min(self.published, epoch - 1))
        self._again = True
        self._due.set()

    def add(self, record: PurgeRecord) -> None:
        """An own purge is in force."""
        if len(self._pending) < PENDING_PURGES_MAX:
            self._pending.append(record)
        else:
            self._read_journal = True
        self._due.set()

    async def run(self) -> None:
        """Publish for ever; raises `TransportError` or `JournalError`, after which it may be run again."""
        self._begin()
        try:
            while True:
                self._due.clear()
                if self._again and not self._underway:
                    self._begin()
                while self._underway and self._underway[0].task.done():
                    self._acknowledge(self._underway.popleft())
                room = not self._again and len(self._underway) < UNDERWAY_MESSAGES_MAX
                if room and (records := await self._unsent()):
                    self._send(records)
                else:
                    await self._wait()
        finally:
            for sent in self._underway:
                sent.task.cancel()
            await asyncio.gather(*(sent.task for sent in self._underway), return_exceptions=True)
            self._underway.clear()

    def _begin(self) -> None:
        self._sent_epoch = self.published
        self._again = False
        self._read_journal = True
        self._backlog.clear()

    def _send(self, records: list[PurgeRecord]) -> None:
        data, taken = encoded(self._node, records)
        last = taken[-1].last_epoch
        publish = self._transport.publish(data, f"{self._node}-{taken[0].id}-{last}")
        # Tasks begin in the order in which they were made, so messages leave in order.
        self._underway.append(_Sent(asyncio.ensure_future(publish), last, len(taken)))
        self._sent_epoch = last

    def _acknowledge(self, sent: _Sent) -> None:
        self.sequence = sent.task.result()
        if not self._again:
            self.begin_behind(sent.last_epoch)
        self.count += sent.purges

    async def _wait(self) -> None:
        """Until there is something to send, or the oldest message under way is answered."""
        due = asyncio.ensure_future(self._due.wait())
        try:
            await asyncio.wait(
                {due, *(sent.task for sent in itertools.islice(self._underway, 1))}, return_when="FIRST_COMPLETED"
            )
        finally:
            due.cancel()

    async def _unsent(self) -> list[PurgeRecord]:
        """The next own purges to send, oldest first."""
        while True:
            if self._read_journal and not self._backlog:
                # Before reading: what comes in meanwhile is queued, and may be read as well.
                self._read_journal = False
                self._pending.clear()
                found = await asyncio.wrap_future(self._journal.after(self._sent_epoch, PENDING_PURGES_MAX))
                self._backlog.extend(found)
                self._read_journal |= len(found) == PENDING_PURGES_MAX
            waiting = self._backlog or self._pending
            while waiting and waiting[0].epoch <= self._sent_epoch:
                waiting.popleft()
            if waiting or waiting is not self._backlog:
                return list(itertools.islice(waiting, BATCH_PURGES_MAX))
