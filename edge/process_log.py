"""Where the Python side of a node logs: warnings and the audit lines of purges, on standard error.

Access log lines are the core's. Audit lines are JSON, one per line, and stand alone; others say that they are ours.
"""

from __future__ import annotations

import logging
import sys

__all__ = ["AUDIT_LOGGER", "configure"]

AUDIT_LOGGER = "headland.audit"
"""Extensions log what was asked of the node, by whom, on this logger."""


def configure(*, audit: bool) -> None:
    """Set up logging for the whole process; called once by whoever owns it.

    Args:
        audit: Whether audit lines are written.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="headland: %(levelname)s %(name)s: %(message)s"
    )
    logger = logging.getLogger(AUDIT_LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler: logging.Handler = logging.StreamHandler(sys.stderr) if audit else logging.NullHandler()
    logger.handlers = [handler]
