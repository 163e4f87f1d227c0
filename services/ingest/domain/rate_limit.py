"""Token buckets: how many events a key may send, on average and at once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RateLimit:
    events_per_second: float
    burst: int


class TokenBucket:
    """Full at first; refills with time, never above the burst. What other processes took may leave it in debt."""

    __slots__ = ("_at", "_level", "_limit")

    def __init__(self, limit: RateLimit, now: float) -> None:
        self._limit = limit
        self._level = float(limit.burst)
        self._at = now

    def take(self, count: int, now: float) -> float:
        """Seconds until `count` tokens are there: 0 when they were, and then they are taken."""
        self._refill(now)
        if self._level >= count:
            self._level -= count
            return 0.0
        return (count - self._level) / self._limit.events_per_second

    def charge(self, count: int, now: float) -> None:
        """Others took these already; the debt is at most one burst."""
        self._refill(now)
        self._level = max(self._level - count, -float(self._limit.burst))

    def _refill(self, now: float) -> None:
        gained = max(0.0, now - self._at) * self._limit.events_per_second
        self._level = min(float(self._limit.burst), self._level + gained)
        self._at = now
