"""Purges on the data port: from the core, where it waits, to whoever makes it durable, and back.

One thread asks the core for the next purge, which costs nothing while none comes. Each is handled on the admin event
loop, several at a time; the core bounds how many may wait, and answers the client when the handler has.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

import orjson

from _headland import Node
from edge.context import DataPortPurge, PurgeHandler

__all__ = ["PurgeRelay"]

WAIT_MS: Final = 200
"""How long the thread stays in the core at a time, and so how late it may notice that it should end."""


class PurgeRelay:
    """Runs while its context is open."""

    def __init__(self, node: Node, handlers: Sequence[PurgeHandler], loop: asyncio.AbstractEventLoop) -> None:
        self._node = node
        self._handlers = handlers
        self._loop = loop
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headland-purges", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()

    def _run(self) -> None:
        while not self._ending.is_set():
            purge = self._node.next_purge(WAIT_MS)
            if purge is None:
                continue
            number, method, url, fields, client, allowed = purge
            coroutine = self._handle(number, DataPortPurge(method, url, tuple(fields), client, allowed))
            try:
                asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            except RuntimeError:  # the loop has closed while the core still had one
                coroutine.close()
                self._node.answer_purge(number, 503, _refusal("the node is stopping"))
                return

    async def _handle(self, number: int, purge: DataPortPurge) -> None:
        """Every handler must take it; without any, nothing would make it durable."""
        status, body = 503, _refusal("this node takes no purges on its data port")
        try:
            for handler in self._handlers:
                receipt = await handler(purge)
                status, body = receipt.status, receipt.body
                if status != HTTPStatus.OK:
                    break
        except Exception as error:  # noqa: BLE001 - the client must hear of whatever it was
            status, body = 503, _refusal(f"the purge was not taken: {error}")
        self._node.answer_purge(number, status, body)


def _refusal(sentence: str) -> str:
    return orjson.dumps({"status": "error", "detail": sentence}).decode()
