"""Idempotency keys: the same key with the same body gets the first answer, and is applied once.

A key belongs to the token that sent it, and is kept as a digest. Keys of the newest purges are remembered, as many as
the journal remembers purges, also over a restart, because the journal keeps them with each purge. A key whose purge is
still being written waits for it together with the first caller.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

import xxhash

from purge_api.errors import Refused
from purge_api.record import PurgeRecord

__all__ = ["IdempotencyKeys", "key_digests"]

KEYS_MAX = 1_024
"""Keys remembered."""
KEY_BYTES_MAX = 255
"""Bytes of a key."""


def key_digests(key: str | None, actor: str, body: bytes) -> tuple[str, str] | None:
    """Digests of key (with who sent it) and body; None without a key. Raises `Refused` with 400 for a bad key."""
    if key is None:
        return None
    if not key or len(key) > KEY_BYTES_MAX or not key.isascii() or not key.isprintable():
        raise Refused(400, "bad-idempotency-key", f"Idempotency-Key must be 1 to {KEY_BYTES_MAX} printable characters")
    return xxhash.xxh3_128_hexdigest(f"{actor}\0{key}".encode()), xxhash.xxh3_128_hexdigest(body)


class IdempotencyKeys:
    """What was asked under which key. Belongs to one event loop.

    Args:
        records: Purges read back from the journal, oldest first.
    """

    def __init__(self, records: Iterable[PurgeRecord] = ()) -> None:
        self._seen: OrderedDict[str, tuple[str, PurgeRecord | asyncio.Future[PurgeRecord]]] = OrderedDict()
        for record in records:
            if record.idempotency is not None:
                self._put(*record.idempotency, record)

    async def first(self, digests: tuple[str, str]) -> PurgeRecord | None:
        """The purge that was made under this key, waiting for it if need be; None when the key is new.

        Raises:
            Refused: 422 when the key was used with another body.
        """
        found = self._seen.get(digests[0])
        if found is None:
            return None
        body, record = found
        if body != digests[1]:
            raise Refused(422, "idempotency-key-reused", "this Idempotency-Key was used with another body")
        return record if isinstance(record, PurgeRecord) else await asyncio.shield(record)

    def begin(self, digests: tuple[str, str], future: asyncio.Future[PurgeRecord]) -> None:
        """Remember that a purge is under way; a failure forgets the key, so that trying again is possible."""
        self._put(*digests, future)
        future.add_done_callback(lambda done: self._settle(digests, done))

    def _settle(self, digests: tuple[str, str], done: asyncio.Future[PurgeRecord]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._seen.pop(digests[0], None)
        else:
            self._put(*digests, done.result())

    def _put(self, key: str, body: str, record: PurgeRecord | asyncio.Future[PurgeRecord]) -> None:
        self._seen[key] = (body, record)
        self._seen.move_to_end(key)
        if len(self._seen) > KEYS_MAX:
            self._seen.popitem(last=False)
