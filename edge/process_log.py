"""Where the Python side of a node logs: warnings and the audit lines of purges, on standard error.

Access log lines are the core's. Audit lines are JSON, one per line, and stand alone; others say that they are ours.
Whoever reads them may stall: a thread of its own writes, so that neither a purge nor a health check waits for that.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
from typing import Final, TextIO

__all__ = ["AUDIT_LOGGER", "LINES_MAX", "UnblockedHandler", "configure"]

AUDIT_LOGGER = "headland.audit"
"""Extensions log what was asked of the node, by whom, on this logger."""
LINES_MAX: Final = 10_000
"""Lines that may wait for a reader who stalls; more are dropped, and their number is told once it reads again."""
LINES_AT_ONCE_MAX: Final = 256
"""Lines written by one system call."""
FLUSH_S: Final = 1.0
"""Seconds that the end of the process waits for lines to be read."""


class UnblockedHandler(logging.Handler):
    """Writes lines to a stream from a thread of its own; whoever logs never waits."""

    def __init__(self, stream: TextIO, lines_max: int = LINES_MAX) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lines_max = lines_max
        self._lost = 0
        self._idle = threading.Event()
        self._idle.set()
        threading.Thread(target=self._write, name="headland-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Put the record's line into the queue, or drop it when that is full."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - as every handler does: a line that cannot be made is reported, not raised
            self.handleError(record)
            return
        if self._lines.qsize() >= self._lines_max:
            self._lost += 1
            return
        self._idle.clear()
        self._lines.put(line)

    def flush(self) -> None:
        """Wait until all lines are written, or until that takes too long."""
        self._idle.wait(FLUSH_S)

    def _write(self) -> None:
        while True:
            lines = self._take()
            if self._lost:
                lost, self._lost = self._lost, 0
                lines.insert(0, f"headland: WARNING {__name__}: {lost} log lines were lost, nobody read them")
            try:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # the stream is closed: there is nobody left to tell
                self._idle.set()
                return
            if self._lines.empty():
                self._idle.set()

    def _take(self) -> list[str]:
        """Wait for a line, then take what else is there."""
        lines = [self._lines.get()]
        with contextlib.suppress(queue.Empty):
            while len(lines) < LINES_AT_ONCE_MAX:
                lines.append(self._lines.get_nowait())
        return lines


def configure(*, audit: bool) -> None:
    """Set up logging for the whole process; called once by whoever owns it.

    Args:
        audit: Whether audit lines are written.
    """
    writer = UnblockedHandler(sys.stderr)
    writer.setFormatter(logging.Formatter("headland: %(levelname)s %(name)s: %(message)s"))
    # A line names none of them, and finding them out for each costs more than the line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(handlers=[writer], level=logging.WARNING)
    logger = logging.getLogger(AUDIT_LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [UnblockedHandler(sys.stderr) if audit else logging.NullHandler()]
