"""Purge rules as values, and the ledger of the core that every hit is checked against.

A rule with an epoch greater than the one an object was born at matches it: a soft rule makes it stale, a hard one
removes it. The ledger is memory only; whoever applies a rule makes it durable first, and applies the stored rules
again, with their epochs, before the first request after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import _headland

__all__ = ["HeaderFields", "Kind", "PurgeRule", "apply", "canonical", "check", "rules"]

Kind = Literal["url", "path", "prefix", "wildcard", "regex", "host", "site", "tag", "all"]
"""What a rule names: one URL over both schemes, a path with every query, all targets of a host that begin so, those
that fit a pattern with asterisks or an expression, a host, a name with every port (or all names below one), a tag,
everything."""


HeaderFields = tuple[tuple[str, str], ...]
"""Fields of the request whose variant of a URL is meant."""


@dataclass(frozen=True, slots=True)
class PurgeRule:
    """One purge.

    Attributes:
        kind: What it names.
        value: A URL, path or prefix (the scheme may be left out), a pattern, a host, a name, a tag; nothing for `all`.
        soft: Whether what matches becomes stale instead of gone.
        at_ms: When it was asked for, Unix time in milliseconds.
        epoch: Its number; None until a ledger gives it one.
        headers: The one variant of a URL that a request with these fields would get; None for every variant.
    """

    kind: Kind
    value: str
    soft: bool
    at_ms: int
    epoch: int | None = None
    headers: HeaderFields | None = None


def check(kind: str, value: str, headers: HeaderFields | None = None) -> None:
    """Raises `ValueError` with one sentence when a value names nothing."""
    _headland.canonical_purge(kind, value, headers)


def canonical(rule: PurgeRule) -> PurgeRule:
    """Gives the rule with its value as the ledger keeps it.

    Raises:
        ValueError: The value names nothing; one sentence says why.
    """
    return replace(rule, value=_headland.canonical_purge(rule.kind, rule.value, rule.headers))


def apply(ledger: _headland.Ledger, rule: PurgeRule) -> PurgeRule:
    """Puts a rule in force before returning, and gives it back with its epoch and canonical value.

    Raises:
        ValueError: The value names nothing; nothing was applied.
    """
    known = canonical(rule)
    epoch = ledger.apply(known.kind, known.value, known.soft, known.at_ms, known.epoch, headers=known.headers)
    return replace(known, epoch=epoch)


def rules(ledger: _headland.Ledger) -> list[PurgeRule]:
    """Gives every rule that the ledger keeps, oldest epoch first; applying them to another restores it."""
    return [
        PurgeRule(kind, value, soft, at_ms, epoch, None if headers is None else tuple(headers))
        for kind, value, soft, at_ms, epoch, headers in ledger.rules()
    ]
