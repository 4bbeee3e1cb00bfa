"""The Rust core of Headland: one extension module with the classes of all its rooms.

Every class may be used from any thread; calls that wait do so without holding the interpreter.
"""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, final

__version__: Final[str]

PurgeKind: TypeAlias = Literal["url", "path", "prefix", "wildcard", "regex", "host", "site", "tag", "all"]

class SettingsError(ValueError):
    """A snapshot was refused as a whole; one sentence says why."""

class DiskError(OSError):
    """The disk tier cannot be opened; one sentence says why."""

class ListenError(OSError):
    """An address cannot be listened on; one sentence names it and says why."""

OUTCOME_WORDS: Final[list[str]]
"""What may become of a request: the words of logs, metrics and Cache-Status."""

_Headers: TypeAlias = Sequence[tuple[str, str]] | None

@final
class Ledger:
    """The purge rules in memory, which every hit is checked against."""

    def __new__(
        cls,
        *,
        rules_max: int | None = None,
        prefix_rules_max: int | None = None,
        pattern_rules_max: int | None = None,
    ) -> Ledger:
        """A ledger without rules. Beyond the bounds the oldest are folded into broader rules."""

    def apply(
        self, kind: str, value: str, soft: bool, at_ms: int, epoch: int | None = None, *, headers: _Headers = None
    ) -> int:
        """Put a rule in force before returning; gives its epoch. `at_ms` is Unix time; `epoch` is given on replay.

        `headers` are fields of the requests whose variant of a URL is meant; None means every variant.

        Raises `ValueError` when the value names nothing.
        """

    def apply_all(
        self, kind: str, values: list[str], soft: bool, at_ms: int, first_epoch: int, *, headers: _Headers = None
    ) -> None:
        """Put the rules of one purge in force; epochs count up from the first. Raises `ValueError`: none applied."""

    def reserve(self, count: int = 1) -> int:
        """Take the next epochs for rules that are yet to be made durable and applied; the answer is the first."""

    def held(self, first: int, last: int) -> tuple[list[int], int]:
        """The epochs of a range whose rules are kept, and up to which one rules were folded into rules for all.

        Of a rule with an epoch of its own beyond that which is not kept, nothing is needed any more.
        """

    def epoch(self) -> int:
        """The newest epoch given out."""

    def rules(self) -> list[tuple[PurgeKind, str, bool, int, int, list[tuple[str, str]] | None]]:
        """Every rule kept, oldest epoch first: kind, value, soft, at_ms, epoch, header fields."""

    def forget_until(self, epoch: int) -> None:
        """Drop the rules up to an epoch, when nothing older is stored or being fetched."""

    def stats(self) -> tuple[int, int, int]:
        """Rules kept now, applied so far, and folded because there were too many."""

    def __len__(self) -> int:
        """How many rules are kept."""

def canonical_url(url: str) -> tuple[str, str, str]:
    """Scheme, host and target of an absolute URL, before the key rules of any site. Raises `ValueError`."""

def canonical_host(host: str, scheme: str) -> str:
    """A host in lower case, without final dot and without the scheme's default port. Raises `ValueError`."""

def canonical_purge(kind: str, value: str, headers: _Headers = None) -> str:
    """The value of a purge rule as the ledger keeps it. Raises `ValueError`."""

def key_hash(scheme: str, host: str, target: str, parts: list[tuple[bytes, bytes | None]] = ...) -> int:
    """XXH3-128 of a cache key of canonical host and target. Raises `ValueError` for another scheme."""

@final
class Disk:
    """The disk tier of a node that does not run."""

    def __new__(cls, snapshot_json: bytes) -> Disk:
        """Open the files. Raises `DiskError`, also when a node has them, and `SettingsError` without such a tier."""

    def inspect(self, question_json: bytes) -> bytes:
        """The answer to a question about it. Raises `ValueError` with one sentence."""

    def close(self) -> None:
        """Write what is to be written, and let go of the files."""

@final
class Node:
    """One node: its snapshot, store, ledger, pool, listeners and workers."""

    def __new__(cls, snapshot_json: bytes) -> Node:
        """Compile a snapshot; nothing is bound yet. Raises `SettingsError`."""

    @property
    def version(self) -> str:
        """The version of the core."""

    def start(self, secret: bytes | None = None) -> None:
        """Bind the listeners and start the workers. Raises `ListenError`.

        `secret`, 32 bytes, keeps TLS tickets and QUIC's tokens good over a restart; without one they last as long as
        the process.
        """

    def addresses(self) -> list[tuple[str, str]]:
        """Pairs of kind (`http`, `https`) and `ip:port` with real port numbers."""

    def reload(self, snapshot_json: bytes) -> None:
        """Swap the snapshot. Raises `SettingsError` and keeps the old one, also for what only a restart can change."""

    def drain(self, deadline_ms: int) -> bool:
        """Stop accepting and wait for running requests; whether all ended within the milliseconds."""

    def advance_clock(self, by_ms: int) -> int:
        """Put the node's clock forward, for tests without sleeping; gives its Unix time in ms."""

    def metrics(self) -> bytes:
        """Counters and histograms as one JSON document."""

    def inspect(self, question_json: bytes) -> bytes:
        """The answer to a question about the disk tier; waits for the disk. Raises `ValueError` with one sentence."""

    def ledger(self) -> Ledger:
        """The node's ledger."""

    def set_server_health(self, origin: str, server: str, up: bool) -> bool:
        """Say what active checks found of a server, by its URL; false when no origin has it."""

    def canonical_url(self, url: str) -> tuple[str, str, str]:
        """Scheme, host and target of a URL after the key rules of its site. Raises `ValueError`."""

    def explain(self, url: str, headers: list[tuple[str, str]], method: str = "GET") -> bytes:
        """What a GET would meet now, as one JSON document. Raises `ValueError`."""

    def next_purge(self, timeout_ms: int) -> tuple[int, str, str, list[tuple[str, str]], str, bool] | None:
        """A purge of the data port that waits: id, method, URL, fields, client address, whether that is allowed."""

    def answer_purge(self, id: int, status: int, body: str) -> None:
        """Answer it; `body` is a document of JSON."""

    def forget_rules(self, until: int) -> int:
        """Drop the rules up to an epoch as far as nothing older is stored or being fetched; the answer is how far.

        Looks at everything that is stored.
        """

    def varied(self, url: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The header fields that choose the variant of a GET, as the rules of its site leave them.

        Raises `ValueError`.
        """

    def reach(self, purges: list[tuple[str, str]], headers: _Headers = None) -> list[tuple[int, int]]:
        """Objects and bytes that each purge (kind, value) would reach now; nothing is purged.

        Looks at everything that is stored. Raises `ValueError`.
        """
