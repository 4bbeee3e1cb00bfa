"""One reading of the node's counters, and what lies between two of them. Pure.

`_headland.Node.metrics()` gives totals since the start as JSON. `Reading` is that document at one moment; `Interval` is
the difference of two, with the figures people look at: rates, hit ratios, time to the first byte apart for what came
from the store and what had to ask the origin. `History` keeps a bounded number of readings, one per tick.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

__all__ = ["HIT_WORDS", "Figures", "History", "Interval", "Reading", "quantile"]

HIT_WORDS = ("hit", "revalidated", "stale", "stale-error")
"""Outcomes whose body came from the store."""
STORE_WORDS = ("hit", "stale")
"""Outcomes that did not wait for the origin."""
ORIGIN_WORDS = ("miss", "bypass", "revalidated", "stale-error")
"""Outcomes that did."""
LOCAL_WORD = "local"
"""Answers of the node itself (redirects, refusals, errors): they count as requests, not as hits or misses."""
HISTORY_READINGS_MAX = 181
"""Readings kept: three minutes, one per second."""
Figures = dict[str, float | None]
"""Figures of an interval by name; None where nothing happened that they could be about."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters at one moment."""

    at_s: float
    """A monotonic time in seconds."""
    totals: Mapping[str, Any]
    """The document of `Node.metrics()`."""

    @classmethod
    def of(cls, at_s: float, document: bytes) -> Reading:
        """Parse a document. Raises `orjson.JSONDecodeError` for anything that is not JSON."""
        return cls(at_s, orjson.loads(document))

    def requests(self, *words: str) -> int:
        """Requests with one of these outcomes; all without any."""
        rows = self.totals["requests"]
        return sum(row["count"] for row in rows if not words or row["outcome"] in words)

    def classes(self) -> dict[str, int]:
        """Requests by status class."""
        found: dict[str, int] = {}
        for row in self.totals["requests"]:
            found[row["status_class"]] = found.get(row["status_class"], 0) + row["count"]
        return found

    def response_bytes(self, *words: str) -> int:
        """Bytes of responses with one of these outcomes; all without any."""
        return sum(count for word, count in self.totals["response_bytes"].items() if not words or word in words)

    def ttfb(self, words: Iterable[str]) -> list[int]:
        """Buckets of the time to the first byte, summed over outcomes."""
        chosen = set(words)
        return _summed(row["buckets"] for row in self.totals["ttfb"] if row["outcome"] in chosen)

    @property
    def bounds_us(self) -> list[int]:
        """Upper bounds of the buckets in microseconds; the last bucket has none."""
        bounds: list[int] = self.totals["bucket_bounds_us"]
        return bounds


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened from one reading to a later one."""

    older: Reading
    newer: Reading

    @property
    def seconds(self) -> float:
        """Its length in seconds, never zero."""
        return max(self.newer.at_s - self.older.at_s, 1e-6)

    def requests(self, *words: str) -> int:
        """Requests that ended in it."""
        return self.newer.requests(*words) - self.older.requests(*words)

    @property
    def requests_per_s(self) -> float:
        """Requests per second."""
        return self.requests() / self.seconds

    @property
    def bytes_per_s(self) -> float:
        """Bytes sent to clients per second."""
        return (self.newer.response_bytes() - self.older.response_bytes()) / self.seconds

    @property
    def hit_ratio(self) -> float | None:
        """Requests answered from the store over those that could have been; None without any."""
        return _ratio(self.requests(*HIT_WORDS), self.requests() - self.requests(LOCAL_WORD))

    @property
    def byte_hit_ratio(self) -> float | None:
        """Response bytes that came from the store over all but the node's own; None without any."""
        hits = self.newer.response_bytes(*HIT_WORDS) - self.older.response_bytes(*HIT_WORDS)
        words = (*HIT_WORDS, "miss", "bypass")
        return _ratio(hits, self.newer.response_bytes(*words) - self.older.response_bytes(*words))

    @property
    def error_ratio(self) -> float | None:
        """Answers with a 5xx status over all; None without any."""
        errors = self.newer.classes().get("5xx", 0) - self.older.classes().get("5xx", 0)
        return _ratio(errors, self.requests())

    def ttfb_ms(self, q: float, words: Iterable[str]) -> float | None:
        """A quantile of the time to the first byte in milliseconds; None without requests."""
        words = tuple(words)
        buckets = _difference(self.newer.ttfb(words), self.older.ttfb(words))
        found = quantile(q, self.newer.bounds_us, buckets)
        return None if found is None else found / 1000

    def origin_ttfb_ms(self, q: float) -> float | None:
        """A quantile of the origin's time to the first byte in milliseconds; None without fetches."""
        newer, older = (reading.totals["origin"]["ttfb"]["buckets"] for reading in (self.newer, self.older))
        found = quantile(q, self.newer.bounds_us, _difference(newer, older))
        return None if found is None else found / 1000

    def figures(self) -> Figures:
        """The figures of the dashboard and the live line, by name."""
        return {
            "requests_per_s": self.requests_per_s,
            "bytes_per_s": self.bytes_per_s,
            "hit_ratio": self.hit_ratio,
            "byte_hit_ratio": self.byte_hit_ratio,
            "error_ratio": self.error_ratio,
            "hit_p50_ms": self.ttfb_ms(0.5, STORE_WORDS),
            "hit_p95_ms": self.ttfb_ms(0.95, STORE_WORDS),
            "miss_p50_ms": self.ttfb_ms(0.5, ORIGIN_WORDS),
            "miss_p95_ms": self.ttfb_ms(0.95, ORIGIN_WORDS),
        }


class History:
    """The last readings, oldest first, and the figures of the step to each; belongs to one thread."""

    def __init__(self, readings_max: int = HISTORY_READINGS_MAX) -> None:
        self._readings: deque[Reading] = deque(maxlen=readings_max)
        self._steps: deque[Figures] = deque(maxlen=readings_max - 1)

    def add(self, reading: Reading) -> None:
        """Keep a reading; the oldest goes when there are too many."""
        if self._readings:
            self._steps.append(Interval(self._readings[-1], reading).figures())
        self._readings.append(reading)

    @property
    def newest(self) -> Reading | None:
        """The last reading, if there is any."""
        return self._readings[-1] if self._readings else None

    def last(self, seconds: float) -> Interval | None:
        """The interval that ends with the newest reading and goes back at most so long, but one reading at least."""
        readings = list(self._readings)
        if len(readings) < 2:
            return None
        newer = readings.pop()
        within = (reading for reading in readings if newer.at_s - reading.at_s <= seconds)
        return Interval(next(within, readings[-1]), newer)

    def steps(self) -> list[Figures]:
        """The figures from each reading to the next."""
        return list(self._steps)


def quantile(q: float, bounds: Sequence[int], buckets: Sequence[int]) -> float | None:
    """A quantile from the counts of buckets, linear within the bucket, as Prometheus' histogram_quantile.

    Args:
        q: From 0 to 1.
        bounds: Upper bounds, rising; the bucket after the last has none and counts as its lower bound.
        buckets: Counts per bucket, not cumulative.

    Returns:
        The quantile in the unit of the bounds; None when nothing was counted.
    """
    total = sum(buckets)
    if total == 0:
        return None
    rank = q * total
    below = 0
    for index, count in enumerate(buckets):
        if count and below + count >= rank:
            if index >= len(bounds):
                break
            lower = bounds[index - 1] if index else 0
            return lower + (bounds[index] - lower) * (rank - below) / count
        below += count
    return float(bounds[-1])


def _summed(rows: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _difference(newer: Sequence[int], older: Sequence[int]) -> list[int]:
    return [new - old for new, old in zip(newer, older or [0] * len(newer), strict=True)]


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None
