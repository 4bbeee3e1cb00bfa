"""Inline SVG, drawn with numbers only: a strip of dots per peer, a gauge for a ratio, curves for distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

ROW = 26
LABEL = 150
WIDTH = 640
RIGHT = 110
TOP = 6
AXIS = 22


def strip(rows: Mapping[str, Sequence[float]], unit: str) -> str:
    """One row per peer: every round a dot, the median a stroke with its value; the axis begins at nothing."""
    most = max((max(values) for values in rows.values() if values), default=1.0) or 1.0
    height = TOP + ROW * len(rows) + AXIS
    parts = [_open(WIDTH, height, "rounds of every peer")]
    for step in _ticks(most):
        x = LABEL + step / most * (WIDTH - LABEL - RIGHT)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - AXIS}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 6}" text-anchor="middle">{short(step)}</text>')
    for number, (name, values) in enumerate(rows.items()):
        parts.extend(_strip_row(name, values, most, TOP + ROW * number + ROW / 2, number))
    parts.append(f'<text class="tick" x="{WIDTH}" y="{height - 6}" text-anchor="end">{escape(unit)}</text></svg>')
    return "".join(parts)


def gauge(value: float, low: float, high: float, bar: float) -> str:
    """A ratio on a scale from 0 to 1.5 (or its own double): the range, the median, and where the bar hangs."""
    width, height = 180, 18
    most = max(1.5, bar * 1.5, high * 1.1)

    def place(at: float) -> float:
        return 2 + min(at, most) / most * (width - 4)

    side = "good" if value <= bar else "bad"
    return (
        f"{_open(width, height, f'ratio {value:.2f}, bar {bar:g}')}"
        f'<line class="grid" x1="2" x2="{width - 2}" y1="9" y2="9"/>'
        f'<line class="span {side}" x1="{place(low):.1f}" x2="{place(high):.1f}" y1="9" y2="9"/>'
        f'<circle class="dot {side}" cx="{place(value):.1f}" cy="9" r="5"/>'
        f'<line class="limit" x1="{place(bar):.1f}" x2="{place(bar):.1f}" y1="1" y2="17"/></svg>'
    )


def curves(lines: Mapping[str, Sequence[tuple[float, float]]], unit: str) -> str:
    """Latency by percentile: x is how many of the requests were slower (log), y the latency (log)."""
    width, height, left, bottom = WIDTH, 240, 56, 40
    points = [y for line in lines.values() for _, y in line if y > 0]
    if not points:
        return ""
    low, high = math.log10(min(points)), math.log10(max(points)) + 0.05
    span = max(high - low, 0.3)

    def place(slower: float, y: float) -> str:
        across = left + (-math.log10(max(slower, 1e-4)) / 4) * (width - left - RIGHT)
        down = TOP + (1 - (math.log10(y) - low) / span) * (height - bottom - TOP)
        return f"{across:.1f},{down:.1f}"

    parts = [_open(width, height, "latency by percentile")]
    for label, slower in (("p0", 1.0), ("p90", 0.1), ("p99", 0.01), ("p99.9", 0.001), ("p99.99", 0.0001)):
        x = place(slower, points[0]).split(",")[0]
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{height - bottom}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{height - bottom + 14}" text-anchor="middle">{label}</text>')
    for step in (10**power * factor for power in range(math.floor(low), math.ceil(high)) for factor in (1, 3)):
        if low <= math.log10(step) <= low + span:
            y = place(1.0, step).split(",")[1]
            parts.append(f'<line class="grid" x1="{left}" x2="{width - RIGHT}" y1="{y}" y2="{y}"/>')
            parts.append(f'<text class="tick" x="{left - 6}" y="{y}" dy="4" text-anchor="end">{short(step)}</text>')
    for number, (name, line) in enumerate(lines.items()):
        path = " ".join(place(slower, y) for slower, y in line if y > 0)
        parts.append(f'<polyline class="curve c{number % 6}" points="{path}"/>')
        parts.append(
            f'<text class="name c{number % 6}" x="{width - RIGHT + 8}" y="{TOP + 14 + 18 * number}">'
            f"{escape(name)}</text>"
        )
    parts.append(f'<text class="tick" x="4" y="{height - 4}">{escape(unit)}, both scales logarithmic</text></svg>')
    return "".join(parts)


def against_load(lines: Mapping[str, Sequence[tuple[float, float]]], unit: str) -> str:
    """A value against the load: x is requests per second, y the value; both axes begin at nothing."""
    width, height, left, bottom = WIDTH, 220, 56, 40
    points = [point for line in lines.values() for point in line]
    if not points:
        return ""
    most_x, most_y = max(x for x, _ in points) or 1.0, (max(y for _, y in points) or 1.0) * 1.1

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + x / most_x * (width - left - RIGHT)
        return across, TOP + (1 - y / most_y) * (height - bottom - TOP)

    parts = [_open(width, height, "value against load")]
    for step in _ticks(most_y):
        y = place(0, step)[1]
        parts.append(f'<line class="grid" x1="{left}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y:.1f}" dy="4" text-anchor="end">{short(step)}</text>')
    for step in _ticks(most_x):
        x = place(step, 0)[0]
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{height - bottom + 16}" text-anchor="middle">{short(step)}</text>'
        )
    for number, (name, line) in enumerate(lines.items()):
        places = [place(x, y) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="curve c{number % 6}" points="{path}"/>')
        parts.extend(f'<circle class="dot c{number % 6}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places)
        parts.append(
            f'<text class="name c{number % 6}" x="{width - RIGHT + 8}" y="{TOP + 14 + 18 * number}">'
            f"{escape(name)}</text>"
        )
    parts.append(f'<text class="tick" x="4" y="{height - 4}">{escape(unit)}, against requests per second</text></svg>')
    return "".join(parts)


def _strip_row(name: str, values: Sequence[float], most: float, y: float, number: int) -> list[str]:
    def place(at: float) -> float:
        return LABEL + at / most * (WIDTH - LABEL - RIGHT)

    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    parts = [f'<text class="name" x="{LABEL - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>']
    parts.append(
        f'<rect class="track c{number % 6}" x="{LABEL}" y="{y - 7:.1f}" width="{place(median) - LABEL:.1f}" '
        'height="14" rx="2"/>'
    )
    parts.extend(f'<circle class="dot c{number % 6}" cx="{place(value):.1f}" cy="{y:.1f}" r="3"/>' for value in values)
    parts.append(f'<text class="value" x="{place(max(values)) + 8:.1f}" y="{y + 4:.1f}">{short(median)}</text>')
    return parts


def _open(width: int, height: int, label: str) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg {size} role="img" aria-label="{escape(label)}">'


def _ticks(most: float) -> list[float]:
    step = 10 ** math.floor(math.log10(most))
    for factor in (0.2, 0.5, 1, 2):
        if most / (step * factor) <= 6:
            step *= factor
            break
    return [step * number for number in range(int(most / step) + 1)]


def short(value: float) -> str:
    """A number with about three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
