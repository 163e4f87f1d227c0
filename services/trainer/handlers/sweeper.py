"""The sweeper: whatever a run waits for that did not come, it gets here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from services.trainer import metrics, repository
from services.trainer.domain.planning.scheduling import OpenRun, Patience, next_step
from services.trainer.handlers.completion import announce_run, finish_run
from services.trainer.ports import Enqueue
from shared.db import SessionFactory
from shared.outbox import announce_again
from shared.tables.trainer import Run

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Sweeper:
    """Enqueues, closes and announces again; also the first enqueueing of a run, after its transaction committed."""

    sessions: SessionFactory
    enqueue: Enqueue
    patience: Patience
    announce_again_after: timedelta
    topic_prefix: str

    def sweep(self) -> None:
        """Look at every open run once, and at the results that nobody has taken up."""
        with self.sessions() as session:
            now = repository.load_now(session)
            runs = repository.list_open_runs(session)
            paused = repository.is_paused(session)
            counts = repository.count_runs(session)
            guarded = repository.count_guarded_runs(session)
            failed = repository.count_failed_runs(session)
            left = repository.list_left_running(session, self.patience.heartbeat_timeout)
        for run in runs:
            step = next_step(OpenRun(run.state, run.deadline_at, run.enqueued_at, run.heartbeat_at), now, self.patience)
            if step == "close":
                self._close(run.run_id)
            elif step == "enqueue" and not paused:
                self._enqueue(run)
        for run in left:
            if run.enqueued_at is None or now - run.enqueued_at >= self.patience.requeue_after:
                self._enqueue(run)  # its worker died before it could end the job elsewhere
        if count := announce_again(self.sessions, partial(self._list_unanswered, now=now), self._announce):
            metrics.SWEPT.labels("announced").inc(count)
        metrics.LEFT.set(len(left))
        export_runs(runs, counts, guarded, failed)

    def _enqueue(self, run: Run) -> None:
        with self.sessions() as session, session.begin():
            repository.mark_enqueued(session, run.run_id, repository.load_now(session))
            self.enqueue(run.recipe.get("device"))
        metrics.SWEPT.labels("enqueued").inc()
        logger.info("run_enqueued", run_id=str(run.run_id), state=run.state, attempts=run.fencing_token)

    def _close(self, run_id: UUID) -> None:
        with self.sessions() as session, session.begin():
            run = repository.load_run_for_update(session, run_id)
            if run.state not in repository.OPEN_STATES:
                return
            reason = f"past its deadline while {run.state}, after {run.fencing_token} attempts"
            run.progress = run.progress | {"cause": "deadline"}
            finish_run(session, run, "failed", reason, topic_prefix=self.topic_prefix)
        metrics.SWEPT.labels("closed").inc()
        logger.warning("run_closed", run_id=str(run_id), reason=reason)

    def _list_unanswered(self, session: Session, now: datetime) -> Sequence[Run]:
        return repository.list_unanswered_runs(session, now - self.announce_again_after, now)

    def _announce(self, session: Session, run: Run) -> None:
        announce_run(session, run, repository.load_now(session), topic_prefix=self.topic_prefix)


def export_runs(runs: Sequence[Run], counts: dict[str, int], guarded: dict[str, int], failed: dict[str, int]) -> None:
    """Show the runs as metrics; a worker's own figures die with its process, so they come from the rows."""
    for state, count in counts.items():
        metrics.RUNS.labels(state).set(count)
    metrics.OPEN_RUNS.set(sum(counts.get(state, 0) for state in repository.OPEN_STATES))
    for action, count in guarded.items():
        metrics.GUARDED.labels(action).set(count)
    for cause, count in failed.items():
        metrics.FAILED.labels(cause).set(count)
    progress = next((run.progress for run in runs if run.state == "running"), {})
    metrics.STEP.set(progress.get("step", 0))
    metrics.STEPS.set(progress.get("total", 0))
    metrics.LOSS.set(progress.get("loss") or 0.0)
    metrics.MARGIN.set(progress.get("margin") or 0.0)
    metrics.SECONDS_LEFT.set(progress.get("seconds_left") or 0.0)
    metrics.STEPS_PER_SECOND.set(progress.get("steps_per_second") or 0.0)
    metrics.TOKENS_PER_SECOND.set(progress.get("tokens_per_second") or 0.0)
    metrics.PEAK_MEMORY.set((progress.get("peak_memory_gib") or 0.0) * 2**30)
    for gauge, name in ((metrics.KL, "kl"), (metrics.REWARD, "reward")):
        newest = progress.get(name)
        gauge.set(float("nan") if newest is None else newest)
