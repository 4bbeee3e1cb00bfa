"""How much one token may purge: a token bucket of items. Pure: time is an argument.

Each item of a purge costs one, and a bucket refills at a fixed rate. A refused request costs nothing, so that waiting
as long as the answer says is always enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from purge_api.errors import Refused

__all__ = ["RateLimit", "RateLimiter"]

ITEMS_PER_SECOND = 10_000
"""Items that one token may purge per second, in the long run."""
ITEMS_BURST = 20_000
"""Items that one token may purge at once after a pause."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How a bucket stands after a request."""

    remaining: int
    """Items that may be purged now."""
    reset_s: int
    """Seconds until the bucket is full."""

    def headers(self, per_second: float, burst: int) -> dict[str, str]:
        """The fields RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers), and the older spelling."""
        window = max(1, math.ceil(burst / per_second))
        return {
            "RateLimit-Policy": f'"items";q={burst};w={window}',
            "RateLimit": f'"items";r={self.remaining};t={self.reset_s}',
            "X-RateLimit-Limit": str(burst),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_s),
        }


@dataclass(slots=True)
class _Bucket:
    level: float
    at_s: float


class RateLimiter:
    """One bucket per token name; there are as many as tokens are configured.

    Args:
        clock: A monotonic time in seconds.
        per_second: Items per second in the long run.
        burst: Items at once.
    """

    def __init__(
        self, clock: Callable[[], float], *, per_second: float = ITEMS_PER_SECOND, burst: int = ITEMS_BURST
    ) -> None:
        self.per_second = per_second
        self.burst = burst
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def charge(self, name: str, items: int) -> dict[str, str]:
        """Take `items` from the bucket of a token; the answer is the header fields that tell how it stands.

        Raises:
            Refused: 429 with Retry-After, when there are not enough; nothing is taken.
        """
        bucket = self._filled(name)
        if items > bucket.level:
            wait_s = max(1, math.ceil((items - bucket.level) / self.per_second))
            headers = {**self._fields(bucket), "Retry-After": str(wait_s)}
            raise Refused(
                429,
                "rate",
                f"token {name!r} may purge {self.per_second:g} items per second; try again in {wait_s} s",
                headers=headers,
            )
        bucket.level -= items
        return self._fields(bucket)

    def _filled(self, name: str) -> _Bucket:
        now_s = self._clock()
        bucket = self._buckets.setdefault(name, _Bucket(self.burst, now_s))
        bucket.level = min(float(self.burst), bucket.level + (now_s - bucket.at_s) * self.per_second)
        bucket.at_s = now_s
        return bucket

    def _fields(self, bucket: _Bucket) -> dict[str, str]:
        missing = self.burst - bucket.level
        limit = RateLimit(int(bucket.level), math.ceil(missing / self.per_second))
        return limit.headers(self.per_second, self.burst)
