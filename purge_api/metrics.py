"""What purging counts: purges by type, refusals by reason, the time from receipt to being in force and its steps."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from purge_api.journal import CommitTimes
from purge_api.record import PurgeRecord
from purge_api.vocabulary import KINDS, MODES

__all__ = ["PurgeMetrics"]

STEPS = ("queued", "written", "applied")
STEP_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)
"""Bounds of the histograms of a commit's steps in seconds."""
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
        self.steps = Histogram(
            "headland_purge_commit_seconds",
            "Steps of a group commit: waiting for the journal, written and synced, in force.",
            ["step"],
            registry=registry,
            buckets=STEP_BUCKETS_S,
        )
        self.damaged = Gauge(
            "headland_purge_journal_damaged",
            "Whether the journal was found damaged at the start, and everything stored was purged for that.",
            registry=registry,
        )
        self._queued, self._written, self._applied = (self.steps.labels(step) for step in STEPS)
        # Looked up once, because that takes longer than counting.
        self._items = {kind: self.items.labels(kind) for kind in KINDS}
        self._purges = {(kind, mode): self.purges.labels(kind, mode) for kind in KINDS for mode in MODES}

    def applied(self, record: PurgeRecord, seconds: float) -> None:
        """Count a purge that took so long from receipt."""
        self._purges[record.kind, record.mode].inc()
        self._items[record.kind].inc(len(record.items))
        self.apply.observe(seconds)

    def committed(self, times: CommitTimes) -> None:
        """Note where the time of a group commit went; called on the journal's thread."""
        self._queued.observe(times.queued_s)
        self._written.observe(times.written_s)
        self._applied.observe(times.applied_s)
