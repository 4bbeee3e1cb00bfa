"""The transport over NATS JetStream.

    HEADLAND_PURGES           the stream, of the subjects headland.purge.NODE, kept for some days on the server's disk
    headland.told.NODE        words that nobody keeps
    headland-nodes            a key-value bucket whose values end by themselves: who is alive

The server's permissions decide who may publish on whose subject, so the subject says who sent a message. Reading is an
ordered consumer from a number on; when the server has more than was delivered, it is made anew from the last number
read. `headland` stands for the fleet's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js import api as js_api
from nats.js import errors as js_errors

from purge_api.fleet.tasks import ended
from purge_api.fleet.transport import Delivered, StreamState, TransportError

__all__ = ["NatsOptions", "NatsTransport"]

CALL_S = 5.0
"""Seconds for the server to answer one call."""
LOOK_S = 2.0
"""Seconds without a message after which the server is asked whether there is one."""
RECONNECT_S = 0.5
"""Seconds between two tries to connect again."""
PRESENCE_S = 10.0
"""Seconds that a presence holds."""
DUPLICATES_S = 120.0
"""Seconds in which the server knows a message id again."""
BATCH_MAX = 512
"""Messages given on at once."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NatsOptions:
    """How to reach the servers, and the names in them."""

    servers: tuple[str, ...]
    node: str
    fleet: str = "headland"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    keep_s: float = 7 * 86_400.0
    """Seconds that the stream keeps a message."""
    replicas: int = 1


class NatsTransport:
    """A `Transport`."""

    def __init__(self, options: NatsOptions) -> None:
        self._options = options
        self._client: Client | None = None
        self._js: JetStreamContext | None = None
        self._nodes: Any = None
        self._reconnected = asyncio.Event()
        self._stream = f"{options.fleet.upper()}_PURGES"
        self._purges = f"{options.fleet}.purge"
        self._told = f"{options.fleet}.told"
        self.on_told: Callable[[str, bytes], None] = lambda _node, _data: None

    async def open(self) -> None:
        """Connect, and make stream and bucket if there are none."""
        await self.close()
        with _translated():
            self._client = await nats.connect(
                list(self._options.servers),
                name=f"headland {self._options.node}",
                user=self._options.user,
                password=self._options.password,
                tls=self._options.tls,
                connect_timeout=int(CALL_S),
                reconnect_time_wait=RECONNECT_S,
                max_reconnect_attempts=-1,
                no_echo=True,
                allow_reconnect=True,
                error_cb=_log_error,
                reconnected_cb=self._on_reconnected,
            )
            self._js = self._client.jetstream(timeout=CALL_S)
            await self._make()
            await self._client.subscribe(f"{self._told}.>", cb=self._on_words)

    async def close(self) -> None:
        """Leave."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                await self._client.close()
        self._client = self._js = None

    async def state(self) -> StreamState:
        """What the stream holds now; it is made when it is gone."""
        # Before asking, so that reading ends when the connection is another than that of the answer.
        self._reconnected.clear()
        return await self._look()

    async def _look(self) -> StreamState:
        with _translated():
            try:
                info = await self._jetstream.stream_info(self._stream)
            except js_errors.NotFoundError:
                await self._make()
                info = await self._jetstream.stream_info(self._stream)
        return StreamState(str(info.created), info.state.first_seq, info.state.last_seq)

    async def publish(self, data: bytes, message_id: str) -> int:
        """Put a message into the stream."""
        subject = f"{self._purges}.{_token(self._options.node)}"
        with _translated():
            stored = await self._jetstream.publish(subject, data, headers={"Nats-Msg-Id": message_id})
        return int(stored.seq)

    async def read(self, after: int, identity: str) -> AsyncIterator[list[Delivered]]:
        """Messages behind a number, until the connection or the stream is another."""
        while not self._reconnected.is_set():
            if (state := await self._look()).identity != identity or state.last < after:
                return
            with _translated():
                subscription = await self._subscribe(after)
            look, known = None, after
            try:
                while not self._reconnected.is_set():
                    batch = await self._batch(subscription)
                    if batch:
                        after = batch[-1].sequence
                        yield batch
                    elif look is None or look.done():
                        # What it had when it was asked, and nothing has come since, is not on its way any more.
                        if look and look.result().last != after == known:
                            break
                        # Beside reading: no message waits for the answer.
                        look, known = asyncio.create_task(self._look()), after
            finally:
                with contextlib.suppress(Exception):
                    await subscription.unsubscribe()
                if look:
                    await ended([look])

    async def tell(self, data: bytes) -> None:
        """Say something to whoever listens."""
        if self._client is None or not self._client.is_connected:
            raise TransportError("not connected")
        with _translated():
            await self._client.publish(f"{self._told}.{_token(self._options.node)}", data)

    async def announce(self, data: bytes) -> None:
        """Say that this node is alive."""
        with _translated():
            await self._nodes.put(_token(self._options.node), data)

    async def announced(self) -> dict[str, bytes]:
        """What live nodes last announced."""
        found: dict[str, bytes] = {}
        with _translated():
            try:
                names = await self._nodes.keys()
            except js_errors.NoKeysError:
                return {}
            for name in names:
                with contextlib.suppress(js_errors.KeyNotFoundError):
                    found[_name(name)] = (await self._nodes.get(name)).value or b""
        return found

    # -- inside -------------------------------------------------------------------------------------------------------

    @property
    def _jetstream(self) -> JetStreamContext:
        if self._js is None or self._client is None or not self._client.is_connected:
            raise TransportError("not connected")
        return self._js

    async def _make(self) -> None:
        stream = js_api.StreamConfig(
            name=self._stream,
            subjects=[f"{self._purges}.>"],
            max_age=self._options.keep_s,
            storage=js_api.StorageType.FILE,
            num_replicas=self._options.replicas,
            duplicate_window=min(DUPLICATES_S, self._options.keep_s),
        )
        try:
            await self._jetstream.stream_info(self._stream)
        except js_errors.NotFoundError:
            await self._jetstream.add_stream(stream)
        bucket = f"{self._options.fleet}-nodes"
        try:
            self._nodes = await self._jetstream.key_value(bucket)
        except js_errors.NotFoundError:
            self._nodes = await self._jetstream.create_key_value(
                js_api.KeyValueConfig(bucket=bucket, ttl=PRESENCE_S, replicas=self._options.replicas)
            )

    async def _subscribe(self, after: int) -> Any:
        start = js_api.ConsumerConfig(deliver_policy=js_api.DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=after + 1)
        return await self._jetstream.subscribe(f"{self._purges}.>", ordered_consumer=True, config=start)

    async def _batch(self, subscription: Any) -> list[Delivered]:
        """What has come, up to a bound; nothing when nothing came for a while."""
        batch: list[Delivered] = []
        try:
            batch.append(self._delivered(await subscription.next_msg(timeout=LOOK_S)))
            while subscription.pending_msgs and len(batch) < BATCH_MAX:
                batch.append(self._delivered(await subscription.next_msg(timeout=LOOK_S)))
        except NatsTimeout:
            pass
        except NatsError as error:
            if not batch:
                raise TransportError(str(error) or type(error).__name__) from error
        return batch

    def _delivered(self, message: Msg) -> Delivered:
        node = _name(message.subject.removeprefix(f"{self._purges}."))
        return Delivered(message.metadata.sequence.stream, node, message.data)

    async def _on_words(self, message: Msg) -> None:
        node = _name(message.subject.removeprefix(f"{self._told}."))
        if node != self._options.node:
            self.on_told(node, message.data)

    async def _on_reconnected(self) -> None:
        self._reconnected.set()


class _translated:  # noqa: N801 - it reads as a word of the with statement
    """Errors of the library as the transport's own."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, NatsError | OSError | TimeoutError) and not isinstance(error, asyncio.CancelledError):
            raise TransportError(str(error) or type(error).__name__) from error


async def _log_error(error: Exception) -> None:
    log.debug("fleet: %r", error)


def _token(node: str) -> str:
    """A node's name as one token of a subject, in which dots separate."""
    return node.replace(".", "/")


def _name(token: str) -> str:
    return token.replace("/", ".")
