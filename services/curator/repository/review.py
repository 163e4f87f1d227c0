"""What waits for people: parked feedback and contested pairs."""

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.tables.curator import Feedback, Interaction, Pair, Prompt


@dataclass(frozen=True)
class Waiting:
    event_id: UUID
    type: str
    state: str
    received_at: datetime
    missing: list[UUID]


@dataclass(frozen=True)
class Contested:
    prompt_hash: str
    messages: list[dict[str, Any]]
    sides: list[Pair]


def measure_waiting(session: Session, state: str) -> tuple[int, datetime | None]:
    """(how many there are, when the oldest was received)."""
    query = select(func.count(), func.min(Feedback.received_at)).where(Feedback.state == state)
    count, oldest = session.execute(query).one()
    return count, oldest


def list_waiting(session: Session, state: str, limit: int) -> list[Waiting]:
    """The longest waiting first."""
    query = select(Feedback).where(Feedback.state == state).order_by(Feedback.received_at, Feedback.event_id)
    rows = session.scalars(query.limit(limit)).all()
    needed = {key for row in rows for key in (row.interaction_id, row.other_interaction_id) if key}
    known = set(session.scalars(select(Interaction.interaction_id).where(Interaction.interaction_id.in_(needed))))
    return [
        Waiting(
            row.event_id,
            row.type,
            row.state,
            row.received_at,
            [key for key in (row.interaction_id, row.other_interaction_id) if key and key not in known],
        )
        for row in rows
    ]


def list_contested(session: Session, limit: int) -> list[Contested]:
    """By prompt; both directions of a contested pair stand in the same prompt group."""
    query = select(Pair, Prompt.messages).join(Prompt, Prompt.prompt_hash == Pair.prompt_hash)
    rows = session.execute(
        query.where(Pair.state == "contested").order_by(Pair.prompt_hash, Pair.pair_id).limit(limit)
    ).all()
    return [
        Contested(prompt_hash, of_prompt[0][1], [pair for pair, _ in of_prompt])
        for prompt_hash, found in groupby(rows, key=lambda row: row[0].prompt_hash)
        if (of_prompt := list(found))
    ]


def is_contested(session: Session, pair_id: str) -> bool:
    return session.scalar(select(Pair.pair_id).where(Pair.pair_id == pair_id, Pair.state == "contested")) is not None
