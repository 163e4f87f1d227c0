"""Contested pairs."""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.tables.curator import Pair, Prompt


@dataclass(frozen=True)
class ContestedPrompt:
    prompt_hash: str
    messages: list[dict[str, Any]]
    sides: list[Pair]


def list_contested(session: Session, limit: int) -> list[ContestedPrompt]:
    """List contested pairs by prompt; both directions of one belong to the same prompt."""
    query = select(Pair, Prompt.messages).join(Prompt, Prompt.prompt_hash == Pair.prompt_hash)
    rows = session.execute(
        query.where(Pair.state == "contested").order_by(Pair.prompt_hash, Pair.pair_id).limit(limit)
    ).all()
    return [
        ContestedPrompt(prompt_hash, of_prompt[0][1], [pair for pair, _ in of_prompt])
        for prompt_hash, found in groupby(rows, key=lambda row: row[0].prompt_hash)
        if (of_prompt := list(found))
    ]


def is_contested(session: Session, pair_id: str) -> bool:
    return session.scalar(select(Pair.pair_id).where(Pair.pair_id == pair_id, Pair.state == "contested")) is not None
