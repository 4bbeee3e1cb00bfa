"""The document behind the dashboard: what `GET /v1/stats` answers.

Rates and ratios come from the readings of the last seconds, series from those of the last three minutes, totals from
the newest one. Ratios are null where nothing happened; times are milliseconds.
"""

from __future__ import annotations

from typing import Any

from edge.context import AdminContext
from edge.readings import HIT_WORDS, History, Reading

__all__ = ["stats"]

NOW_S = 10.0
"""Seconds that the current figures look back."""
SERIES = ("requests_per_s", "hit_ratio", "hit_p95_ms", "miss_p95_ms", "bytes_per_s")
"""Figures shown over time."""


def stats(context: AdminContext, history: History, version: str) -> dict[str, Any]:
    """Everything that the dashboard shows."""
    document: dict[str, Any] = {
        "node": context.node_name,
        "version": version,
        "status": "draining" if context.draining else "ok",
        "addresses": [{"kind": kind, "address": address} for kind, address in context.node.addresses()],
        "config": {
            "success": context.reload_state.success,
            "success_at_s": context.reload_state.success_at_s,
            "error": context.reload_state.error,
            "reloads": context.reload_state.reloads,
        },
    }
    for name, source in context.sources.items():
        document[name] = source()
    newest = history.newest
    if newest is None:
        return document
    interval = history.last(NOW_S)
    steps = history.steps()
    document["uptime_s"] = newest.totals["uptime_ms"] / 1000
    document["now"] = {} if interval is None else interval.figures()
    document["series"] = {name: [step[name] for step in steps] for name in SERIES}
    document["total"] = _total(newest)
    document["origin"] = _origin(newest) | {
        "p50_ms": None if interval is None else interval.origin_ttfb_ms(0.5),
        "p95_ms": None if interval is None else interval.origin_ttfb_ms(0.95),
    }
    for name in ("store", "connections", "tls_handshakes", "certificates"):
        document[name] = newest.totals[name]
    return document


def _total(reading: Reading) -> dict[str, Any]:
    outcomes: dict[str, int] = {}
    for row in reading.totals["requests"]:
        outcomes[row["outcome"]] = outcomes.get(row["outcome"], 0) + row["count"]
    return {
        "requests": reading.requests(),
        "hits": reading.requests(*HIT_WORDS),
        "outcomes": outcomes,
        "classes": reading.classes(),
        "bytes": reading.response_bytes(),
        "collapsed": reading.totals["collapsed"],
        "refused": sum(reading.totals["refused"].values()),
    }


def _origin(reading: Reading) -> dict[str, Any]:
    origin = reading.totals["origin"]
    taken = origin["connections_opened"] + origin["connections_reused"]
    sent = reading.response_bytes()
    return {
        "requests": origin["requests"],
        "bytes": origin["bytes"],
        "open": origin["open"],
        "idle": origin["idle"],
        "errors": sum(origin["errors"].values()),
        "reuse_ratio": origin["connections_reused"] / taken if taken else None,
        "offload": 1 - origin["bytes"] / sent if sent else None,
    }
