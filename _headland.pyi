"""The Rust core of Headland: one extension module with the classes of all its rooms.

Every class may be used from any thread; calls that wait do so without holding the interpreter.
"""

from typing import Final, final

__version__: Final[str]

class SettingsError(ValueError):
    """A snapshot was refused as a whole; one sentence says why."""

class ListenError(OSError):
    """An address cannot be listened on; one sentence names it and says why."""

@final
class Ledger:
    """The purge rules in memory, which every hit is checked against."""

    def apply(self, kind: str, value: str, soft: bool, at_ms: int, epoch: int | None = None) -> int:
        """Put a rule in force before returning; gives its epoch. `at_ms` is Unix time; `epoch` is given on replay."""

    def epoch(self) -> int:
        """The newest epoch given out."""

    def rules(self) -> int:
        """How many rules are held."""

@final
class Node:
    """One node: its snapshot, store, ledger, pool, listeners and workers."""

    def __new__(cls, snapshot_json: bytes) -> Node:
        """Compile a snapshot; nothing is bound yet. Raises `SettingsError`."""

    @property
    def version(self) -> str:
        """The version of the core."""

    def start(self) -> None:
        """Bind the listeners and start the workers. Raises `ListenError`."""

    def addresses(self) -> list[tuple[str, str]]:
        """Pairs of kind (`http`, `https`) and `ip:port` with real port numbers."""

    def reload(self, snapshot_json: bytes) -> None:
        """Swap the snapshot. Raises `SettingsError` and keeps the old one, also for what only a restart can change."""

    def drain(self, deadline_ms: int) -> bool:
        """Stop accepting and wait for running requests; whether all ended within the milliseconds."""

    def metrics(self) -> bytes:
        """Counters and histograms as one JSON document."""

    def ledger(self) -> Ledger:
        """The node's ledger."""

    def canonical_url(self, url: str) -> tuple[str, str, str]:
        """Scheme, host and target of a URL after the key rules of its site. Raises `ValueError`."""

    def explain(self, url: str, headers: list[tuple[str, str]]) -> bytes:
        """What a GET would meet now, as one JSON document. Raises `ValueError`."""

    def next_purge(self, timeout_ms: int) -> tuple[int, str, str, bool, str] | None:
        """A PURGE of the data port that waits to be made durable: id, kind, value, soft, client address."""

    def answer_purge(self, id: int, ok: bool, text: str) -> None:
        """Answer it; `text` is the id of the purge, or in one sentence why it was not taken."""
