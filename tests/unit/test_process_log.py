"""Log lines wait for nobody: a reader that stalls costs lines, never a purge."""

from __future__ import annotations

import io
import logging
import os

from edge.process_log import UnblockedHandler


def _record(text: str) -> logging.LogRecord:
    return logging.LogRecord("audit", logging.INFO, __file__, 1, text, None, None)


def test_lines_are_written_in_order():
    stream = io.StringIO()
    handler = UnblockedHandler(stream)
    for number in range(100):
        handler.emit(_record(f"line {number}"))
    handler.flush()
    assert stream.getvalue() == "".join(f"line {number}\n" for number in range(100))


def test_a_reader_that_stalls_stops_nobody_and_learns_what_it_missed():
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        handler = UnblockedHandler(stream, lines_max=10)
        for number in range(200):  # far more than pipe and queue hold
            handler.emit(_record(f"{number} " + "x" * 4000))
        told = b""
        while b"log lines were lost" not in told:
            told += os.read(reading, 65536)
            handler.emit(_record("more"))
        os.set_blocking(reading, False)
    assert b"0 xxx" in told
    os.close(reading)


def test_a_stream_that_is_closed_is_let_be():
    stream = io.StringIO()
    handler = UnblockedHandler(stream)
    stream.close()
    for _ in range(3):
        handler.emit(_record("x"))
    handler.flush()
