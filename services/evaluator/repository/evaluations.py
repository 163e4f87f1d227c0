"""Evaluations: opened, claimed, kept alive, closed, announced."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Text, cast, exists, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.evaluator.domain.error_budget import Spending
from services.evaluator.domain.votes.win_rate import Outcome
from shared.errors import StaleClaim
from shared.events import TrainingCompleted
from shared.ids import new_id
from shared.tables import deployer
from shared.tables.evaluator import Comparison, Evaluation
from shared.tables.trainer import Run

ENTRANTS_GRACE = timedelta(minutes=5)
"""The trainer announces all candidates of a request at once; one that is not heard of by then is not judged."""


def load_champion_version(session: Session, family: str) -> str | None:
    """Return the champion of the routing table in force, if there is one yet."""
    table = session.scalar(
        select(deployer.RoutingGeneration.table)
        .where(deployer.RoutingGeneration.family == family)
        .order_by(deployer.RoutingGeneration.generation.desc())
        .limit(1)
    )
    return str(table["champion"]["version"]) if table else None


def is_entrant(session: Session, request_id: UUID, run_id: UUID) -> bool:
    """Tell whether this run's candidate is one to judge for the request.

    Not while a run of the request goes on. A run that the trainer's tables do not know is the request's only one.
    """
    found = session.execute(select(Run.run_id, Run.state).where(Run.request_id == request_id)).all()
    if any(run.state in ("queued", "running") for run in found):
        return False
    if not found:
        return session.get(Run, run_id) is None
    return any(run.run_id == run_id and run.state == "succeeded" for run in found)


def save_evaluation(
    session: Session, event: TrainingCompleted, champion_version: str, now: datetime, deadline_at: datetime
) -> bool:
    """Open an evaluation; False when the request has one already, which then takes this candidate in, too."""
    entrant = {str(event.run_id): msgspec.to_builtins(event)}
    inserted = session.execute(
        insert(Evaluation)
        .values(
            evaluation_id=new_id(),
            request_id=event.request_id,
            run_id=event.run_id,
            candidate_version=event.candidate_version,
            champion_version=champion_version,
            training=msgspec.to_builtins(event),
            entrants=entrant,
            state="generating",
            created_at=now,
            deadline_at=deadline_at,
        )
        .on_conflict_do_nothing(index_elements=["request_id"])
        .returning(Evaluation.evaluation_id)
    )
    if inserted.first() is not None:
        return True
    _add_entrant(session, event, entrant, deadline_at - now)
    return False


def _add_entrant(session: Session, event: TrainingCompleted, entrant: dict[str, Any], longer: timedelta) -> None:
    """Take a further candidate in while nobody answers yet; it has as long as the first."""
    session.execute(
        update(Evaluation)
        .where(
            Evaluation.request_id == event.request_id,
            Evaluation.state == "generating",
            Evaluation.attempts == 0,
            Evaluation.entrants != {},
            ~Evaluation.entrants.has_key(str(event.run_id)),
        )
        .values(entrants=Evaluation.entrants.concat(entrant), deadline_at=Evaluation.deadline_at + longer)
    )


def list_entrants(evaluation: Evaluation) -> dict[str, TrainingCompleted]:
    """Return the trainings whose candidates are judged, by candidate version, in the order of the versions."""
    trainings = msgspec.convert(list(evaluation.entrants.values()) or [evaluation.training], list[TrainingCompleted])
    ordered = sorted(trainings, key=lambda each: (len(each.candidate_version or ""), each.candidate_version or ""))
    return {str(training.candidate_version): training for training in ordered}


def name_candidate(evaluation: Evaluation, training: TrainingCompleted) -> None:
    """Have the evaluation speak of this candidate."""
    evaluation.run_id, evaluation.candidate_version = training.run_id, str(training.candidate_version)
    evaluation.training = msgspec.to_builtins(training)


def load_tested(session: Session, since: datetime, besides: UUID | None = None) -> list[Spending]:
    """Return every other candidate that was given a level since then; an audit promotes nobody and has none."""
    rows = session.scalars(
        select(Evaluation).where(
            Evaluation.created_at > since,
            Evaluation.evaluation_id.is_distinct_from(besides),
            Evaluation.generation.has_key("error_budget"),
        )
    )
    return [
        Spending(row.created_at, float(row.generation["error_budget"]["next_level"]), row.verdict == "pass")
        for row in rows
    ]


def claim_generating(session: Session, now: datetime, stale_before: datetime) -> Evaluation | None:
    """Claim the oldest evaluation that needs answers and nobody works on; count the attempt.

    One of several candidates waits until all have been announced, `ENTRANTS_GRACE` at most.
    """
    unheard = exists().where(
        Run.request_id == Evaluation.request_id,
        Run.state == "succeeded",
        ~Evaluation.entrants.has_key(cast(Run.run_id, Text)),
        Evaluation.entrants != {},
    )
    ready = ~unheard | (Evaluation.created_at <= now - ENTRANTS_GRACE)
    evaluation = _claim(session, (Evaluation.state == "generating") & ready, now, stale_before)
    if evaluation:
        evaluation.attempts += 1
    return evaluation


def claim_judged(session: Session, now: datetime, stale_before: datetime) -> Evaluation | None:
    """Claim the oldest evaluation whose votes are all in, or whose deadline has passed."""
    waiting = exists().where(Comparison.evaluation_id == Evaluation.evaluation_id, Comparison.vote.is_(None))
    due = or_(Evaluation.deadline_at <= now, ~waiting)
    return _claim(session, (Evaluation.state == "voting") & due, now, stale_before)


def _claim(
    session: Session, condition: ColumnElement[bool], now: datetime, stale_before: datetime
) -> Evaluation | None:
    free = or_(Evaluation.claimed_by.is_(None), Evaluation.heartbeat_at < stale_before)
    evaluation = session.scalar(
        select(Evaluation)
        .where(condition, free)
        .order_by(Evaluation.kind.desc(), Evaluation.evaluation_id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if evaluation:
        evaluation.claimed_by, evaluation.heartbeat_at = new_id(), now
    return evaluation


def load_claimed(session: Session, evaluation_id: UUID, claim: UUID | None) -> Evaluation:
    """Return the evaluation, locked.

    Raises:
        StaleClaim: somebody else works on it by now.
    """
    evaluation = session.get(Evaluation, evaluation_id, with_for_update=True)
    if evaluation is None or claim is None or evaluation.claimed_by != claim:
        raise StaleClaim(f"evaluation {evaluation_id} is no longer ours")
    return evaluation


def save_heartbeat(
    session: Session, evaluation_id: UUID, claim: UUID | None, now: datetime, progress: dict[str, Any]
) -> bool:
    """Save a sign of life and how far the work is; False when somebody else works on the evaluation by now."""
    statement = (
        update(Evaluation)
        .where(Evaluation.evaluation_id == evaluation_id, Evaluation.claimed_by == claim)
        .values(heartbeat_at=now, progress=progress)
        .returning(Evaluation.evaluation_id)
    )
    return session.scalar(statement) is not None


def load_evaluation(session: Session, evaluation_id: UUID, *, for_update: bool = False) -> Evaluation | None:
    return session.get(Evaluation, evaluation_id, with_for_update=for_update)


def list_evaluations(session: Session, limit: int) -> Sequence[Evaluation]:
    return session.scalars(select(Evaluation).order_by(Evaluation.evaluation_id.desc()).limit(limit)).all()


def load_unanswered(session: Session, announced_before: datetime, announcements: int) -> Sequence[Evaluation]:
    """Return completed evaluations of which the deployer has made nothing yet, locked."""
    answered = exists().where(deployer.Rollout.request_id == Evaluation.request_id)
    return session.scalars(
        select(Evaluation)
        .where(
            Evaluation.state == "completed",
            Evaluation.kind == "candidate",
            Evaluation.announced_at < announced_before,
            Evaluation.announcements < announcements,
            ~answered,
        )
        .order_by(Evaluation.evaluation_id)
        .with_for_update(skip_locked=True)
    ).all()


def list_voting(session: Session) -> dict[UUID, dict[str, Any]]:
    """Return how the answers came about, the policy included, by evaluation that people vote in.

    The oldest candidate comes first, audits last.
    """
    rows = session.execute(
        select(Evaluation.evaluation_id, Evaluation.generation)
        .where(Evaluation.state == "voting")
        .order_by(Evaluation.kind.desc(), Evaluation.evaluation_id)
    )
    return {row.evaluation_id: row.generation for row in rows}


def close_voting(session: Session, evaluation_id: UUID, now: datetime, outcome: Outcome) -> None:
    """Let voting end now, before its deadline, and remember why."""
    evaluation = session.get_one(Evaluation, evaluation_id, with_for_update=True)
    if evaluation.state == "voting":
        evaluation.deadline_at = min(evaluation.deadline_at, now)
        evaluation.generation = evaluation.generation | {"voting": outcome}
