"""Counts of the evidence."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.tables.curator import ConflictingEvent, Feedback, Interaction, Prompt


def count_feedback(session: Session) -> list[tuple[str, str, int]]:
    """(type, state, count)."""
    query = select(Feedback.type, Feedback.state, func.count()).group_by(Feedback.type, Feedback.state)
    return [(kind, state, count) for kind, state, count in session.execute(query)]


def count_interactions(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Interaction)) or 0


def count_conflicting(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(ConflictingEvent)) or 0


def count_prompts(session: Session) -> dict[str, int]:
    """Prompts by split."""
    query = select(Prompt.split, func.count()).group_by(Prompt.split).order_by(Prompt.split)
    return {split: count for split, count in session.execute(query)}  # noqa: C416
