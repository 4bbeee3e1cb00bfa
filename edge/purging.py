"""`headland purge`: any number of items from words, files or standard input, with progress, to an exit status.

Purging is the business of the purge API, so its client comes through the entry point group `headland.client`, as its
server part comes through `headland.admin`: this package knows neither by name. Items go in requests of as many as one
may have, one after the other; what was answered is in force, whatever becomes of the next.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final, Protocol, TextIO

from edge.exits import Exit
from edge.remote import TIMEOUT_S, Remote, failed

__all__ = ["CLIENTS", "Order", "purge"]

CLIENTS: Final = "headland.client"
"""The entry point group whose `purge` is a module with `PurgeClient`, `ClientError` and `Unreachable`."""
REFUSED_SHOWN_MAX: Final = 20
"""Refused items that are printed."""


class _PurgeResult(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def items(self) -> Sequence[str]: ...

    @property
    def refused(self) -> Sequence[dict[str, Any]]: ...

    @property
    def missing(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be purged, and how."""

    kind: str
    items: Sequence[str] = ()
    file: str | None = None
    """A file with one item per line instead; "-" is standard input."""
    soft: bool = False
    partial: bool = False
    """Leave bad items out instead of refusing all of a request."""
    dry_run: bool = False
    headers: dict[str, str | None] | None = None
    """Fields of the request whose variant of each URL is meant; None for one that it does not have."""
    wait_s: float = 0.0
    """Seconds to wait until all live nodes of the fleet have applied each request."""


@dataclass(slots=True)
class _Tally:
    """What was done so far."""

    requests: int = 0
    items: int = 0
    refused: int = 0
    missing: tuple[str, ...] = ()


def purge(remote: Remote, order: Order) -> Exit:
    """Purge, and print one line per request that the node took; some may be in force when a later one fails."""
    points = metadata.entry_points(group=CLIENTS, name="purge")
    if not points:
        return failed(Exit.USAGE, f"nothing is installed in the group {CLIENTS}: pip install headland")
    module: Any = next(iter(points)).load()
    tally = _Tally()
    try:
        with ExitStack() as files:
            client = module.PurgeClient(remote.base, remote.token, timeout_s=TIMEOUT_S)
            items = _items(order, files)
            if order.dry_run:
                return _survey(client, order, list(items))
            for result in _results(client, order, items):
                _tell(order, result, tally)
    except (ValueError, OSError) as error:
        return failed(Exit.USAGE, str(error))
    except module.Unreachable as error:
        return failed(Exit.UNREACHABLE, _so_far(str(error), tally))
    except module.ClientError as error:
        return failed(Exit.REFUSED, _so_far(str(error), tally))
    return _verdict(tally)


def _items(order: Order, files: ExitStack) -> Iterable[str]:
    if order.file is None:
        return order.items
    stream: TextIO = sys.stdin
    if order.file != "-":
        stream = files.enter_context(open(order.file, encoding="utf-8"))  # noqa: PTH123, SIM115 - it may be a pipe
    return (line.strip() for line in stream if line.strip() and not line.startswith("#"))


def _results(client: Any, order: Order, items: Iterable[str]) -> Iterator[_PurgeResult]:
    how = {"headers": order.headers, "soft": order.soft, "partial": order.partial, "wait_s": order.wait_s}
    if order.kind == "all":
        return iter([client.purge("all", **how)])
    results: Iterator[_PurgeResult] = client.purge_many(order.kind, items, **how)
    return results


def _tell(order: Order, result: _PurgeResult, tally: _Tally) -> None:
    tally.requests += 1
    tally.items += len(result.items)
    tally.refused += len(result.refused)
    tally.missing = tuple(result.missing) or tally.missing
    for item in result.refused[:REFUSED_SHOWN_MAX]:
        print(f"refused: {item['item']}: {item['reason']}", file=sys.stderr)
    how = "made stale" if order.soft else "purged"
    what = "everything" if order.kind == "all" else _count(len(result.items), order.kind)
    total = f", {tally.items:,} so far" if tally.requests > 1 else ""
    print(f"{how} {what} ({result.id}){total}", flush=True)


def _survey(client: Any, order: Order, items: Sequence[str]) -> Exit:
    for reach in client.dry_run(order.kind, items, headers=order.headers):
        print(f"{reach['objects']:>10,} objects  {reach['bytes']:>16,} bytes  {reach['item'] or 'everything'}")
    return Exit.OK


def _verdict(tally: _Tally) -> Exit:
    if tally.missing:
        return failed(Exit.INCOMPLETE, f"not yet applied by: {', '.join(tally.missing)}")
    if tally.refused:
        return failed(Exit.INCOMPLETE, f"{_count(tally.refused, 'item')} refused")
    if not tally.requests:
        return failed(Exit.USAGE, "there was nothing to purge")
    return Exit.OK


def _so_far(sentence: str, tally: _Tally) -> str:
    return sentence if not tally.requests else f"{sentence} (after {_count(tally.items, 'item')} in force)"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
