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
    reference: str = ""
    """Another peer than the one that the run as a whole is held against."""


@dataclass(slots=True)
class Measure:
    """One quantity of several peers. `values[peer][i]` is that of round i; `details` holds all else that was read."""

    key: str
    title: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)
    details: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    lines: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Per peer, points (load per second, value): drawn as lines instead of rounds."""

    def add(self, peer: str, value: float, spoiled: str = "", /, **detail: object) -> None:
        """One round's value; `spoiled` says why it may not be used, as when the generator was the limit."""
        self.values.setdefault(peer, []).append(value)
        self.details.setdefault(peer, []).append({**detail, "spoiled": spoiled} if spoiled else detail)

    def spoiled(self, peer: str) -> dict[int, str]:
        """Rounds that may not be used, and why."""
        found = {number: str(each.get("spoiled", "")) for number, each in enumerate(self.details.get(peer, ()))}
        return {number: why for number, why in found.items() if why}

    def usable(self, peer: str) -> list[float]:
        """The values of the rounds that nothing spoiled; all of them, if none is left."""
        spoiled = self.spoiled(peer)
        return [value for number, value in enumerate(self.values[peer]) if number not in spoiled] or self.values[peer]

    def best_of(self, profile: str) -> str | None:
        """The variant of a profile with the lowest median: the reference is taken at its best."""
        names = [name for name in self.values if name.partition("/")[0] == profile]
        return min(names, key=lambda name: spread(self.usable(name)).median, default=None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar held against a measure. `value` is None when one of the two sides was not measured, or `invalid` says why
    what was measured may not be reported."""

    bar: Bar
    title: str
    unit: str
    subject: str
    reference: str
    value: Spread | None
    reached: bool | None
    reached_goal: bool | None
    invalid: str = ""


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
    """Hold `bar` against `measure`: rounds are paired for a ratio, the subject stands alone for an absolute bar.

    Rounds that were spoiled on either side do not count; when they are more than half, nothing is reported.
    """
    reference = bar.reference or reference
    mine, theirs = measure.best_of(subject), measure.best_of(reference)
    sides = [name for name in ((mine, theirs) if bar.kind == "ratio" else (mine,)) if name]
    value: Spread | None = None
    invalid = ""
    if len(sides) == (2 if bar.kind == "ratio" else 1):
        value, invalid = _counted(bar, measure, sides)
    unit = "x" if bar.kind == "ratio" else measure.unit
    against = (theirs or reference) if bar.kind == "ratio" else ""
    reached = None if value is None else value.median <= bar.at_most
    goal = None if value is None or bar.goal is None else value.median <= bar.goal
    return Verdict(bar, measure.title, unit, mine or subject, against, value, reached, goal, invalid)


def _counted(bar: Bar, measure: Measure, sides: list[str]) -> tuple[Spread | None, str]:
    """The spread of the rounds that no side spoiled, or why there are too few."""
    spoiled = {number: f"{name}: {why}" for name in sides for number, why in measure.spoiled(name).items()}
    kept = [[value for number, value in enumerate(measure.values[name]) if number not in spoiled] for name in sides]
    if len(kept[0]) * 2 <= len(measure.values[sides[0]]):
        return None, f"{len(spoiled)} of {len(measure.values[sides[0]])} rounds: {next(iter(spoiled.values()))}"
    return spread(paired_ratios(*kept) if bar.kind == "ratio" else kept[0]), ""
