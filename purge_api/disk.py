"""How the journal's rows stand in SQLite: whole numbers as keys, JSON as values, nothing else.

diskcache pickles whatever it cannot store plainly, and unpickling what lies on a disk would run whatever somebody put
there. This `Disk` never pickles: writing anything but JSON fails, and reading a row that is not one of ours (a pickle,
a side file, text) is refused as damage before a byte of it is interpreted. Values stay inside the database, whatever
their size, because a side file would not be part of the transaction.
"""

from __future__ import annotations

from typing import Any

import orjson
from diskcache import Disk

from purge_api.errors import JournalDamaged

__all__ = ["JsonDisk"]

MODE_RAW = 1
"""diskcache's mode of a value that stands in its column as it is."""


class JsonDisk(Disk):  # type: ignore[misc]  # diskcache has no types
    """Keys are whole numbers, values are JSON in a BLOB."""

    def put(self, key: Any) -> tuple[int, bool]:
        """The column of a key. Raises `TypeError` unless it is a whole number."""
        if type(key) is not int:
            raise TypeError("keys of the journal are whole numbers")
        return key, True

    def get(self, key: Any, raw: Any) -> int:
        """The key of a column. Raises `JournalDamaged` unless it is a whole number."""
        if type(key) is not int or not raw:
            raise JournalDamaged("a row has a key that the journal never wrote")
        return key

    def store(self, value: Any, read: bool, key: Any = None) -> tuple[int, int, None, bytes]:  # noqa: ARG002
        """The columns of a value: size, mode, file name, value."""
        if read:
            raise TypeError("the journal stores values, not files")
        return 0, MODE_RAW, None, orjson.dumps(value)

    def fetch(self, mode: Any, filename: Any, value: Any, read: bool) -> Any:
        """The value of the columns. Raises `JournalDamaged` for anything that is not JSON in a BLOB."""
        if read or mode != MODE_RAW or filename is not None or type(value) is not bytes:
            raise JournalDamaged("a row is not JSON; it was not written by the journal and is not read")
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            raise JournalDamaged("a row is not valid JSON") from None
