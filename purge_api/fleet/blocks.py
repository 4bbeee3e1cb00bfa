"""Which purges the newest messages of the stream hold, in blocks that nodes compare by a digest. Pure.

A digest is over the purges of a block that a node has, so two nodes differ where one of them lost some.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterable

import xxhash

__all__ = ["BLOCK_MESSAGES", "Blocks"]

BLOCK_MESSAGES = 64
"""Messages of one block; block 0 holds the numbers 0 to 63."""


class Blocks:
    """The newest messages by number.

    Args:
        messages_max: How many are remembered.
    """

    def __init__(self, messages_max: int) -> None:
        self._messages_max = messages_max
        self._ids: OrderedDict[int, tuple[str, ...]] = OrderedDict()

    def add(self, sequence: int, ids: Iterable[str]) -> None:
        """A message was read; once more does no harm."""
        self._ids[sequence] = tuple(ids)
        while len(self._ids) > self._messages_max:
            del self._ids[min(self._ids)]

    def cut(self, last: int) -> None:
        """Messages behind a number are not in the stream any more."""
        for sequence in [each for each in self._ids if each > last]:
            del self._ids[sequence]

    def all_ids(self) -> set[str]:
        """The purges of all messages remembered."""
        return {each for ids in self._ids.values() for each in ids}

    def behind(self, purges_max: int, sequence: int) -> int:
        """The number behind which there are at most so many purges, up to `sequence`."""
        left = purges_max
        for number in sorted(self._ids, reverse=True):
            left -= len(self._ids[number])
            if left < 0:
                return number
        return min(self._ids, default=sequence + 1) - 1

    def ids(self, block: int) -> list[str]:
        """The purges of a block."""
        first = block * BLOCK_MESSAGES
        return [each for sequence in range(first, first + BLOCK_MESSAGES) for each in self._ids.get(sequence, ())]

    def digests(self, sequence: int, held: Container[str]) -> dict[int, str]:
        """For each block that is whole up to a number: the digest of those of its purges that are held."""
        if not self._ids:
            return {}
        first = -(-min(self._ids) // BLOCK_MESSAGES)
        return {
            block: _digest(each for each in self.ids(block) if each in held)
            for block in range(first, (sequence + 1) // BLOCK_MESSAGES)
        }


def _digest(ids: Iterable[str]) -> str:
    value = 0
    for each in ids:
        value ^= xxhash.xxh3_64_intdigest(each.encode())
    return f"{value:016x}"
