"""What purging counts: purges by type and mode, refusals by reason, and the time from receipt to being in force."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from purge_api.record import PurgeRecord
from purge_api.vocabulary import KINDS, MODES

__all__ = ["PurgeMetrics"]

APPLY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds of the histogram in seconds; the disk's own sync is most of it."""


class PurgeMetrics:
    """The collectors, registered once per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.purges = Counter("headland_purges", "Purges applied.", ["type", "mode"], registry=registry)
        self.items = Counter("headland_purge_items", "Items of the purges applied.", ["type"], registry=registry)
        self.refused = Counter("headland_purge_refused", "Purge requests refused.", ["reason"], registry=registry)
        self.apply = Histogram(
            "headland_purge_apply_seconds",
            "From receipt of a purge to its rules being durable and in force.",
            registry=registry,
            buckets=APPLY_BUCKETS_S,
        )
        self.damaged = Gauge(
            "headland_purge_journal_damaged",
            "Whether the journal was found damaged at the start, and everything stored was purged for that.",
            registry=registry,
        )
        # Looked up once, because that takes longer than counting.
        self._items = {kind: self.items.labels(kind) for kind in KINDS}
        self._purges = {(kind, mode): self.purges.labels(kind, mode) for kind in KINDS for mode in MODES}

    def applied(self, record: PurgeRecord, seconds: float) -> None:
        """Count a purge that took so long from receipt."""
        self._purges[record.kind, record.mode].inc()
        self._items[record.kind].inc(len(record.items))
        self.apply.observe(seconds)
