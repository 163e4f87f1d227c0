"""Tells other processes, through Redis, what each key sent here, and hears what it sent there."""

import threading
from collections.abc import Callable, Mapping

import structlog
from redis import Redis, RedisError

from services.ingest.metrics import RATE_SYNCS_FAILED

logger = structlog.get_logger(__name__)

FORGET_AFTER_SECONDS = 120


class SharedRates:
    """Off the hot path, once a turn. Without Redis each process keeps the limit by itself, and a metric tells."""

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        collect_taken: Callable[[], Mapping[str, int]],
        charge: Callable[[str, int], None],
        *,
        turn_seconds: float,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._collect_taken = collect_taken
        self._charge = charge
        self._turn_seconds = turn_seconds
        self._totals: dict[str, int] = {}
        self._away = False

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self._turn_seconds):
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
        """Raises: RedisError."""
        taken = self._collect_taken()
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
                self._charge(key_id, total - before - count)
            self._totals[key_id] = total
