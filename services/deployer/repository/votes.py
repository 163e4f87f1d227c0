"""Answers served in rollouts, what users said of them, and the votes that both make."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.deployer.domain.evidence import Arm, ArmVote, Counts
from services.deployer.domain.voting import JudgedAnswer, strip_text
from shared.events import FeedbackReceived
from shared.tables.deployer import HeardThumb, Rollout, RolloutFeedback, ServedInteraction, Vote

CLIENTS_FAULTS = ("client_disconnected", "status_400", "status_413", "status_422")
"""Errors of answers that say nothing about the model that was to give them."""


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


def load_judged_answers(session: Session, rollout_id: UUID, user: str) -> list[JudgedAnswer]:
    """Return what a user was served in a rollout, and all feedback on it."""
    rows = session.scalars(
        select(ServedInteraction).where(ServedInteraction.rollout_id == rollout_id, ServedInteraction.user == user)
    ).all()
    keys = [row.interaction_id for row in rows]
    feedback: dict[UUID, list[FeedbackReceived]] = defaultdict(list)
    for event in session.scalars(select(RolloutFeedback.event).where(RolloutFeedback.interaction_id.in_(keys))):
        decoded = msgspec.convert(event, FeedbackReceived)
        feedback[decoded.interaction_id].append(decoded)
    return [
        JudgedAnswer(
            row.interaction_id,
            user,
            row.intended_version,
            row.served_version,
            row.error,
            row.served_at,
            feedback[row.interaction_id],
        )
        for row in rows
    ]


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


def load_votes(session: Session, rollout_id: UUID, *, after: int) -> list[tuple[int, ArmVote]]:
    """Return the votes with a sequence number above `after`, with it, in the order of their arrival."""
    rows = session.execute(
        select(Vote.sequence, Vote.arm, Vote.up)
        .where(Vote.rollout_id == rollout_id, Vote.sequence > after)
        .order_by(Vote.sequence)
    )
    return [(sequence, ArmVote(arm, up)) for sequence, arm, up in rows]  # type: ignore[arg-type]  # checked there


def count_votes(session: Session, rollout_id: UUID) -> int:
    return session.scalar(select(func.count()).select_from(Vote).where(Vote.rollout_id == rollout_id)) or 0


def count_stage_votes(session: Session, rollout_id: UUID, stage: int) -> dict[Arm, Counts]:
    """Count the votes of a stage by arm; no entry for an arm without any."""
    rows = session.execute(
        select(Vote.arm, func.count(), func.count().filter(Vote.up))
        .where(Vote.rollout_id == rollout_id, Vote.stage == stage)
        .group_by(Vote.arm)
    )
    return {arm: Counts(votes, ups) for arm, votes, ups in rows}  # type: ignore[misc]  # the table's check


def count_canary_answers(session: Session, rollout: Rollout, window: int) -> tuple[int, int]:
    """Count the latest `window` answers meant for the canary, and those that failed or another version gave."""
    latest = (
        select(
            (
                ServedInteraction.error.is_not(None) | (ServedInteraction.served_version != rollout.candidate_version)
            ).label("failed")
        )
        .where(
            ServedInteraction.rollout_id == rollout.rollout_id,
            ServedInteraction.intended_version == rollout.candidate_version,
            func.coalesce(ServedInteraction.error, "").not_in(CLIENTS_FAULTS),
        )
        .order_by(ServedInteraction.served_at.desc())
        .limit(window)
        .subquery()
    )
    served, failed = session.execute(
        select(func.count(), func.count().filter(latest.c.failed)).select_from(latest)
    ).one()
    return served, failed
