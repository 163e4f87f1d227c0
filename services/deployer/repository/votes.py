"""Answers served in rollouts, what users said of them, and the votes that both make."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.deployer.domain.arms import Arm, Counts
from services.deployer.domain.voting import JudgedAnswer, strip_text
from shared.events import FeedbackReceived
from shared.tables.deployer import HeardThumb, RolloutFeedback, ServedInteraction, Vote


def save_interaction(session: Session, **values: Any) -> None:
    session.execute(insert(ServedInteraction).values(**values).on_conflict_do_nothing())


def save_feedback(session: Session, event: FeedbackReceived, content_hash: str) -> None:
    """Save feedback without its text; of two bodies under one id of one key, keep the one with the smaller hash."""
    new = insert(RolloutFeedback).values(
        event_id=event.event_id,
        key_id=event.key_id,
        interaction_id=event.interaction_id,
        content_hash=content_hash,
        event=msgspec.to_builtins(strip_text(event)),
    )
    kept = {name: new.excluded[name] for name in ("interaction_id", "content_hash", "event")}
    smaller = new.excluded.content_hash < RolloutFeedback.content_hash
    session.execute(new.on_conflict_do_update(index_elements=["event_id", "key_id"], set_=kept, where=smaller))


def list_voters(session: Session, interaction_ids: Collection[UUID]) -> set[tuple[UUID, str]]:
    """Return (rollout, user) of each of these answers that was served in a rollout to a user who is not anonymous."""
    rows = session.execute(
        select(ServedInteraction.rollout_id, ServedInteraction.user).where(
            ServedInteraction.interaction_id.in_(interaction_ids),
            ServedInteraction.rollout_id.is_not(None),
            ServedInteraction.user.is_not(None),
        )
    )
    return {(rollout_id, user) for rollout_id, user in rows if rollout_id is not None and user is not None}


def load_judged_answers(session: Session, rollout_id: UUID, users: Collection[str]) -> dict[str, list[JudgedAnswer]]:
    """Return, by user, what these were served in a rollout, and all feedback on it."""
    rows = session.scalars(
        select(ServedInteraction).where(ServedInteraction.rollout_id == rollout_id, ServedInteraction.user.in_(users))
    ).all()
    feedback = _load_feedback(session, [row.interaction_id for row in rows])
    answers: dict[str, list[JudgedAnswer]] = defaultdict(list)
    for row in rows:
        answers[row.user or ""].append(_judge(row, feedback[row.interaction_id]))
    return answers


def _load_feedback(session: Session, interaction_ids: Collection[UUID]) -> dict[UUID, list[FeedbackReceived]]:
    feedback: dict[UUID, list[FeedbackReceived]] = defaultdict(list)
    for event in session.scalars(
        select(RolloutFeedback.event).where(RolloutFeedback.interaction_id.in_(interaction_ids))
    ):
        decoded = msgspec.convert(event, FeedbackReceived)
        feedback[decoded.interaction_id].append(decoded)
    return feedback


def _judge(row: ServedInteraction, feedback: list[FeedbackReceived]) -> JudgedAnswer:
    return JudgedAnswer(
        row.interaction_id,
        row.user or "",
        row.intended_version,
        row.served_version,
        row.error,
        row.served_at,
        feedback,
        row.seconds,
        row.is_void,
    )


def delete_waiting(session: Session, before: datetime) -> None:
    """Delete feedback and answers of before then; the votes that they made stay."""
    session.execute(delete(RolloutFeedback).where(RolloutFeedback.heard_at < before))
    session.execute(delete(HeardThumb).where(HeardThumb.heard_at < before))
    session.execute(delete(ServedInteraction).where(ServedInteraction.served_at < before))


def load_vote(session: Session, rollout_id: UUID, user: str) -> Vote | None:
    return session.scalars(select(Vote).where(Vote.rollout_id == rollout_id, Vote.user == user)).one_or_none()


def delete_vote(session: Session, vote: Vote) -> None:
    session.delete(vote)
    session.flush()


def save_vote(session: Session, **values: Any) -> None:
    session.execute(insert(Vote).values(**values))


def count_votes(session: Session, rollout_id: UUID) -> dict[Arm, Counts]:
    """Count a rollout's votes by arm."""
    return _count(session, Vote.rollout_id == rollout_id)


def count_stage_votes(session: Session, rollout_id: UUID, stage: int) -> dict[Arm, Counts]:
    """Count the votes of a stage by arm; no entry for an arm without any."""
    return _count(session, Vote.rollout_id == rollout_id, Vote.stage == stage)


def _count(session: Session, *where: ColumnElement[bool]) -> dict[Arm, Counts]:
    rows = session.execute(
        select(Vote.arm, func.count(), func.count().filter(Vote.up)).where(*where).group_by(Vote.arm)
    )
    return {arm: Counts(votes, ups) for arm, votes, ups in rows}  # type: ignore[misc]  # the table's check
