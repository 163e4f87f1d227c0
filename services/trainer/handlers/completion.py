"""How a run ends: its row is closed and its event goes into the outbox, in one transaction."""

from datetime import datetime
from typing import Literal, cast

from sqlalchemy.orm import Session

from services.trainer import repository
from services.trainer.domain.progress import REFUSED_ROWS, REFUSED_SHARE, UNMEASURED_KL
from shared.db import lock_all
from shared.events import TrainingCompleted
from shared.outbox import append_event
from shared.tables.trainer import Outbox, Run

Outcome = Literal["succeeded", "failed", "cancelled"]

REASON_LIMIT = 1000


def finish_run(session: Session, run: Run, outcome: Outcome, reason: str | None, *, topic_prefix: str) -> None:
    """Close the run and announce it; if it was the last of its request, what the others trained once more.

    Who judges candidates waits for the last run, and may have heard of the others' before.
    """
    lock_all(session, [f"runs of {run.request_id}"])
    now = repository.load_now(session)
    run.state = outcome
    run.reason = reason[:REASON_LIMIT] if reason else None
    run.finished_at = now
    announce_run(session, run, now, topic_prefix=topic_prefix)
    siblings = repository.list_siblings(session, run)
    if not any(sibling.state in repository.OPEN_STATES for sibling in siblings):
        for sibling in siblings:
            if sibling.state == "succeeded":
                announce_run(session, sibling, now, topic_prefix=topic_prefix)


def announce_run(session: Session, run: Run, now: datetime, *, topic_prefix: str) -> None:
    """Announce a finished run, for the first time or again."""
    run.announced_at = now
    append_event(session, Outbox, derive_event(run), source="trainer", topic_prefix=topic_prefix)


def derive_event(run: Run) -> TrainingCompleted:
    """Derive the event of a finished run: the same however often it is announced."""
    assert run.finished_at is not None
    return TrainingCompleted(
        request_id=run.request_id,
        run_id=run.run_id,
        outcome=cast(Outcome, run.state),
        parent_version=run.parent_version,
        dataset_sha256=run.dataset_sha256,
        completed_at=run.finished_at,
        reason=run.reason,
        candidate_version=run.candidate_version,
        recipe_sha256=run.recipe_sha256 or None,
        weights_sha256=run.weights_sha256,
        mlflow_run_id=run.mlflow_run_id,
        refused_share=run.progress.get(REFUSED_SHARE),
        refused_rows=run.progress.get(REFUSED_ROWS),
        unmeasured_kl=run.progress.get(UNMEASURED_KL),
        recipe=run.recipe_name or None,
    )
