"""Interactions, feedback and prompts."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import false, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.curator.domain.rules import Answer
from services.curator.domain.standing import list_interactions
from shared.events import FeedbackReceived, InteractionRecorded, Message, effective_time
from shared.tables.curator import Cell, ConflictingEvent, Feedback, Interaction, Prompt


def save_prompt(session: Session, prompt_hash: str, messages: list[Message], cell: str, split: str) -> None:
    """Store a prompt group and its cell, if they are new."""
    session.execute(insert(Cell).values(cell=cell, split=split).on_conflict_do_nothing())
    row = {"prompt_hash": prompt_hash, "messages": messages, "cell": cell, "split": split}
    session.execute(insert(Prompt).values(row).on_conflict_do_nothing())


def insert_interaction(session: Session, event: InteractionRecorded, prompt_hash: str, content_hash: str) -> bool:
    """False when the id is taken."""
    row = _interaction_values(event, prompt_hash, content_hash)
    inserted = session.execute(
        insert(Interaction).values(row).on_conflict_do_nothing().returning(Interaction.interaction_id)
    )
    return inserted.first() is not None


def replace_interaction(session: Session, event: InteractionRecorded, prompt_hash: str, content_hash: str) -> None:
    values = _interaction_values(event, prompt_hash, content_hash)
    session.execute(update(Interaction).where(Interaction.interaction_id == event.interaction_id).values(values))


def load_interaction(session: Session, interaction_id: UUID) -> Interaction:
    return session.scalars(
        select(Interaction)
        .where(Interaction.interaction_id == interaction_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


def dump_event(event: InteractionRecorded | FeedbackReceived) -> dict[str, Any]:
    """The event as JSON's types."""
    content: dict[str, Any] = msgspec.to_builtins(event)
    return content


def dump_interaction(session: Session, row: Interaction) -> dict[str, Any]:
    """The whole event of a stored interaction."""
    messages = session.scalar(select(Prompt.messages).where(Prompt.prompt_hash == row.prompt_hash))
    return {**row.event, "messages": messages, "answer": row.answer}


def _interaction_values(event: InteractionRecorded, prompt_hash: str, content_hash: str) -> dict[str, Any]:
    content = msgspec.to_builtins(event)
    return {
        "interaction_id": event.interaction_id,
        "key_id": event.key_id,
        "prompt_hash": prompt_hash,
        "answer": event.answer,
        "model_version": event.model_version,
        "served_at": event.served_at,
        "user": event.user,
        "conversation_id": event.conversation_id,
        "error": event.error,
        "content_hash": content_hash,
        "event": {name: value for name, value in content.items() if name not in ("messages", "answer")},
    }


def insert_feedback(session: Session, event: FeedbackReceived, content_hash: str, state: str) -> bool:
    """False when the id is taken."""
    row = _feedback_values(event, content_hash, state)
    inserted = session.execute(insert(Feedback).values(row).on_conflict_do_nothing().returning(Feedback.event_id))
    return inserted.first() is not None


def replace_feedback(session: Session, event: FeedbackReceived, content_hash: str, state: str) -> None:
    values = _feedback_values(event, content_hash, state)
    session.execute(update(Feedback).where(Feedback.event_id == event.event_id).values(values))


def load_feedback(session: Session, event_id: UUID) -> Feedback:
    return session.scalars(
        select(Feedback)
        .where(Feedback.event_id == event_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


def _feedback_values(event: FeedbackReceived, content_hash: str, state: str) -> dict[str, Any]:
    content = msgspec.to_builtins(event)
    return {
        "event_id": event.event_id,
        "key_id": event.key_id,
        "interaction_id": event.interaction_id,
        "other_interaction_id": next(iter(list_interactions(event)[1:]), None),
        "type": content["feedback"]["type"],
        "user": event.user,
        "happened_at": effective_time(event),
        "received_at": event.received_at,
        "content_hash": content_hash,
        "state": state,
        "event": content,
    }


def keep_aside(session: Session, event_id: UUID, content_hash: str, event: dict[str, Any]) -> None:
    """Store a body that lost its id to another."""
    row = {"event_id": event_id, "content_hash": content_hash, "event": event}
    session.execute(insert(ConflictingEvent).values(row).on_conflict_do_nothing())


def count_known(session: Session, interaction_ids: Collection[UUID]) -> int:
    query = select(func.count()).select_from(Interaction).where(Interaction.interaction_id.in_(list(interaction_ids)))
    return session.scalar(query) or 0


def load_prompt_hashes(session: Session, interaction_ids: Collection[UUID]) -> set[str]:
    query = select(Interaction.prompt_hash).where(Interaction.interaction_id.in_(list(interaction_ids)))
    return set(session.scalars(query))


def load_feedback_on(session: Session, interaction_id: UUID) -> list[Feedback]:
    """All feedback that speaks of an interaction, parked or not.

    Locked: of two consumers that store the two answers of one parked choice at once, the second must see what the
    first committed, or neither would attach it.
    """
    spoken = or_(Feedback.interaction_id == interaction_id, Feedback.other_interaction_id == interaction_id)
    query = select(Feedback).where(spoken).order_by(Feedback.event_id)
    return list(session.scalars(query.with_for_update().execution_options(populate_existing=True)))


def load_group_answers(session: Session, prompt_hashes: Collection[str]) -> list[Answer]:
    return _load_answers(session, Interaction.prompt_hash.in_(list(prompt_hashes)))


def load_answers(session: Session, interaction_ids: Collection[UUID]) -> list[Answer]:
    return _load_answers(session, Interaction.interaction_id.in_(list(interaction_ids)))


def _load_answers(session: Session, condition: Any) -> list[Answer]:
    query = select(
        Interaction.interaction_id,
        Interaction.prompt_hash,
        Interaction.answer,
        Interaction.model_version,
        Interaction.user,
        Interaction.error,
        func.coalesce(Interaction.event["metadata"]["finish_reason"].astext == "length", false()),
    )
    return [Answer(*row) for row in session.execute(query.where(condition).order_by(Interaction.interaction_id))]


def load_attached(session: Session, prompt_hashes: Collection[str]) -> list[FeedbackReceived]:
    """The feedback whose own interaction is in one of these groups, and which waits for nothing."""
    rows = session.scalars(
        select(Feedback.event)
        .join(Interaction, Interaction.interaction_id == Feedback.interaction_id)
        .where(Interaction.prompt_hash.in_(list(prompt_hashes)), Feedback.state == "attached")
        .order_by(Feedback.event_id)
    )
    return [msgspec.convert(row, FeedbackReceived) for row in rows]


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
