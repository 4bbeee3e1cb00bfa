"""Medians, spreads and paired ratios: the only arithmetic behind a verdict.

A ratio is formed within a round, never between averages: the two runs of one round saw the same machine, runs minutes
apart did not. The spread that is reported is the one of the rounds' ratios (first to third quartile).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some values and how far they lie apart; in the values' own unit."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Median with first and third quartile; with fewer than four values the extremes stand in for the quartiles."""
    if not values:
        raise ValueError("a spread of nothing was asked for")
    if len(values) < 4:
        return Spread(statistics.median(values), min(values), max(values), len(values))
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high, len(values))


def paired_ratios(subject: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Ratio subject / reference of every round; both must hold the same rounds in the same order."""
    if len(subject) != len(reference):
        raise ValueError(f"unpaired rounds: {len(subject)} against {len(reference)}")
    return [mine / theirs for mine, theirs in zip(subject, reference, strict=True)]
