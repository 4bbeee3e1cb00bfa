"""What is shown while the suite runs: on a terminal a bar below the lines, elsewhere the lines alone."""

from __future__ import annotations

import sys
import time
from typing import Self, TextIO

BAR_CELLS = 24


class Progress:
    """The course of a run over `total` scenarios; a context that takes its bar away at the end."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._number, self._name = 0, ""
        self._start = time.monotonic()

    def scenario(self, number: int, name: str, title: str) -> None:
        """The scenario of this number, counted from 1, begins."""
        self._number, self._name = number, name
        self.line(f"[{number}/{self._total}] {name}: {title}")

    def line(self, text: str) -> None:
        """One line for good."""
        self._clear()
        print(text, file=self._stream)
        self._draw()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._clear()

    def bar(self) -> str:
        """Scenarios that have ended, as cells; then which one runs, and minutes and seconds since the start."""
        filled = BAR_CELLS * max(0, self._number - 1) // max(1, self._total)
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        cells = "█" * filled + "░" * (BAR_CELLS - filled)
        return f"{cells} {self._number}/{self._total} {self._name} {minutes}:{seconds:02}"

    def _clear(self) -> None:
        if self._terminal:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()

    def _draw(self) -> None:
        if self._terminal:
            self._stream.write(self.bar())
            self._stream.flush()
