"""How far a node is in the fleet's stream, kept on the disk.

`sequence`: everything up to there was applied, durably. `published`: own purges up to that epoch are in the stream.
Both are written after the fact, so a crash repeats some of the work and forgets none: applying and publishing twice
does no harm. A file that is not there or makes no sense is no cursor, which counts as a gap.
"""

from __future__ import annotations

import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

__all__ = ["Cursor", "CursorFile"]


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a stream."""

    identity: str
    """Of the stream that the number belongs to."""
    sequence: int
    since: int
    """Nothing up to there is known here: the node joined then, or began anew."""
    published: int
    """Epoch."""
    settled: int = 0
    """Up to this number nothing is read again at the start: the journal need not know the purges before any more."""


class CursorFile:
    """One file; replaced as a whole. May be used from any thread.

    Args:
        directory: Where it is; must exist.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "fleet.json"
        self._saving = threading.Lock()

    def load(self) -> Cursor | None:
        """What was saved last; None when there is nothing that could be believed."""
        try:
            document = orjson.loads(self._path.read_bytes())
            places = (document["sequence"], document["since"], document["published"])
            cursor = Cursor(str(document["identity"]), *places, document.get("settled", document["sequence"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        numbers = (cursor.sequence, cursor.since, cursor.published, cursor.settled)
        return cursor if all(type(number) is int and number >= 0 for number in numbers) else None

    def save(self, cursor: Cursor) -> None:
        """Durable when it returns. Raises `OSError`."""
        with self._saving:
            self._save(asdict(cursor))

    def _save(self, document: dict[str, Any]) -> None:
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(orjson.dumps(document))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
