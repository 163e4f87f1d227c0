"""A worker's hold on a run: a fencing token, kept by heartbeat."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.trainer import repository
from services.trainer.domain.planning.scheduling import choose_next
from services.trainer.domain.progress import add_note
from shared.db import SessionFactory
from shared.heartbeat import Heartbeat
from shared.tables.trainer import Run


def claim_next(sessions: SessionFactory, device: str | None, worker: str, heartbeat_timeout: timedelta) -> Run | None:
    """Claim the run that is next by fair order; None when none waits.

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


class Claim(Heartbeat):
    """The run that a worker has, kept by heartbeat while it is open; each sign of life tells how far the run is."""

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
        """Hold a claimed run. `progress`: what is kept of earlier attempts'."""
        super().__init__(
            self._save_heartbeat,
            f"run {run_id} with token {token}",
            interval_seconds=heartbeat_seconds,
            timeout_seconds=timeout_seconds,
        )
        self._sessions = sessions
        self._run_id = run_id
        self._token = token
        self._progress: dict[str, Any] = dict(progress or {})

    def _save_heartbeat(self) -> bool:
        with self._sessions() as session, session.begin():
            return repository.save_heartbeat(session, self._run_id, self._token, self._progress)

    def report(self, **progress: Any) -> None:
        """Remember how far the run is; the next sign of life carries it."""
        self._progress = self._progress | progress

    def add_note(self, note: str) -> None:
        """Remember what was done to the run, and why."""
        self.report(notes=add_note(self._progress.get("notes", ()), note))

    @contextmanager
    def locked(self) -> Iterator[tuple[Session, Run]]:
        """Open a transaction in which the run is certainly ours until it commits.

        Raises:
            StaleClaim: the run is no longer ours, or was cancelled or closed.
        """
        with self._sessions() as session, session.begin():
            yield session, repository.lock_claim(session, self._run_id, self._token)

    @contextmanager
    def ending(self) -> Iterator[tuple[Session, Run]]:
        """Open the transaction that closes the run, as `locked` does; no sign of life comes after its commit."""
        with self.locked() as held:
            held[1].progress = held[1].progress | self._progress
            yield held
            self.end()

    def is_finished(self) -> bool:
        """Tell whether the run is over, by whoever's hand; one that another worker has is not."""
        with self._sessions() as session:
            return repository.load_run(session, self._run_id).state not in repository.OPEN_STATES

    def release(self) -> None:
        """Hand the run back to the queue."""
        self.end()
        with self._sessions() as session, session.begin():
            repository.release_run(session, self._run_id, self._token, self._progress)
