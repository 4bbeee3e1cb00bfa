"""report.json (every round of every peer) and the plain-text table; page.py makes report.html of the same data."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from perf import machine, page, plot
from perf.bench import Pace
from perf.machine import Cores
from perf.profile import Profile
from perf.results import Measure, Outcome, Verdict
from perf.stats import spread

FORMAT = 1


def assemble(
    outcomes: Sequence[Outcome],
    *,
    profiles: dict[str, Profile],
    peers: Sequence[str],
    cores: Cores,
    pace: Pace,
    arguments: Sequence[str],
) -> dict[str, object]:
    """The whole report as JSON-ready data."""
    return {
        "format": FORMAT,
        "ended": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": " ".join(["python -m perf", *arguments]),
        "pace": {"rounds": pace.rounds, "seconds": pace.seconds, "quick": pace.quick},
        "cores_shared": cores.shared,
        "machine": machine.describe(cores),
        "peers": {name: _peer(profiles[name]) for name in peers},
        "scenarios": [_scenario(outcome) for outcome in outcomes],
    }


def write(data: dict[str, object], folder: Path) -> None:
    """Both files, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    (folder / "report.html").write_text(page.render(data), encoding="utf-8")


def table(data: dict[str, object]) -> str:
    """Verdicts and medians for a terminal; also what perf/README.md quotes."""
    lines: list[str] = []
    for scenario in page.scenarios_of(data):
        lines.append(
            f"{scenario['name']}: {scenario['state']}{' - ' + scenario['reason'] if scenario['reason'] else ''}"
        )
        for measure in scenario["measures"]:
            medians = ", ".join(
                f"{name} {'invalid' if page.is_invalid(measure, name) else plot.short(each['median'])}"
                for name, each in measure["summary"].items()
            )
            lines.append(f"  {measure['title']} ({measure['unit']}): {medians}")
        lines.extend(f"  {page.verdict_words(verdict)}" for verdict in scenario["verdicts"])
    return "\n".join(lines)


def _peer(profile: Profile) -> dict[str, object]:
    return {
        "title": profile.title,
        "about": profile.about,
        "version": profile.version_line(),
        "values": profile.values,
        "variants": profile.variants,
        "missing": profile.missing(),
    }


def _spoiled(measure: Measure, name: str) -> dict[str, str]:
    """JSON's keys are text."""
    return {str(number): why for number, why in measure.spoiled(name).items()}


def _scenario(outcome: Outcome) -> dict[str, object]:
    measures = [
        dataclasses.asdict(measure)
        | {"summary": {name: dataclasses.asdict(spread(measure.usable(name))) for name in measure.values}}
        | {"spoiled": {name: why for name in measure.values if (why := _spoiled(measure, name))}}
        for measure in outcome.measures
    ]
    verdicts = [_verdict(verdict) for verdict in outcome.verdicts]
    return dataclasses.asdict(outcome) | {"measures": measures, "verdicts": verdicts}


def _verdict(verdict: Verdict) -> dict[str, object]:
    return dataclasses.asdict(verdict)
