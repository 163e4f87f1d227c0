"""A worker's hold on a row of work, kept by heartbeat while the work goes on."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from shared.errors import StaleClaim

logger = structlog.get_logger(__name__)


class Heartbeat:
    """While it is open, a thread saves a sign of life every few seconds.

    A database that is away loses no claim: the thread goes on trying, and the row decides once it is back.
    A process that was stopped for longer than `timeout_seconds` asks first whether the claim is still its own.
    """

    def __init__(
        self, save: Callable[[], bool], claim: str, *, interval_seconds: float, timeout_seconds: float
    ) -> None:
        """`save` writes one sign of life and returns whether the claim is still held; `claim` names it in errors."""
        self._save = save
        self._claim = claim
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._last_try = time.monotonic()
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._thread.join(self._interval_seconds + 1.0)

    def end(self) -> None:
        """End: no sign of life comes after this, and none that fails meanwhile counts as a loss."""
        self._ended.set()

    def beat(self) -> None:
        """Save a sign of life now.

        Raises:
            StaleClaim: somebody else holds the claim, or it was withdrawn.
        """
        self._try_to_beat()
        self._raise_if_lost()

    def check(self) -> None:
        """Raises: StaleClaim, as `beat` does; asks the database only after a silence."""
        if not self._lost.is_set() and time.monotonic() - self._last_try > self._timeout_seconds:
            self._beat_if_possible()  # we were away, and the thread may not have been back yet
        self._raise_if_lost()

    def _keep(self) -> None:
        while not self._lost.is_set() and not self._ended.wait(self._interval_seconds):
            self._beat_if_possible()

    def _beat_if_possible(self) -> None:
        try:
            self._try_to_beat()
        except Exception as error:
            logger.warning("heartbeat_failed", error=repr(error))

    def _try_to_beat(self) -> None:
        try:
            held = self._save()
        finally:
            self._last_try = time.monotonic()
        if not held and not self._ended.is_set():
            self._lost.set()
            logger.warning("claim_lost", claim=self._claim)

    def _raise_if_lost(self) -> None:
        if self._lost.is_set():
            raise StaleClaim(f"{self._claim} is no longer held")
