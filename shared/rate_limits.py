"""Rate limits: a token bucket for each key or user, decided from memory."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from shared.errors import TooManyRequests

logger = structlog.get_logger(__name__)

LOG_EVERY_SECONDS = 10.0
MAX_BUCKETS = 100_000


@dataclass(frozen=True)
class RateLimit:
    """How many events may come on average and at once."""

    events_per_second: float
    burst: int


class RateLimited(TooManyRequests):
    title = "Rate limit exceeded"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class TokenBucket:
    """Full at first; refills with time, never above the burst. What other processes took may leave it in debt."""

    __slots__ = ("_at", "_level", "_limit")

    def __init__(self, limit: RateLimit, now: float) -> None:
        self._limit = limit
        self._level = float(limit.burst)
        self._at = now

    def take(self, count: int, now: float) -> float:
        """Take `count` tokens and return 0, or take none and return the seconds until they are there."""
        self._refill(now)
        if self._level >= count:
            self._level -= count
            return 0.0
        return (count - self._level) / self._limit.events_per_second

    def give_back(self, count: int, now: float) -> None:
        self._refill(now)
        self._level = min(self._level + count, float(self._limit.burst))

    def charge(self, count: int, now: float) -> None:
        """Subtract what other processes took; the debt is at most one burst."""
        self._refill(now)
        self._level = max(self._level - count, -float(self._limit.burst))

    def is_full(self, now: float) -> bool:
        self._refill(now)
        return self._level == self._limit.burst

    def _refill(self, now: float) -> None:
        gained = max(0.0, now - self._at) * self._limit.events_per_second
        self._level = min(float(self._limit.burst), self._level + gained)
        self._at = now


class RateLimiter:
    """A token bucket for each subject: an API key, or a user. `limit` None lets everything pass.

    `count_refused` is told how many events each refusal refused.
    """

    def __init__(
        self,
        limit: RateLimit | None,
        clock: Callable[[], float],
        *,
        subject: str = "key",
        unit: str = "events",
        count_refused: Callable[[int], object] = lambda count: None,
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._subject = subject
        self._unit = unit
        self._count_refused = count_refused
        self._buckets: dict[str, TokenBucket] = {}
        self._taken: dict[str, int] = {}
        self._logged_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, key_id: str, count: int) -> None:
        """Count events against the key's limit. Raises: RateLimited."""
        if self._limit is None or count == 0:
            return
        with self._lock:
            now = self._clock()
            bucket = self._buckets.get(key_id) or self._open(key_id, self._limit, now)
            wait = bucket.take(count, now)
            if wait == 0:
                self._taken[key_id] = self._taken.get(key_id, 0) + count
        if wait > 0:
            self._count_refused(count)
            self._log(key_id, now)
            limit = f"{self._limit.events_per_second:g} {self._unit}/s, {self._limit.burst} at once"
            raise RateLimited(f"this {self._subject} may send {limit}; see Retry-After", math.ceil(wait))

    def give_back(self, key_id: str, count: int) -> None:
        """Undo a `take`."""
        with self._lock:
            if bucket := self._buckets.get(key_id):
                bucket.give_back(count, self._clock())

    def _open(self, key_id: str, limit: RateLimit, now: float) -> TokenBucket:
        """Make a bucket; with very many, first drop those that are full, and then the oldest."""
        if len(self._buckets) >= MAX_BUCKETS:
            self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.is_full(now)}
            for key in list(self._buckets)[: max(0, len(self._buckets) - MAX_BUCKETS // 2)]:
                del self._buckets[key]
            self._logged_at.clear()
        return self._buckets.setdefault(key_id, TokenBucket(limit, now))

    def _log(self, key_id: str, now: float) -> None:
        """Name the key every ten seconds at most; a line for each refusal would be a way to fill the disk."""
        if now - self._logged_at.get(key_id, -math.inf) >= LOG_EVERY_SECONDS:
            self._logged_at[key_id] = now
            logger.warning(f"{self._subject}_rate_limited", key_id=key_id)

    def collect_taken(self) -> dict[str, int]:
        """Return by key what was taken here since the last call; 0 for a key that took nothing."""
        with self._lock:
            taken = dict.fromkeys(self._buckets, 0) | self._taken
            self._taken = {}
        return taken

    def charge(self, key_id: str, count: int) -> None:
        """Subtract what other processes took."""
        with self._lock:
            if (bucket := self._buckets.get(key_id)) and count > 0:
                bucket.charge(count, self._clock())
