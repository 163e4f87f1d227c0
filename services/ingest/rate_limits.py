"""What each key may send: decided from memory at once, and told to the other processes later."""

import math
import threading
from collections.abc import Callable

import structlog

from services.ingest.domain.rate_limit import RateLimit, TokenBucket
from services.ingest.metrics import RATE_LIMITED
from shared.errors import TooManyRequests

logger = structlog.get_logger(__name__)

LOG_EVERY_SECONDS = 10.0


class RateLimited(TooManyRequests):
    title = "Rate limit exceeded"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class RateLimits:
    """A bucket for each key. `limit` None lets everything pass."""

    def __init__(self, limit: RateLimit | None, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._buckets: dict[str, TokenBucket] = {}
        self._taken: dict[str, int] = {}
        self._logged_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, key_id: str, count: int) -> None:
        """Raises: RateLimited."""
        if self._limit is None or count == 0:
            return
        with self._lock:
            now = self._clock()
            bucket = self._buckets.get(key_id) or self._buckets.setdefault(key_id, TokenBucket(self._limit, now))
            wait = bucket.take(count, now)
            if wait == 0:
                self._taken[key_id] = self._taken.get(key_id, 0) + count
        if wait > 0:
            RATE_LIMITED.inc(count)
            self._log(key_id, now)
            limit = f"{self._limit.events_per_second:g} events/s, {self._limit.burst} at once"
            raise RateLimited(f"this key may send {limit}; see Retry-After", math.ceil(wait))

    def _log(self, key_id: str, now: float) -> None:
        """Names the key now and then; a line for each refusal would be a way to fill the disk."""
        if now - self._logged_at.get(key_id, -math.inf) >= LOG_EVERY_SECONDS:
            self._logged_at[key_id] = now
            logger.warning("key_rate_limited", key_id=key_id)

    def collect_taken(self) -> dict[str, int]:
        """By key, what was taken here since the last call: 0 for one that took nothing."""
        with self._lock:
            taken = dict.fromkeys(self._buckets, 0) | self._taken
            self._taken = {}
        return taken

    def charge(self, key_id: str, count: int) -> None:
        """Other processes took these."""
        with self._lock:
            if (bucket := self._buckets.get(key_id)) and count > 0:
                bucket.charge(count, self._clock())
