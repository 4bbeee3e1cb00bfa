"""A node's part in a fleet: what it purges reaches the others, and what they purge reaches it.

    own purge    applied and durable here -> answered -> published, in order, as soon as the transport takes it
    another's    read from the stream, in order -> written to the own journal -> in force -> told to all

What is not published yet waits in the journal (`Publisher`). The cursor says how far reading went. After a start it
begins some purges before it: what of them the journal does not have was lost here, and is applied again.

A node that cannot know what it missed does not serve it: when the stream no longer has what follows the cursor, or is
another stream, everything is purged; when the transport is away for longer than `trust_s`, or at the start, everything
stored counts as stale until it was confirmed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from purge_api.audit import audit_purge
from purge_api.auth import Identity
from purge_api.context import RuleLedger
from purge_api.errors import JournalError, Refused
from purge_api.fleet.blocks import Blocks
from purge_api.fleet.cursor import Cursor, CursorFile
from purge_api.fleet.merge import drafts_of
from purge_api.fleet.message import (
    BATCH_PURGES_MAX,
    Malformed,
    News,
    Presence,
    SpreadPurge,
    decoded,
    decoded_news,
    decoded_presence,
)
from purge_api.fleet.publisher import Publisher
from purge_api.fleet.tasks import ended
from purge_api.fleet.transport import Delivered, StreamState, Transport, TransportError
from purge_api.journal import NEWEST_PURGES_KEPT, RECENT_PURGES_MAX, Journal
from purge_api.record import Draft, PurgeRecord
from purge_api.sites import Sites
from purge_api.spread import Applied, Spread

__all__ = ["FleetCounters", "FleetOptions", "Home", "Member"]

START_S = 10.0
"""Seconds in which a node that starts must have caught up before it serves what it holds."""
RETRY_S = 1.0
"""Seconds before what failed is tried again."""
PRESENCE_EVERY_S = 2.0
"""Seconds between two signs of life."""
COMPARED_MESSAGES = 256
"""The newest messages, of which digests are compared."""
HELD_PURGES_MAX = COMPARED_MESSAGES * BATCH_PURGES_MAX + RECENT_PURGES_MAX
"""Purges known to be here: those of the messages that are compared, and those that the journal had at the start."""
READ_AGAIN_S = 10.0
"""Seconds between two readings of what others have otherwise, at least."""
UNMERGED_PURGES = 4 * NEWEST_PURGES_KEPT
"""Purges that come at once and are applied one by one; of more, the older are merged."""
NEWS_IDS_MAX = 4_096
"""Purges in one piece of news."""
GAP_ORIGIN = "gap"
"""Where a purge comes from that a gap in the stream caused; it stays on this node."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """What a member has to know."""

    node: str
    peers: Mapping[str, Identity] = field(default_factory=dict)
    """What each node may purge here; when there are none, all nodes may purge everything."""
    trust_s: float = 60.0
    """Seconds without the transport after which what is stored counts as stale; 0 for never."""
    place: str = ""
    """What it has in common with its neighbours; empty for a node that looks for none."""
    url: str = ""
    """Where they reach it."""


@dataclass(frozen=True, slots=True)
class Home:
    """What a member works on."""

    journal: Journal
    """Where purges are made durable and applied."""
    ledger: RuleLedger
    """The rules in memory."""
    cursor: CursorFile
    """Where it is in the stream."""
    spread: Spread
    """Which nodes have which purge."""
    sites: Callable[[], Sites]
    """The sites now in force."""
    on_neighbours: Callable[[tuple[str, ...]], None] = lambda _urls: None
    """Is told where the nodes of the same place are, when that has changed."""


@dataclass(slots=True)
class FleetCounters:
    """What a member did; for metrics."""

    applied: int = 0
    repaired: int = 0
    refused: int = 0
    gaps: int = 0


class Member:
    """Belongs to one event loop.

    Args:
        options: Its name and whom it trusts.
        transport: What carries the messages.
        home: What it works on.
    """

    def __init__(self, options: FleetOptions, transport: Transport, home: Home) -> None:
        self.counters = FleetCounters()
        self.connected = False
        self.sequence = 0
        self._options = options
        self._transport = transport
        self._journal = home.journal
        self._ledger = home.ledger
        self._file = home.cursor
        self._spread = home.spread
        self._sites = home.sites
        self._on_neighbours = home.on_neighbours
        self._neighbours: tuple[str, ...] = ()
        self._cursor = Cursor("", 0, 0, 0)
        self._publisher = Publisher(options.node, transport, home.journal)
        self._caught_up = asyncio.Event()
        self._moved = asyncio.Event()
        """The cursor is another than the one that is saved."""
        self._held: OrderedDict[str, None] = OrderedDict()
        self._blocks = Blocks(COMPARED_MESSAGES)
        self._examined: set[tuple[str, int, str]] = set()
        """What others have otherwise, for which the stream was read again already."""
        self._read_again_s = -READ_AGAIN_S
        self._alive: tuple[str, ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self._distrusted = False
        transport.on_told = self._on_told
        home.spread.alive = lambda: self._alive

    @property
    def alive(self) -> tuple[str, ...]:
        """The nodes that are alive, this one among them."""
        return self._alive

    @property
    def published(self) -> int:
        """Own purges given to the fleet."""
        return self._publisher.count

    async def start(self) -> None:
        """Catch up, or give up what is stored; then go on in the background. Never raises for the transport."""
        saved = await asyncio.to_thread(self._file.load)
        # A node that was never in a fleet has nothing to tell it of before.
        self._cursor = saved or Cursor("", 0, 0, self._ledger.epoch())
        # A journal that was lost, and begins anew, has other epochs.
        self._publisher.begin_behind(min(self._cursor.published, self._ledger.epoch()))
        if saved is None:
            await asyncio.to_thread(self._file.save, self._cursor)
        for record in self._journal.recent(RECENT_PURGES_MAX):
            self._hold(record.id)
        self._tasks.append(asyncio.create_task(self._for_ever(self._reading)))
        self._tasks.append(asyncio.create_task(self._saving()))
        try:
            async with asyncio.timeout(START_S):
                await self._caught_up.wait()
        except TimeoutError:
            log.warning("fleet: not caught up after %g s; what is stored counts as stale", START_S)
            self._distrust()
        self._tasks.append(asyncio.create_task(self._for_ever(self._publisher.run)))
        self._tasks.append(asyncio.create_task(self._living()))

    async def stop(self) -> None:
        """Leave the fleet."""
        await ended(self._tasks)
        with contextlib.suppress(OSError):  # the next start reads some messages again
            await asyncio.to_thread(self._file.save, self._cursor)
        await self._transport.close()

    def applied_here(self, record: PurgeRecord) -> None:
        """An own purge is in force: it is to be published."""
        self._hold(record.id)
        self._spread.begin(record.id)
        self._publisher.add(record)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _reading(self) -> None:
        if not self.connected:
            await self._transport.open()
        while True:
            state = await self._transport.state()
            self.connected = True
            if self._cursor.identity != state.identity or self._cursor.sequence + 1 < state.first:
                await self._start_empty(state.identity, state.last)
            elif max(self._cursor.sequence, self._publisher.sequence) > state.last:
                await self._rewind(state)
            # Once up to date, the newest need not be read again after every reconnection.
            settled = self._cursor.sequence if self._caught_up.is_set() else self._cursor.settled
            after = max(state.first - 1, self._cursor.since, settled)
            if after >= state.last:
                self._caught_up.set()
            async for batch in self._transport.read(after, state.identity):
                await self._take(batch, state.last)

    async def _take(self, batch: Sequence[Delivered], last: int) -> None:
        received_ms = _now_ms()
        drafts: list[Draft] = []
        for message in batch:
            new = self._drafts(message, received_ms)
            drafts += new
            if new and message.sequence <= self._cursor.sequence:
                self.counters.repaired += len(new)
                log.warning("fleet: %d purges of message %d were lost here", len(new), message.sequence)
        many = len(drafts) > UNMERGED_PURGES
        try:
            await self._apply(drafts_of(drafts, NEWEST_PURGES_KEPT) if many else drafts)
        except JournalError:
            for draft in drafts:
                self._held.pop(draft.id, None)
            raise
        sequence = max(batch[-1].sequence, self._cursor.sequence)
        settled = self._blocks.behind(NEWEST_PURGES_KEPT, sequence)
        self._cursor = replace(
            self._cursor, sequence=sequence, published=self._publisher.published, settled=min(settled, sequence)
        )
        self.sequence = sequence
        if drafts and not many:
            await self._tell([draft.id for draft in drafts], received_ms)
        self._moved.set()
        if batch[-1].sequence >= last:
            self._caught_up.set()

    async def _saving(self) -> None:
        """Save the cursor behind the work: no message waits for it, and an older one only has some read again."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            try:
                await asyncio.to_thread(self._file.save, self._cursor)
            except OSError as error:
                log.warning("fleet: the place in the stream cannot be saved: %s", error)

    def _drafts(self, message: Delivered, received_ms: int) -> list[Draft]:
        """What of a message is to be applied here: not what is held already, and not what its sender may not purge."""
        try:
            node, purges = decoded(message.data)
        except Malformed as error:
            self._refuse(message, str(error))
            return []
        if node != message.node:
            self._refuse(message, f"it says that it comes from {node}")
            return []
        self._blocks.add(message.sequence, [purge.id for purge in purges])
        refusal = self._refusal_of(node)
        drafts = []
        for purge in purges:
            if purge.id in self._held:
                continue
            # Also what is refused is dealt with.
            self._hold(purge.id)
            reason = refusal(purge)
            if reason:
                self._refuse(message, reason)
                continue
            drafts.append(
                Draft(
                    purge.kind,
                    purge.items,
                    purge.soft,
                    purge.actor,
                    "",
                    min(received_ms, purge.received_ms) if purge.received_ms else received_ms,
                    id=purge.id,
                    origin=node,
                    headers=purge.headers,
                )
            )
        return drafts

    async def _apply(self, drafts: Sequence[Draft]) -> None:
        futures = [self._journal.submit_on_loop(draft) for draft in drafts]
        for future in futures:
            record = await future
            audit_purge(record)
            self._spread.begin(record.id)
        self.counters.applied += len(futures)

    async def _tell(self, ids: Sequence[str], received_ms: int) -> None:
        """Who waits for these learns that they are in force here; nobody else misses it."""
        with contextlib.suppress(TransportError):
            for start in range(0, len(ids), NEWS_IDS_MAX):
                news = News(self._options.node, received_ms, _now_ms(), tuple(ids[start : start + NEWS_IDS_MAX]))
                await self._transport.tell(news.encoded())

    async def _start_empty(self, identity: str, last: int) -> None:
        """What was purged since the cursor is not known: nothing that is stored may be served."""
        if self._cursor.identity or self._ledger.epoch():
            log.warning("fleet: the stream no longer has what this node missed; everything is purged")
            self.counters.gaps += 1
        draft = Draft("all", ("",), False, GAP_ORIGIN, "", _now_ms(), origin=GAP_ORIGIN)
        await self._journal.submit_on_loop(draft)
        self._cursor = Cursor(identity, last, last, self._publisher.published)
        self._publisher.sequence = 0
        self.sequence = last
        await asyncio.to_thread(self._file.save, self._cursor)

    def _refusal_of(self, node: str) -> Callable[[SpreadPurge], str]:
        """Tells why a node may not purge something; an empty text when it may."""
        if not self._options.peers:
            return lambda _: ""
        identity, sites = self._options.peers.get(node, Identity(node, frozenset())), self._sites()

        def refusal(purge: SpreadPurge) -> str:
            try:
                identity.require_purge(purge.kind)
                identity.require_sites(purge.kind, purge.items, sites)
            except Refused as refused:
                return refused.detail
            return ""

        return refusal

    def _refuse(self, message: Delivered, reason: str) -> None:
        self.counters.refused += 1
        log.warning("fleet: message %d of %s is refused: %s", message.sequence, message.node, reason[:500])

    # -- living -------------------------------------------------------------------------------------------------------

    async def _living(self) -> None:
        heard_s = time.monotonic()
        while True:
            try:
                presence = Presence(
                    self._options.node,
                    self._cursor.sequence,
                    self._digests(),
                    self._options.place,
                    self._options.url,
                )
                await self._transport.announce(presence.encoded())
                await self._compare(await self._transport.announced())
                heard_s, self._distrusted = time.monotonic(), False
            except TransportError as error:
                log.debug("fleet: %s", error)
                away_s = time.monotonic() - heard_s
                if self._options.trust_s and away_s > self._options.trust_s and not self._distrusted:
                    log.warning("fleet: away for %.0f s; what is stored counts as stale", away_s)
                    self._distrust()
            await asyncio.sleep(PRESENCE_EVERY_S)

    async def _compare(self, announced: Mapping[str, bytes]) -> None:
        """Read again what another node has otherwise: the stream says which of the two is right."""
        self._alive = tuple(sorted(announced))
        own = self._digests()
        differing: set[tuple[str, int, str]] = set()
        neighbours: set[str] = set()
        for node, data in announced.items():
            try:
                presence = decoded_presence(data)
            except Malformed as error:
                log.warning("fleet: the presence of %s is refused: %s", node, error)
                continue
            if self._options.place and presence.place == self._options.place:
                neighbours.add(presence.url)
            theirs = presence.digests.items()
            differing |= {(node, block, digest) for block, digest in theirs if own.get(block, digest) != digest}
        self._meet(tuple(sorted(neighbours)))
        now_s = time.monotonic()
        if differing - self._examined and now_s - self._read_again_s >= READ_AGAIN_S:
            log.warning(
                "fleet: what %s has differs; it is read again", ", ".join(sorted({each[0] for each in differing}))
            )
            self._examined, self._read_again_s = differing, now_s
            await self._read_again()

    def _meet(self, neighbours: tuple[str, ...]) -> None:
        if neighbours != self._neighbours:
            self._neighbours = neighbours
            self._on_neighbours(neighbours)

    async def _read_again(self) -> None:
        """Apply what the stream has and this node has not; publish what this node has given and the stream has not."""
        state = await self._transport.state()
        before = self._blocks.all_ids()
        self._blocks.cut(state.last)
        first = max(state.first, state.last - COMPARED_MESSAGES + 1)
        if first <= state.last:
            async for batch in self._transport.read(first - 1, state.identity):
                await self._take(batch, state.last)
                if batch[-1].sequence >= state.last:
                    break
        self._publish_again(before - self._blocks.all_ids())

    async def _rewind(self, state: StreamState) -> None:
        """The stream ends before what was read of it: its servers lost the newest messages."""
        log.warning("fleet: the stream has lost its newest messages; own purges are published again")
        self._blocks.cut(state.last)
        sequence = min(self._cursor.sequence, state.last)
        settled = min(self._cursor.settled, max(0, state.last - COMPARED_MESSAGES))
        since = min(self._cursor.since, state.last)
        self._cursor = replace(self._cursor, sequence=sequence, settled=settled, since=since)
        self.sequence = sequence
        self._publisher.sequence = 0
        newest = self._journal.recent(NEWEST_PURGES_KEPT)
        self._publish_again({record.id for record in newest if not record.origin})

    def _publish_again(self, ids: set[str]) -> None:
        """From the oldest of these on that is an own purge; the journal still has it."""
        own = {record.id: record.epoch for record in self._journal.recent(RECENT_PURGES_MAX) if not record.origin}
        epochs = [own[each] for each in ids if each in own]
        if epochs:
            log.warning("fleet: %d purges are published again", len(epochs))
            self._publisher.again_from(min(epochs))

    def _digests(self) -> dict[int, str]:
        return self._blocks.digests(self._cursor.sequence, self._held)

    def _distrust(self) -> None:
        """In memory alone: after a restart it is decided anew."""
        self._distrusted = True
        self._ledger.apply("all", "", True, _now_ms())

    def _on_told(self, node: str, data: bytes) -> None:
        try:
            news = decoded_news(data)
        except Malformed as error:
            log.debug("fleet: words of %s are refused: %s", node, error)
            return
        applied = Applied(node, news.received_ms, news.applied_ms)
        for purge_id in news.ids:
            self._spread.heard(purge_id, applied)

    def _hold(self, purge_id: str) -> None:
        self._held[purge_id] = None
        if len(self._held) > HELD_PURGES_MAX:
            self._held.popitem(last=False)

    async def _for_ever(self, work: Callable[[], Awaitable[None]]) -> None:
        """Again after a while when the transport fails."""
        while True:
            try:
                await work()
            except (TransportError, JournalError) as error:
                log.debug("fleet: %s", error)
            await asyncio.sleep(RETRY_S)


def _now_ms() -> int:
    return int(time.time() * 1000)
