"""Rate limits over several processes: each tells the others, through Redis, what each key has sent to it."""

import threading

import structlog
from redis import Redis, RedisError

from services.ingest.metrics import RATE_SYNCS_FAILED
from shared.rate_limits import RateLimiter

logger = structlog.get_logger(__name__)

FORGET_AFTER_SECONDS = 120


class RateLimitSync:
    """Runs off the hot path. Without Redis each process keeps the limit by itself, and a metric tells."""

    def __init__(self, redis: Redis, prefix: str, limiter: RateLimiter, *, interval_seconds: float) -> None:
        self._redis = redis
        self._prefix = prefix
        self._limiter = limiter
        self._interval_seconds = interval_seconds
        self._totals: dict[str, int] = {}
        self._away = False

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self._interval_seconds):
            try:
                self.synchronise()
            except RedisError as error:
                RATE_SYNCS_FAILED.inc()
                if not self._away:
                    logger.warning("rate_limits_not_shared", error=type(error).__name__)
                self._away = True
                self._totals.clear()
            else:
                self._away = False

    def synchronise(self) -> None:
        """Add what each key sent here to its counter, and charge what the counter says it sent elsewhere.

        Raises: RedisError.
        """
        taken = self._limiter.collect_taken()
        if not taken:
            return
        with self._redis.pipeline(transaction=False) as pipeline:
            for key_id, count in taken.items():
                name = f"heliotrope:{self._prefix}rate:{key_id}"
                pipeline.incrby(name, count)
                pipeline.expire(name, FORGET_AFTER_SECONDS)
            totals = pipeline.execute()[::2]
        for (key_id, count), total in zip(taken.items(), totals, strict=True):
            before = self._totals.get(key_id)
            if before is not None:
                self._limiter.charge(key_id, total - before - count)
            self._totals[key_id] = total
