"""Runs scenarios one after the other and turns what they return, or why they ended, into outcomes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from perf.bench import Bench, Pace
from perf.errors import NotAvailableError, PerfError
from perf.machine import Cores
from perf.profile import Profile
from perf.progress import Progress
from perf.results import Outcome, judge
from perf.scenario import Scenario


def run_all(
    chosen: Sequence[Scenario],
    *,
    folder: Path,
    profiles: dict[str, Profile],
    peers: tuple[str, ...],
    cores: Cores,
    pace: Pace,
    subject: str,
    reference: str,
) -> list[Outcome]:
    """One outcome per scenario; a scenario that fails does not keep the next ones from running."""
    outcomes = []
    with Progress(len(chosen)) as progress:
        for number, each in enumerate(chosen, 1):
            progress.scenario(number, each.name, each.title)
            bench = Bench(folder / each.name, profiles, peers, cores, pace, progress.line)
            outcome = run_one(each, bench, subject, reference)
            if outcome.state != "measured":
                progress.line(f"  {outcome.state}: {outcome.reason}")
            outcomes.append(outcome)
    return outcomes


def run_one(scenario: Scenario, bench: Bench, subject: str, reference: str) -> Outcome:
    """Measure, judge, and clean up whatever happens."""
    outcome = Outcome(scenario.name, scenario.title, scenario.about)
    bench.folder.mkdir(parents=True)
    start = time.monotonic()
    try:
        outcome.measures = scenario.run(bench)
    except NotAvailableError as error:
        outcome.state, outcome.reason = "skipped", str(error)
    except PerfError as error:
        outcome.state, outcome.reason = "failed", str(error)
    finally:
        bench.close()
        shutil.rmtree(bench.folder, ignore_errors=True)
    outcome.seconds = time.monotonic() - start
    outcome.commands, outcome.absent = bench.commands, bench.absent
    by_key = {measure.key: measure for measure in outcome.measures}
    bars = [bar for bar in scenario.bars if bar.measure in by_key]
    outcome.verdicts = [judge(bar, by_key[bar.measure], subject, reference) for bar in bars]
    return outcome


def listing(scenarios: dict[str, Scenario], profiles: dict[str, Profile]) -> str:
    """What --list prints."""
    lines = ["scenarios:"]
    for scenario in scenarios.values():
        bars = ", ".join(
            f"{bar.measure} <= {bar.at_most:g}{'x' if bar.kind == 'ratio' else ''}" for bar in scenario.bars
        )
        aside = " (by --only)" if scenario.by_name else ""
        lines.append(f"  {scenario.name:14} {scenario.title}{aside}{f'  [{bars}]' if bars else ''}")
    lines.append("peers:")
    for profile in profiles.values():
        missing = profile.missing()
        state = f"not installed: {', '.join(missing)}" if missing else profile.version_line()
        lines.append(f"  {profile.name:14} {profile.title} ({state})")
    return "\n".join(lines)
