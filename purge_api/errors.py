"""What can go wrong in the purge API, as one tree.

PurgeError
  Refused             the caller's fault: carries what the problem document says (RFC 9457)
  JournalError        the node's fault: the purge was not taken
    JournalDamaged    what is on disk cannot be trusted
    JournalLocked     another process holds the journal
    JournalBusy       more purges wait for the disk than the bound allows
    JournalFailed     the disk refused a write
    JournalClosed     the node is going down
  ClientError         raised by `purge_api.client` only
    Unreachable       no answer from the admin address
    Answered          an answer that is not success, with its problem document
"""

# ruff: noqa: N818 - names say what happened, as the tree above reads

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "Answered",
    "ClientError",
    "JournalBusy",
    "JournalClosed",
    "JournalDamaged",
    "JournalError",
    "JournalFailed",
    "JournalLocked",
    "PurgeError",
    "Refused",
    "Unreachable",
]


class PurgeError(Exception):
    """The root of the tree."""


class Refused(PurgeError):
    """A request that is not taken: status, a stable word for machines, one sentence for people.

    Args:
        status: The HTTP status of the answer.
        word: The last part of the problem's type, such as `bad-item`.
        detail: One sentence that names what is wrong and what was expected.
        headers: Header fields of the answer.
        extra: Further members of the problem document, such as `errors`.
    """

    def __init__(
        self,
        status: int,
        word: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.word = word
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


class JournalError(PurgeError):
    """The journal could not do what was asked; nothing was applied."""


class JournalDamaged(JournalError):
    """The journal on disk cannot be read, or holds something that it never wrote."""


class JournalLocked(JournalError):
    """Another process has the journal open."""


class JournalBusy(JournalError):
    """The queue before the disk is full."""


class JournalFailed(JournalError):
    """The disk refused a write."""


class JournalClosed(JournalError):
    """The journal was closed while the purge waited, or before."""


class ClientError(PurgeError):
    """What the client of the API raises."""


class Unreachable(ClientError):
    """Nobody answered at the admin address, or the connection broke."""


class Answered(ClientError):
    """The node answered with an error.

    Args:
        status: The HTTP status.
        problem: The problem document, or an empty mapping where the answer was none.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"HTTP status {status}"))
        self.status = status
        self.problem = dict(problem)
