"""What the exit status of `headland` means; the table of `headland --help` comes from here."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit"]


class Exit(IntEnum):
    """Exit statuses, each with its sentence in `meaning`."""

    OK = 0
    CONFIGURATION = 1
    USAGE = 2
    LISTEN = 3
    UNREACHABLE = 4
    REFUSED = 5
    UNDRAINED = 6
    STATE = 7
    INCOMPLETE = 8

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return _MEANINGS[self]


_MEANINGS = {
    Exit.OK: "done; for a node: every request had ended when it stopped",
    Exit.CONFIGURATION: "the configuration was refused; every problem is on standard error",
    Exit.USAGE: "the command line is wrong",
    Exit.LISTEN: "an address cannot be listened on",
    Exit.UNREACHABLE: "the node's admin address, or the probed server, does not answer",
    Exit.REFUSED: "the node refused what was asked (token, scope, bad item)",
    Exit.UNDRAINED: "the node stopped with requests still running (deadline or second signal)",
    Exit.STATE: "the node's state directory or its purge journal cannot be used",
    Exit.INCOMPLETE: "purged, but some items were refused, or some nodes of the fleet had not applied it in time",
}
