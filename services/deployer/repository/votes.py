"""Answers served in rollouts, what users said of them, and the votes that both make."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.deployer.domain.evidence import Arm, ArmVote, Counts
from shared.tables.deployer import HeardThumb, Rollout, ServedInteraction, Vote

CLIENTS_FAULTS = ("client_disconnected", "status_400", "status_413", "status_422")
"""Errors of answers that say nothing about the model that was to give them."""


def save_interaction(session: Session, **values: Any) -> None:
    session.execute(insert(ServedInteraction).values(**values).on_conflict_do_nothing())


def load_interaction(session: Session, interaction_id: UUID) -> ServedInteraction | None:
    return session.get(ServedInteraction, interaction_id)


def save_thumb(session: Session, event_id: UUID, interaction_id: UUID, *, up: bool) -> None:
    values = {"event_id": event_id, "interaction_id": interaction_id, "up": up}
    session.execute(insert(HeardThumb).values(values).on_conflict_do_nothing())


def load_first_thumb(session: Session, interaction_id: UUID) -> HeardThumb | None:
    """Return the first thumb that arrived for an answer."""
    return session.scalars(
        select(HeardThumb)
        .where(HeardThumb.interaction_id == interaction_id)
        .order_by(HeardThumb.heard_at, HeardThumb.event_id)
        .limit(1)
    ).first()


def delete_waiting(session: Session, before: datetime) -> None:
    """Forget thumbs and answers of before then; the votes that they made stay."""
    session.execute(delete(HeardThumb).where(HeardThumb.heard_at < before))
    session.execute(delete(ServedInteraction).where(ServedInteraction.served_at < before))


def save_vote(session: Session, **values: Any) -> None:
    """Save a vote, unless the user has one in the rollout already."""
    session.execute(insert(Vote).values(**values).on_conflict_do_nothing(index_elements=["rollout_id", "user"]))


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
