"""SQL of pairs and labels: what a prompt group's evidence is, and what changes with it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from psycopg import sql
from sqlalchemy import false, func, or_, select, tuple_
from sqlalchemy.orm import Session

from services.curator.evidence.repository.intake import Row, array_of, connection_of, copy_rows, fetch
from services.curator.pairs.domain.pairing import Derived
from services.curator.pairs.domain.rules import Answer, PreferencePair, UnpairedLabel
from shared.events import FeedbackReceived
from shared.feedback import attribute
from shared.tables.curator import Interaction, Label, Pair, Prompt


def load_events(session: Session, prompt_hashes: Collection[str]) -> list[FeedbackReceived]:
    """Load the attached feedback whose own interaction is in one of these groups, as evidence, by id."""
    rows = fetch(
        session,
        """
        SELECT feedback.event::text, event_id, interactions."user"
        FROM curator.feedback JOIN curator.interactions USING (interaction_id)
        WHERE prompt_hash = ANY(%s) AND state = 'attached' ORDER BY event_id
        """,
        prompt_hashes,
    )
    return [attribute(_decoder.decode(text), event_id, owner) for text, event_id, owner in rows]


_decoder: msgspec.json.Decoder[FeedbackReceived] = msgspec.json.Decoder(FeedbackReceived)


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


def save_derived(session: Session, groups: Mapping[str, Derived]) -> None:
    """Make these the pairs and labels of their prompts; rows that stay as they are are not touched."""
    prompt_hashes = list(groups)
    stored = _load_pair_states(session, prompt_hashes)
    pairs = {pair.pair_id: (key, pair) for key in groups for pair in groups[key].pairs}
    _delete_rows(session, "pairs", "pair_id", stored.keys() - pairs.keys())
    changed = [pair for key, (_, pair) in pairs.items() if key in stored and stored[key] != (pair.state, pair.reason)]
    _update_states(session, changed)
    new = [_pair_row(key, pair) for key, pair in pairs.values() if pair.pair_id not in stored]
    copy_rows(session, "pairs", new)
    labelled = set(_list_labels(session, prompt_hashes))
    labels = {label.label_id: (key, label) for key in groups for label in groups[key].labels}
    _delete_rows(session, "labels", "label_id", labelled - labels.keys())
    copy_rows(
        session, "labels", [_label_row(key, label) for key, label in labels.values() if label.label_id not in labelled]
    )


def _load_pair_states(session: Session, prompt_hashes: list[str]) -> dict[str, tuple[str, str | None]]:
    """Load (state, reason) of every pair of these groups."""
    query = "SELECT pair_id, state, reason FROM curator.pairs WHERE prompt_hash = ANY(%s)"
    return {pair_id: (state, reason) for pair_id, state, reason in fetch(session, query, prompt_hashes)}


def _list_labels(session: Session, prompt_hashes: list[str]) -> list[str]:
    query = "SELECT label_id FROM curator.labels WHERE prompt_hash = ANY(%s)"
    return [label_id for (label_id,) in fetch(session, query, prompt_hashes)]


def _delete_rows(session: Session, table: Literal["pairs", "labels"], column: str, keys: Collection[str]) -> None:
    if keys:
        connection_of(session).execute(
            sql.SQL("DELETE FROM curator.{} WHERE {} = ANY(%s)").format(sql.Identifier(table), sql.Identifier(column)),
            (array_of(keys),),
        )


def _update_states(session: Session, pairs: list[PreferencePair]) -> None:
    """Update states; a pair whose state changes counts as new and gets a new `sequence`."""
    with connection_of(session).cursor() as cursor:
        cursor.executemany(
            """
            UPDATE curator.pairs SET state = %s, reason = %s, sequence = nextval('curator.derived_sequence')
            WHERE pair_id = %s
            """,
            [(pair.state, pair.reason, pair.pair_id) for pair in pairs],
        )


def _pair_row(prompt_hash: str, pair: PreferencePair) -> Row:
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
    }


def _label_row(prompt_hash: str, label: UnpairedLabel) -> Row:
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
    after: tuple[datetime, str] | None = None,
) -> Sequence[tuple[Pair, str]]:
    """List (pair, split), newest first; those that follow the pair with this (time of creation, id)."""
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
    """Count pairs as (rule, state, split, count)."""
    query = (
        select(Pair.rule, Pair.state, Prompt.split, func.count())
        .join(Prompt, Prompt.prompt_hash == Pair.prompt_hash)
        .group_by(Pair.rule, Pair.state, Prompt.split)
        .order_by(Pair.rule, Pair.state, Prompt.split)
    )
    return [(rule, state, split, count) for rule, state, split, count in session.execute(query)]


def count_refusals(session: Session) -> dict[str, int]:
    """Count refused pairs by reason."""
    query = select(Pair.reason, func.count()).where(Pair.state == "refused").group_by(Pair.reason).order_by(Pair.reason)
    return {reason or "": count for reason, count in session.execute(query)}


def count_labels(session: Session) -> list[tuple[str, bool, str, int]]:
    """Count labels as (rule, desirable, split, count)."""
    query = (
        select(Label.rule, Label.desirable, Prompt.split, func.count())
        .join(Prompt, Prompt.prompt_hash == Label.prompt_hash)
        .group_by(Label.rule, Label.desirable, Prompt.split)
        .order_by(Label.rule, Label.desirable, Prompt.split)
    )
    return [(rule, desirable, split, count) for rule, desirable, split, count in session.execute(query)]
