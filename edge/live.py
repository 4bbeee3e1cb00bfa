"""One line that tells how a node is doing: rewritten every second on a terminal, one line every ten seconds elsewhere.

Figures are those of the last seconds, totals those since the start; see `edge.readings`.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import TextIO

from edge.context import NodeFace
from edge.readings import History, Interval, Reading

__all__ = ["LiveLine", "line"]

TICK_S = 1.0
"""Seconds between readings."""
PLAIN_TICKS = 10
"""Readings per line where lines cannot be rewritten."""
LOOK_BACK_S = 5.0
"""Seconds that rates and quantiles look back."""
COLUMNS_MIN = 40
"""Columns that are used even if a terminal says it has fewer."""


def line(interval: Interval, columns: int | None = None) -> str:
    """The line for one interval; what does not fit into so many columns is left out, the last first."""
    figures, totals = interval.figures(), interval.newer.totals
    parts = [
        f"{interval.newer.requests():,} requests",
        f"{interval.requests_per_s:,.0f}/s",
        f"hit {_percent(figures['hit_ratio'])}",
        f"TTFB p50/p95: hit {_pair(figures['hit_p50_ms'], figures['hit_p95_ms'])}",
        f"miss {_pair(figures['miss_p50_ms'], figures['miss_p95_ms'])}",
        f"{totals['store']['objects']:,} stored",
        _size(totals["store"]["bytes"]),
    ]
    while columns is not None and len(parts) > 1 and len("  ".join(parts)) > columns:
        parts.pop()
    return "  ".join(parts)[:columns]


class LiveLine:
    """Writes the line of a node to a stream until it is cancelled."""

    def __init__(self, node: NodeFace, stream: TextIO) -> None:
        self._node = node
        self._stream = stream
        self._rewrites = stream.isatty()
        self._history = History()
        self._ticks = 0

    async def run(self) -> None:
        """Tick for ever; leaves the terminal on a line of its own."""
        try:
            while True:
                self.tick()
                await asyncio.sleep(TICK_S)
        finally:
            if self._rewrites:
                self._stream.write("\n")

    def tick(self) -> None:
        """Take one reading, and write if it is time."""
        self._history.add(Reading.of(time.monotonic(), self._node.metrics()))
        self._ticks += 1
        interval = self._history.last(LOOK_BACK_S if self._rewrites else PLAIN_TICKS * TICK_S)
        if interval is None:
            return
        if self._rewrites:
            columns = max(shutil.get_terminal_size().columns - 1, COLUMNS_MIN)
            # Carriage return, the line, and what the last one left behind erased (ECMA-48: EL).
            self._stream.write(f"\r{line(interval, columns)}\x1b[K")
        elif self._ticks % PLAIN_TICKS == 0:
            self._stream.write(line(interval) + "\n")
        self._stream.flush()


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio * 100:.1f} %"


def _pair(p50_ms: float | None, p95_ms: float | None) -> str:
    return "-" if p50_ms is None or p95_ms is None else f"{_ms(p50_ms)}/{_ms(p95_ms)} ms"


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
