"""How much evidence there is, and which feedback is parked."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from shared.tables.curator import ConflictingEvent, Feedback, Interaction, Prompt


def count_feedback(session: Session) -> list[tuple[str, str, int]]:
    """Count feedback as (type, state, count)."""
    query = select(Feedback.type, Feedback.state, func.count()).group_by(Feedback.type, Feedback.state)
    return [(kind, state, count) for kind, state, count in session.execute(query)]


def count_interactions(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Interaction)) or 0


def count_conflicting(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(ConflictingEvent)) or 0


def count_prompts(session: Session) -> dict[str, int]:
    """Count prompts by split."""
    query = select(Prompt.split, func.count()).group_by(Prompt.split).order_by(Prompt.split)
    return {split: count for split, count in session.execute(query)}  # noqa: C416


def expire_parked(session: Session, ttl_seconds: float) -> int:
    """Mark feedback that is older, by the newest event's time, than this; return how many there were."""
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


@dataclass(frozen=True)
class ParkedFeedback:
    event_id: UUID
    type: str
    state: str
    received_at: datetime
    missing: list[UUID]


def measure_parked(session: Session, state: str) -> tuple[int, datetime | None]:
    """Measure feedback of a state: (how many events, when the oldest was received)."""
    query = select(func.count(), func.min(Feedback.received_at)).where(Feedback.state == state)
    count, oldest = session.execute(query).one()
    return count, oldest


def list_parked(session: Session, state: str, limit: int) -> list[ParkedFeedback]:
    """List feedback of a state, the longest waiting first."""
    query = select(Feedback).where(Feedback.state == state).order_by(Feedback.received_at, Feedback.event_id)
    rows = session.scalars(query.limit(limit)).all()
    needed = {key for row in rows for key in (row.interaction_id, row.other_interaction_id) if key}
    known = set(session.scalars(select(Interaction.interaction_id).where(Interaction.interaction_id.in_(needed))))
    return [
        ParkedFeedback(
            row.event_id,
            row.type,
            row.state,
            row.received_at,
            [key for key in (row.interaction_id, row.other_interaction_id) if key and key not in known],
        )
        for row in rows
    ]
