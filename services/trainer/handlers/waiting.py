"""How long a job has waited at an engine that took it and has no machines for it."""

import time
from collections.abc import Callable

from services.trainer.domain.launching.endings import RemoteRun


class Waiting:
    """Watches a job's states, one after another."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._reason: str | None = None

    @property
    def seconds(self) -> float:
        """Since it began to wait; 0 while it does not."""
        return 0.0 if self._since is None else self._clock() - self._since

    def is_new(self, state: RemoteRun) -> bool:
        """Take up the next state; tells whether the job waits, and for something else than before."""
        if state.state != "pending":
            self._since = self._reason = None
            return False
        self._since = self._clock() if self._since is None else self._since
        was, self._reason = self._reason, state.reason
        return was != self._reason
