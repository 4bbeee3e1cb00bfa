"""A purge journal without a node around it: the ledger of the core, drafts, and a look at the rows on the disk."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from purge_api.journal import Journal
from purge_api.record import Draft

_headland = pytest.importorskip("_headland", reason="the extension is not built: make develop")

WAIT_S = 20
"""Seconds after which a future that nobody resolves fails its test."""


class SpyLedger:
    """The ledger of the core, and what was asked of it."""

    def __init__(self, epoch: int = 0) -> None:
        self.core = _headland.Ledger()
        self.applied: list[tuple[str, str, bool, int]] = []
        self.reserve = self.core.reserve
        self.held = self.core.held
        if epoch:
            self.core.apply("tag", "before", False, 0, epoch)

    def apply_all(
        self, kind: str, values: list[str], soft: bool, at_ms: int, first_epoch: int, *, headers: Any = None
    ) -> None:
        self.core.apply_all(kind, values, soft, at_ms, first_epoch, headers=headers)
        self.applied += [(kind, value, soft, first_epoch + index) for index, value in enumerate(values)]

    def epoch(self) -> int:
        return self.core.epoch()

    def __len__(self) -> int:
        return len(self.core)


class GatedLedger(SpyLedger):
    """Holds the first rule back until told, so that a queue builds up behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.gate = threading.Event()

    def apply_all(
        self, kind: str, values: list[str], soft: bool, at_ms: int, first_epoch: int, *, headers: Any = None
    ) -> None:
        self.entered.set()
        assert self.gate.wait(WAIT_S)
        super().apply_all(kind, values, soft, at_ms, first_epoch, headers=headers)


def draft(*items: str, kind: str = "url", soft: bool = False) -> Draft:
    return Draft(kind, items, soft, "ci", "192.0.2.1", 1_700_000_000_000)


@contextlib.contextmanager
def opened(directory: Path, ledger: SpyLedger | None = None):
    journal = Journal(directory, SpyLedger() if ledger is None else ledger)
    try:
        yield journal
    finally:
        journal.close()


def rows(directory: Path, statement: str, *arguments: object) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(directory / "cache.db")) as connection, connection:
        return connection.execute(statement, arguments).fetchall()
