"""What a scenario hands back, and the verdict that its bars pass on it: pure data, all that a report is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from perf.stats import Spread, paired_ratios, spread


@dataclass(frozen=True, slots=True)
class Bar:
    """What the node must reach in one measure: a ratio to the reference, or a value in the measure's own unit."""

    measure: str
    at_most: float
    kind: Literal["ratio", "absolute"] = "ratio"
    goal: float | None = None


@dataclass(slots=True)
class Measure:
    """One quantity of several peers. `values[peer][i]` is that of round i; `details` holds all else that was read."""

    key: str
    title: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)
    details: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, peer: str, value: float, **detail: object) -> None:
        self.values.setdefault(peer, []).append(value)
        self.details.setdefault(peer, []).append(detail)

    def best_of(self, profile: str) -> str | None:
        """The variant of a profile with the lowest median: the reference is taken at its best."""
        names = [name for name in self.values if name.partition("/")[0] == profile]
        return min(names, key=lambda name: spread(self.values[name]).median, default=None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar held against a measure. `value` is None when one of the two sides was not measured."""

    bar: Bar
    title: str
    unit: str
    subject: str
    reference: str
    value: Spread | None
    reached: bool | None
    reached_goal: bool | None


@dataclass(slots=True)
class Outcome:
    """A scenario's end: its measures and verdicts, or why there are none."""

    name: str
    title: str
    about: str
    state: Literal["measured", "failed", "skipped"] = "measured"
    reason: str = ""
    seconds: float = 0.0
    measures: list[Measure] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    commands: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def judge(bar: Bar, measure: Measure, subject: str, reference: str) -> Verdict:
    """Hold `bar` against `measure`: rounds are paired for a ratio, the subject stands alone for an absolute bar."""
    mine, theirs = measure.best_of(subject), measure.best_of(reference)
    value: Spread | None = None
    if bar.kind == "absolute" and mine:
        value = spread(measure.values[mine])
    elif bar.kind == "ratio" and mine and theirs:
        value = spread(paired_ratios(measure.values[mine], measure.values[theirs]))
    unit = "x" if bar.kind == "ratio" else measure.unit
    against = (theirs or reference) if bar.kind == "ratio" else ""
    reached = None if value is None else value.median <= bar.at_most
    goal = None if value is None or bar.goal is None else value.median <= bar.goal
    return Verdict(bar, measure.title, unit, mine or subject, against, value, reached, goal)
