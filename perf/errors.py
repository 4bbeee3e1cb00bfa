"""Why a scenario ended without numbers. Each is caught by the runner, shown and kept in the report."""

from __future__ import annotations


class PerfError(Exception):
    """Anything that ends a scenario."""


class WrongAnswerError(PerfError):
    """A peer answered something else than was asked for: its speed is of no interest."""


class ClockSetError(PerfError):
    """The machine's clock was set while a generator read it: the run says nothing, and is made again."""


class NotStartedError(PerfError):
    """A peer, the origin or a load generator could not be started or never became ready."""


class NotAvailableError(PerfError):
    """Something that the scenario needs is not on this machine: it is skipped, with this reason."""
