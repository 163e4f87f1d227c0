"""Pairs and labels: what changes when their group's evidence does."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg import sql
from sqlalchemy import func, or_, select, tuple_
from sqlalchemy.orm import Session

from services.curator.domain.pairing import Derived
from services.curator.domain.rules import Answer, PreferencePair, UnpairedLabel
from services.curator.repository.batches import array_of, connection_of, copy_rows, fetch
from shared.tables.curator import Label, Pair, Prompt

PAIR_COLUMNS = (
    "pair_id",
    "prompt_hash",
    "rule",
    "rule_version",
    "chosen",
    "rejected",
    "chosen_interaction_id",
    "rejected_interaction_id",
    "chosen_version",
    "rejected_version",
    "evidence",
    "epsilon",
    "state",
    "reason",
)
LABEL_COLUMNS = (
    "label_id",
    "prompt_hash",
    "rule",
    "rule_version",
    "interaction_id",
    "model_version",
    "desirable",
    "evidence",
    "epsilon",
)


def save_derived(session: Session, groups: Mapping[str, Derived]) -> None:
    """Make these the pairs and labels of their prompts; rows that stay as they are are not touched."""
    prompt_hashes = list(groups)
    standing = _load_standing(session, prompt_hashes)
    pairs = {pair.pair_id: (key, pair) for key in groups for pair in groups[key].pairs}
    _delete(session, "pairs", "pair_id", standing.keys() - pairs.keys())
    changed = [
        pair for key, (_, pair) in pairs.items() if key in standing and standing[key] != (pair.state, pair.reason)
    ]
    _update_states(session, changed)
    new = [_pair_row(key, pair) for key, pair in pairs.values() if pair.pair_id not in standing]
    if new:
        copy_rows(session, "pairs", PAIR_COLUMNS, new)
    labelled = set(_list_labels(session, prompt_hashes))
    labels = {label.label_id: (key, label) for key in groups for label in groups[key].labels}
    _delete(session, "labels", "label_id", labelled - labels.keys())
    if rows := [_label_row(key, label) for key, label in labels.values() if label.label_id not in labelled]:
        copy_rows(session, "labels", LABEL_COLUMNS, rows)


def _load_standing(session: Session, prompt_hashes: list[str]) -> dict[str, tuple[str, str | None]]:
    """(state, reason) of every pair of these groups."""
    query = "SELECT pair_id, state, reason FROM curator.pairs WHERE prompt_hash = ANY(%s)"
    return {pair_id: (state, reason) for pair_id, state, reason in fetch(session, query, prompt_hashes)}


def _list_labels(session: Session, prompt_hashes: list[str]) -> list[str]:
    query = "SELECT label_id FROM curator.labels WHERE prompt_hash = ANY(%s)"
    return [label_id for (label_id,) in fetch(session, query, prompt_hashes)]


def _delete(session: Session, table: Literal["pairs", "labels"], column: str, keys: Collection[str]) -> None:
    if keys:
        connection_of(session).execute(
            sql.SQL("DELETE FROM curator.{} WHERE {} = ANY(%s)").format(sql.Identifier(table), sql.Identifier(column)),
            (array_of(keys),),
        )


def _update_states(session: Session, pairs: list[PreferencePair]) -> None:
    """A pair whose state changes counts as new: it is drawn a new `sequence`."""
    with connection_of(session).cursor() as cursor:
        cursor.executemany(
            """
            UPDATE curator.pairs SET state = %s, reason = %s, sequence = nextval('curator.derived_sequence')
            WHERE pair_id = %s
            """,
            [(pair.state, pair.reason, pair.pair_id) for pair in pairs],
        )


def _pair_row(prompt_hash: str, pair: PreferencePair) -> tuple[object, ...]:
    draft = pair.draft
    chosen = draft.chosen if isinstance(draft.chosen, Answer) else None
    return (
        pair.pair_id,
        prompt_hash,
        draft.rule.name,
        draft.rule.version,
        draft.chosen.text,
        draft.rejected.text,
        chosen.interaction_id if chosen else None,
        draft.rejected.interaction_id,
        chosen.model_version if chosen else None,
        draft.rejected.model_version,
        sorted(draft.evidence),
        draft.rule.epsilon,
        pair.state,
        pair.reason,
    )


def _label_row(prompt_hash: str, label: UnpairedLabel) -> tuple[object, ...]:
    return (
        label.label_id,
        prompt_hash,
        label.rule.name,
        label.rule.version,
        label.answer.interaction_id,
        label.answer.model_version,
        label.desirable,
        sorted(label.evidence),
        label.rule.epsilon,
    )


def list_pairs(
    session: Session,
    *,
    interaction_id: UUID | None,
    prompt_hash: str | None,
    rule: str | None,
    split: str | None,
    state: str | None,
    limit: int,
    after: tuple[datetime, str] | None = None,
) -> Sequence[tuple[Pair, str]]:
    """(pair, split), newest first; those that follow the pair with this (time of creation, id)."""
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
    order = (Pair.created_at, Pair.pair_id)
    if after is not None:
        query = query.where(tuple_(*order) < tuple_(*after))
    rows = session.execute(query.order_by(*(column.desc() for column in order)).limit(limit))
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
