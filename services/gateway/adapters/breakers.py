"""A circuit breaker for each model that is served."""

import math
import time
from collections.abc import Callable

from services.gateway.domain.breaker import Breaker, counts_as_failure
from services.gateway.domain.errors import UpstreamFailed
from services.gateway.metrics import BREAKER_OPEN
from shared.events import Route


class Breakers:
    """Counts the failures of each route in use."""

    def __init__(
        self, *, max_failures: int, min_users: int, open_seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_failures = max_failures
        self._min_users = min_users
        self._open_seconds = open_seconds
        self._monotonic = monotonic
        self._breakers: dict[Route, Breaker] = {}
        self._reported: set[str] = set()

    def check(self, route: Route) -> None:
        """Raises: UpstreamFailed (`circuit_open`), when the route is to be left alone for now."""
        breaker = self._breakers.get(route)
        now = self._monotonic()
        if breaker is None or breaker.admit(now):
            return
        raise UpstreamFailed(
            "circuit_open",
            f"version {route.version} failed {breaker.failures} times in a row and is left alone for now",
            upstream_status=503,
            retry_after=str(math.ceil(breaker.retry_at - now)),
        )

    def settle(self, route: Route, failure: UpstreamFailed | None, user: str) -> None:
        """Count what became of a user's request. Only routes that fail are remembered, until they answer."""
        if failure is not None and counts_as_failure(failure.upstream_status):
            breaker = self._breakers.setdefault(route, Breaker(self._max_failures, self._min_users, self._open_seconds))
            breaker.fail(self._monotonic(), user, is_away=failure.reason == "unreachable")
            BREAKER_OPEN.labels(route.version).set(breaker.is_open)
        elif self._breakers.pop(route, None) is not None or route.version not in self._reported:
            BREAKER_OPEN.labels(route.version).set(0)
            self._reported.add(route.version)
