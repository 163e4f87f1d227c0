"""Queries over the curator's tables, which ingest reads and never writes."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from shared.feedback import scope_id
from shared.tables.curator import Feedback, Interaction

FeedbackRow = Feedback


def find_feedback_hashes(session: Session, key_id: str, event_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the content hashes of the key's events with these ids that the curator has stored as they came."""
    stored = {scope_id(event_id, key_id): event_id for event_id in event_ids} | {key: key for key in event_ids}
    query = select(Feedback.event_id, Feedback.content_hash).where(~Feedback.redacted)
    rows = session.execute(query.where(Feedback.event_id.in_(stored), Feedback.key_id == key_id))
    return {stored[key]: value for key, value in rows}


def find_interaction_hashes(session: Session, key_id: str, interaction_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the content hashes of the key's interactions with these ids, likewise."""
    query = select(Interaction.interaction_id, Interaction.content_hash).where(~Interaction.redacted)
    rows = session.execute(query.where(Interaction.interaction_id.in_(interaction_ids), Interaction.key_id == key_id))
    return {key: value for key, value in rows}  # noqa: C416 - a Row is not a pair to mypy


def has_interaction(session: Session, interaction_id: UUID) -> bool:
    return session.scalar(select(Interaction.key_id).where(Interaction.interaction_id == interaction_id)) is not None


def list_feedback(
    session: Session, interaction_id: UUID, key_id: str, limit: int, *users: str | None
) -> list[FeedbackRow]:
    """Return the latest of what came in with this key, in the order in which it happened; with `users` only theirs."""
    query = select(Feedback).where(Feedback.interaction_id == interaction_id, Feedback.key_id == key_id)
    if users:
        query = query.where(or_(*(Feedback.user.is_not_distinct_from(user) for user in users)))
    latest = session.scalars(query.order_by(Feedback.happened_at.desc(), Feedback.event_id.desc()).limit(limit))
    return list(latest)[::-1]
