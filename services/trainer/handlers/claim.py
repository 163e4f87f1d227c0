"""A worker's hold on a run: a fencing token, kept by heartbeat."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from services.trainer import repository
from services.trainer.domain.fair_order import choose_next
from shared.db import SessionFactory
from shared.errors import StaleClaim
from shared.tables.trainer import Run

logger = structlog.get_logger(__name__)


def claim_next(sessions: SessionFactory, device: str | None, worker: str, heartbeat_timeout: timedelta) -> Run | None:
    """The run that is next by fair order, claimed; None when none waits.

    Of workers that choose the same one at once, one gets it, and the others look again.
    """
    while True:
        with sessions() as session, session.begin():
            waiting = repository.list_waiting_runs(session, device, heartbeat_timeout)
            chosen = choose_next(waiting, repository.count_shares(session, heartbeat_timeout))
            if chosen is None:
                return None
            run = repository.claim_run(session, chosen.run_id, worker, heartbeat_timeout)
            if run is not None:
                return run


class Claim:
    """While it is open, a thread tells the database that the run is alive and how far it is.

    A database that is away loses no claim: the thread goes on trying, and the token decides once it is back.
    A process that was stopped for longer than `timeout_seconds` asks first whether the run is still its own.
    """

    def __init__(
        self,
        sessions: SessionFactory,
        run_id: UUID,
        token: int,
        *,
        heartbeat_seconds: float,
        timeout_seconds: float = 30.0,
        progress: Mapping[str, Any] | None = None,
    ) -> None:
        """`progress`: what is kept of earlier attempts'."""
        self._sessions = sessions
        self._run_id = run_id
        self._token = token
        self._heartbeat_seconds = heartbeat_seconds
        self._timeout_seconds = timeout_seconds
        self._last_try = time.monotonic()
        self._progress: dict[str, Any] = dict(progress or {})
        self._stopped = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="heartbeat", daemon=True)

    def __enter__(self) -> "Claim":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(self._heartbeat_seconds + 1.0)

    def _keep(self) -> None:
        while not self._stopped.wait(self._heartbeat_seconds):
            try:
                self.beat()
            except StaleClaim:
                return
            except Exception as error:
                logger.warning("heartbeat_failed", error=repr(error))

    def beat(self) -> None:
        """Save a sign of life now.

        Raises:
            StaleClaim: the run is no longer ours, or was cancelled or closed.
        """
        self._try_to_beat()
        self._raise_if_lost()

    def _try_to_beat(self) -> None:
        try:
            with self._sessions() as session, session.begin():
                held = repository.save_heartbeat(session, self._run_id, self._token, self._progress)
        finally:
            self._last_try = time.monotonic()
        if not held and not self._stopped.is_set():
            self._lost.set()
            logger.warning("claim_lost", token=self._token)

    def check(self) -> None:
        """Raises: StaleClaim."""
        if not self._lost.is_set() and time.monotonic() - self._last_try > self._timeout_seconds:
            try:  # we were away, and the thread may not have been back yet
                self._try_to_beat()
            except Exception as error:
                logger.warning("heartbeat_failed", error=repr(error))
        self._raise_if_lost()

    def _raise_if_lost(self) -> None:
        if self._lost.is_set():
            raise StaleClaim(f"run {self._run_id} is no longer held with token {self._token}")

    def report(self, **progress: Any) -> None:
        """Remember how far the run is; the next sign of life carries it."""
        self._progress = self._progress | progress

    @contextmanager
    def locked(self) -> Iterator[tuple[Session, Run]]:
        """A transaction in which the run is certainly ours until it commits.

        Raises:
            StaleClaim: the run is no longer ours, or was cancelled or closed.
        """
        with self._sessions() as session, session.begin():
            yield session, repository.lock_claim(session, self._run_id, self._token)

    @contextmanager
    def ending(self) -> Iterator[tuple[Session, Run]]:
        """As `locked`, for the transaction that closes the run: no sign of life comes after it."""
        with self.locked() as held:
            self._stopped.set()
            held[1].progress = held[1].progress | self._progress
            yield held

    def release(self) -> None:
        """Hand the run back to the queue."""
        self._stopped.set()
        with self._sessions() as session, session.begin():
            repository.release_run(session, self._run_id, self._token, self._progress)
