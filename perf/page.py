"""report.html: one file, no network, read at a glance: verdicts first, then plots, then what stands under them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from perf import plot

SUMMED = (
    "requests",
    "requests_per_s",
    "server_busy",
    "load_busy",
    "voluntary_switches",
    "involuntary_switches",
    "rss_bytes",
    "rss_peak_bytes",
)
STYLE = Path(__file__).parent / "page.css"
CAVEATS = (
    "Ratios within one run on one machine are comparable, absolute times are not: a shared machine has neighbours.",
    "CPU per request is the server's own accounting: all threads and children, user and system.",
    "Loopback's interrupt work is charged to the sender, on both sides alike; a network card's is not part of this.",
    "Closed loops say what a request costs, not how long a visitor waits.",
    "The distribution's NGINX is older than today's mainline: its version stands with every number.",
    "NGINX stores on disk, warm in the page cache, which its resident memory does not show.",
)


def scenarios_of(data: Mapping[str, object]) -> list[dict[str, Any]]:
    """The scenarios of an assembled report, as the JSON that they are."""
    found = data["scenarios"]
    return found if isinstance(found, list) else []


def verdict_words(verdict: Mapping[str, Any]) -> str:
    """One verdict as one line of text."""
    bar, value = verdict["bar"], verdict["value"]
    against = f" / {verdict['reference']}" if verdict["reference"] else ""
    head = f"{verdict['title']}: {verdict['subject']}{against}"
    if verdict["invalid"]:
        return f"{head}: INVALID, {verdict['invalid']}"
    if value is None:
        return f"{head}: not measured (bar {plot.short(bar['at_most'])} {verdict['unit']})"
    state = "reached" if verdict["reached"] else "MISSED"
    spread = f"{plot.short(value['median'])} [{plot.short(value['low'])} .. {plot.short(value['high'])}]"
    return f"{head}: {spread} {verdict['unit']}, bar {plot.short(bar['at_most'])}: {state}"


def render(data: Mapping[str, Any]) -> str:
    """The whole page."""
    title = "Headland beside NGINX"
    body = "".join((_verdicts(data), "".join(map(_scenario, scenarios_of(data))), _peers(data), _machine(data)))
    quick = " &middot; quick run: for the harness, not for quoting" if data["pace"]["quick"] else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE.read_text(encoding='utf-8')}</style><main><h1>{title}</h1>"
        f'<p class="sub">{escape(data["ended"])} &middot; <code>{escape(data["command"])}</code>{quick}</p>'
        f"{body}</main></html>"
    )


def _verdicts(data: Mapping[str, Any]) -> str:
    rows = "".join(
        _verdict_row(scenario, verdict) for scenario in scenarios_of(data) for verdict in scenario["verdicts"]
    )
    others = "".join(
        f'<tr><td>{escape(scenario["title"])}</td><td colspan="5">{escape(scenario["reason"])}</td>'
        f'<td><span class="pill {scenario["state"]}">{scenario["state"]}</span></td></tr>'
        for scenario in scenarios_of(data)
        if scenario["state"] != "measured"
    )
    head = "<tr><th>measure<th>of<th>at most<th>goal<th>measured<th><th>verdict</tr>"
    return f'<section><h2>Verdict</h2><div class="scroll"><table>{head}{rows}{others}</table></div></section>'


def _verdict_row(scenario: Mapping[str, Any], verdict: Mapping[str, Any]) -> str:
    bar, value = verdict["bar"], verdict["value"]
    who = verdict["subject"] + (f" / {verdict['reference']}" if verdict["reference"] else "")
    goal = "" if bar["goal"] is None else f"{bar['goal']:g}"
    unit = "" if verdict["unit"] == "x" else f" {verdict['unit']}"
    if verdict["invalid"]:
        measured, drawing, word, kind = escape(verdict["invalid"]), "", "invalid", "skipped"
    elif value is None:
        reason = "; ".join(f"{name}: {why}" for name, why in scenario["absent"].items())
        measured, drawing, word, kind = escape(reason), "", "not measured", "skipped"
    else:
        low, high = plot.short(value["low"]), plot.short(value["high"])
        measured = f"<b>{plot.short(value['median'])}</b>{escape(unit)} <small>{low} to {high}</small>"
        drawing = (
            plot.gauge(value["median"], value["low"], value["high"], bar["at_most"]) if verdict["unit"] == "x" else ""
        )
        word, kind = ("reached", "good") if verdict["reached"] else ("missed", "bad")
        word += ", goal too" if verdict["reached_goal"] else ""
    return (
        f"<tr><td>{escape(verdict['title'])}</td><td>{escape(who)}</td><td>{plot.short(bar['at_most'])}{escape(unit)}</td>"
        f"<td>{goal}</td>"
        f'<td>{measured}</td><td>{drawing}</td><td><span class="pill {kind}">{word}</span></td></tr>'
    )


def _scenario(scenario: Mapping[str, Any]) -> str:
    measures = "".join(map(_measure, scenario["measures"]))
    reason = f'<p class="note">{scenario["state"]}: {escape(scenario["reason"])}</p>' if scenario["reason"] else ""
    absent = "".join(
        f'<p class="note">without {escape(name)}: {escape(why)}</p>' for name, why in scenario["absent"].items()
    )
    commands = "\n".join(f"# {name}\n{command}" for name, command in scenario["commands"].items())
    told = f"<details><summary>commands</summary><pre>{escape(commands)}</pre></details>" if commands else ""
    return (
        f'<section id="{escape(scenario["name"])}"><h2>{escape(scenario["title"])}</h2>'
        f"<p>{escape(scenario['about'])}</p>"
        f"{reason}{absent}{measures}{told}</section>"
    )


def is_invalid(measure: Mapping[str, Any], name: str) -> bool:
    """Whether no round of a peer may be reported."""
    return len(measure["spoiled"].get(name, ())) == len(measure["values"][name])


def _measure(measure: Mapping[str, Any]) -> str:
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in (*measure["notes"], *_spoiled(measure)))
    if measure["lines"]:
        drawing = plot.against_load(measure["lines"], measure["unit"])
        return f'<h3>{escape(measure["title"])}</h3><div class="scroll">{drawing}</div>{notes}'
    valid = {name: values for name, values in measure["values"].items() if not is_invalid(measure, name)}
    counted = {name: [value for _, value in _counted(measure, name, values)] for name, values in valid.items()}
    drawing = plot.strip(counted, measure["unit"]) if counted else ""
    rounds = {name: [each for _, each in _counted(measure, name, measure["details"][name])] for name in valid}
    lines = {name: each for name, kept in rounds.items() if (each := kept[-1].get("curve"))}
    curves = f'<div class="scroll">{plot.curves(lines, measure["unit"])}</div>' if lines else ""
    return f'<h3>{escape(measure["title"])}</h3><div class="scroll">{drawing}</div>{curves}{_table(rounds)}{notes}'


def _counted(measure: Mapping[str, Any], name: str, rounds: Sequence[Any]) -> list[tuple[int, Any]]:
    """The rounds that nothing spoiled, with their numbers."""
    spoiled = {int(number) for number in measure["spoiled"].get(name, ())}
    return [(number, each) for number, each in enumerate(rounds) if number not in spoiled]


def _spoiled(measure: Mapping[str, Any]) -> list[str]:
    """One line per peer of which rounds are not reported."""
    return [
        f"{name}: {'invalid' if is_invalid(measure, name) else 'not counted'}: {len(why)} of "
        f"{len(measure['values'][name])} rounds, {next(iter(why.values()))}"
        for name, why in measure["spoiled"].items()
    ]


def _table(details: Mapping[str, list[Mapping[str, Any]]]) -> str:
    """What a scenario keeps beside the value: rates and shares, or percentiles; nothing for the others."""
    if any("latency_us" in rounds[-1] for rounds in details.values()):
        return _percentiles(details)
    rows = ""
    for name, rounds in details.items():
        if "requests_per_s" not in rounds[0]:
            return ""
        mean = {key: sum(each[key] for each in rounds) / len(rounds) for key in rounds[0] if key in SUMMED}
        limited = any(each["load_was_the_limit"] for each in rounds)
        rate = "<i>generator-bound</i>" if limited else f"{mean['requests_per_s']:,.0f}"
        per_1000 = {key: mean[f"{key}_switches"] / mean["requests"] * 1000 for key in ("voluntary", "involuntary")}
        rows += (
            f"<tr><td>{escape(name)}<td>{rate}<td>{mean['server_busy']:.0%}<td>{mean['load_busy']:.0%}"
            f"<td>{per_1000['voluntary']:.1f}<td>{per_1000['involuntary']:.1f}"
            f"<td>{mean['rss_bytes'] / 2**20:.1f}<td>{mean['rss_peak_bytes'] / 2**20:.1f}</tr>"
        )
    head = (
        "<tr><th>peer<th>requests/s<th>server busy<th>generator busy<th>voluntary<th>involuntary switches per 1,000"
        "<th>RSS MiB<th>peak MiB</tr>"
    )
    return f'<div class="scroll"><table class="small">{head}{rows}</table></div>'


def _percentiles(details: Mapping[str, list[Mapping[str, Any]]]) -> str:
    names = ("p50", "p90", "p95", "p99", "p999", "max")
    rows = ""
    for name, rounds in details.items():
        medians = (statistics.median(each["latency_us"][key] for each in rounds) for key in names)
        rows += f"<tr><td>{escape(name)}" + "".join(f"<td>{value:,.0f}" for value in medians) + "</tr>"
    head = "<tr><th>time to first byte, us" + "".join(f"<th>{key}" for key in names) + "</tr>"
    return f'<div class="scroll"><table class="small">{head}{rows}</table></div>'


def _peers(data: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}<td>{escape(peer['version'] or 'not installed')}<td>{escape(peer['about'])}</tr>"
        for name, peer in data["peers"].items()
    )
    return f'<section><h2>Peers</h2><div class="scroll"><table>{rows}</table></div></section>'


def _machine(data: Mapping[str, Any]) -> str:
    shared = ("Server and load shared one core: throughput says nothing here.",) if data["cores_shared"] else ()
    caveats = "".join(f"<li>{escape(caveat)}</li>" for caveat in (*CAVEATS, *shared))
    rows = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}<td>{escape(str(value))}</tr>"
        for name, value in data["machine"].items()
    )
    pace = data["pace"]
    method = (
        f"{pace['rounds']} interleaved rounds of {pace['seconds']:g} s; ratios within a round; median and quartiles."
    )
    return (
        f"<section><h2>Method and caveats</h2><p>{method}</p><ul>{caveats}</ul></section>"
        f'<section><h2>Machine</h2><div class="scroll"><table class="small">{rows}</table></div></section>'
    )
