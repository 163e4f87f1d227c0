"""Pairs and labels: rewritten whenever their group's evidence changes."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.orm import Session

from services.curator.domain.pairing import Derived
from services.curator.domain.rules import Answer, PreferencePair, UnpairedLabel
from shared.tables.curator import Label, Pair, Prompt

INSERTED_AT_ONCE = 500


def replace_derived(session: Session, groups: dict[str, Derived]) -> None:
    """Make these the pairs and labels of their prompts. What was there before keeps its `created_at`."""
    made = _load_created(session, list(groups))
    session.execute(delete(Pair).where(Pair.prompt_hash.in_(list(groups))))
    session.execute(delete(Label).where(Label.prompt_hash.in_(list(groups))))
    now = datetime.now(UTC)
    pairs = [_dump_pair(key, pair, made.get(pair.pair_id, now)) for key in groups for pair in groups[key].pairs]
    labels = [_dump_label(key, label, made.get(label.label_id, now)) for key in groups for label in groups[key].labels]
    for start in range(0, len(pairs), INSERTED_AT_ONCE):
        session.execute(insert(Pair), pairs[start : start + INSERTED_AT_ONCE])
    for start in range(0, len(labels), INSERTED_AT_ONCE):
        session.execute(insert(Label), labels[start : start + INSERTED_AT_ONCE])


def _load_created(session: Session, prompt_hashes: Collection[str]) -> dict[str, datetime]:
    pairs = session.execute(select(Pair.pair_id, Pair.created_at).where(Pair.prompt_hash.in_(list(prompt_hashes))))
    labels = session.execute(select(Label.label_id, Label.created_at).where(Label.prompt_hash.in_(list(prompt_hashes))))
    return {key: created_at for rows in (pairs, labels) for key, created_at in rows}


def _dump_pair(prompt_hash: str, pair: PreferencePair, created_at: datetime) -> dict[str, Any]:
    draft = pair.draft
    chosen = draft.chosen if isinstance(draft.chosen, Answer) else None
    return {
        "pair_id": pair.pair_id,
        "prompt_hash": prompt_hash,
        "rule": draft.rule.name,
        "rule_version": draft.rule.version,
        "chosen": draft.chosen.text,
        "rejected": draft.rejected.text,
        "chosen_interaction_id": chosen.interaction_id if chosen else None,
        "rejected_interaction_id": draft.rejected.interaction_id,
        "chosen_version": chosen.model_version if chosen else None,
        "rejected_version": draft.rejected.model_version,
        "evidence": sorted(draft.evidence),
        "epsilon": draft.rule.epsilon,
        "state": pair.state,
        "reason": pair.reason,
        "created_at": created_at,
    }


def _dump_label(prompt_hash: str, label: UnpairedLabel, created_at: datetime) -> dict[str, Any]:
    return {
        "label_id": label.label_id,
        "prompt_hash": prompt_hash,
        "rule": label.rule.name,
        "rule_version": label.rule.version,
        "interaction_id": label.answer.interaction_id,
        "model_version": label.answer.model_version,
        "desirable": label.desirable,
        "evidence": sorted(label.evidence),
        "epsilon": label.rule.epsilon,
        "created_at": created_at,
    }


def list_pairs(
    session: Session,
    *,
    interaction_id: UUID | None,
    prompt_hash: str | None,
    rule: str | None,
    split: str | None,
    state: str | None,
    limit: int,
) -> Sequence[tuple[Pair, str]]:
    """(pair, split), newest first."""
    query = select(Pair, Prompt.split).join(Prompt, Prompt.prompt_hash == Pair.prompt_hash)
    if interaction_id is not None:
        sides = (Pair.chosen_interaction_id == interaction_id, Pair.rejected_interaction_id == interaction_id)
        query = query.where(or_(*sides))
    for column, value in (
        (Pair.prompt_hash, prompt_hash),
        (Pair.rule, rule),
        (Prompt.split, split),
        (Pair.state, state),
    ):
        if value is not None:
            query = query.where(column == value)
    rows = session.execute(query.order_by(Pair.created_at.desc(), Pair.pair_id).limit(limit))
    return [(pair, of_split) for pair, of_split in rows]


def count_pairs(session: Session) -> list[tuple[str, str, str, int]]:
    """(rule, state, split, count)."""
    query = (
        select(Pair.rule, Pair.state, Prompt.split, func.count())
        .join(Prompt, Prompt.prompt_hash == Pair.prompt_hash)
        .group_by(Pair.rule, Pair.state, Prompt.split)
        .order_by(Pair.rule, Pair.state, Prompt.split)
    )
    return [(rule, state, split, count) for rule, state, split, count in session.execute(query)]


def count_refusals(session: Session) -> dict[str, int]:
    """Refused pairs by reason."""
    query = select(Pair.reason, func.count()).where(Pair.state == "refused").group_by(Pair.reason).order_by(Pair.reason)
    return {reason or "": count for reason, count in session.execute(query)}


def count_labels(session: Session) -> list[tuple[str, bool, str, int]]:
    """(rule, desirable, split, count)."""
    query = (
        select(Label.rule, Label.desirable, Prompt.split, func.count())
        .join(Prompt, Prompt.prompt_hash == Label.prompt_hash)
        .group_by(Label.rule, Label.desirable, Prompt.split)
        .order_by(Label.rule, Label.desirable, Prompt.split)
    )
    return [(rule, desirable, split, count) for rule, desirable, split, count in session.execute(query)]
