"""Stored evidence as the rules read it, and feedback that waits."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import false, func, select, update
from sqlalchemy.orm import Session

from services.curator.domain.rules import Answer
from shared.tables.curator import Feedback, Interaction


def load_answers(session: Session, interaction_ids: Collection[UUID]) -> list[Answer]:
    query = select(
        Interaction.interaction_id,
        Interaction.prompt_hash,
        Interaction.answer,
        Interaction.model_version,
        Interaction.user,
        Interaction.error,
        func.coalesce(Interaction.event["metadata"]["finish_reason"].astext == "length", false()),
    )
    condition = Interaction.interaction_id == func.any(list(interaction_ids))
    return [Answer(*row) for row in session.execute(query.where(condition).order_by(Interaction.interaction_id))]


def expire_parked(session: Session, ttl_seconds: float) -> int:
    """Mark feedback that is older, by the newest event's time, than this; how many there were."""
    watermark = select(func.max(Feedback.received_at)).scalar_subquery()
    expired = session.execute(
        update(Feedback)
        .where(
            Feedback.state == "parked",
            Feedback.received_at < watermark - func.make_interval(0, 0, 0, 0, 0, 0, ttl_seconds),
        )
        .values(state="expired")
        .returning(Feedback.event_id)
    )
    return len(expired.all())


def measure_parked(session: Session) -> tuple[int, datetime | None]:
    """(how many are parked, when the oldest was received)."""
    query = select(func.count(), func.min(Feedback.received_at)).where(Feedback.state == "parked")
    count, oldest = session.execute(query).one()
    return count, oldest
