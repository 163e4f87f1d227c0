"""SQL of pairs and labels: what a prompt group's evidence is, and what changes with it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, cast
from uuid import UUID

import msgspec
from psycopg import sql
from sqlalchemy import func, or_, select, tuple_
from sqlalchemy.orm import Session

from services.curator.evidence.repository.intake import Row, array_of, connection_of, copy_rows, fetch
from services.curator.pairs.domain.pairing import Derived
from services.curator.pairs.domain.rules import Answer, PreferencePair, UnpairedLabel, name_untold
from shared.conversation import derive_question
from shared.events import FeedbackReceived
from shared.feedback import attribute
from shared.finishes import classify_finish
from shared.tables.curator import Feedback, Interaction, Label, Pair, Prompt

UUID_CHARACTERS = 36

Texts = tuple[str, list[tuple[str, str]]]
"""(id, [(what it is, the text)])."""


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
    """Load these answers. Release 0.1.0 and front ends without the gateway said in the metadata why an answer ended."""
    finish_reason = func.coalesce(
        Interaction.event["finish_reason"].astext, Interaction.event["metadata"]["finish_reason"].astext
    )
    query = select(
        Interaction.interaction_id,
        Interaction.prompt_hash,
        Interaction.answer,
        Interaction.model_version,
        Interaction.user,
        Interaction.error,
        finish_reason,
        func.coalesce(Interaction.event["tool_calls"].astext, "[]") != "[]",
        func.coalesce(Interaction.event["reasoning"].astext, "").regexp_match(r"\S"),
    )
    condition = Interaction.interaction_id == func.any(list(interaction_ids))
    rows = session.execute(query.where(condition).order_by(Interaction.interaction_id))
    return [
        Answer(key, prompt, text, version, user, error, classify_finish(reason), name_untold(has_calls, has_reasoning))
        for key, prompt, text, version, user, error, reason, has_calls, has_reasoning in rows
    ]


def save_derived(session: Session, groups: Mapping[str, Derived]) -> None:
    """Make these the pairs and labels of their prompts; rows that stay as they are are not touched.

    A row that stands under another prompt, because its answer's conversation was replaced, moves.
    """
    pairs = {pair.pair_id: (key, pair) for key in groups for pair in groups[key].pairs}
    stored = _load_pair_states(session, groups, pairs)
    kept = {key for key, (prompt_hash, _) in stored.items() if key in pairs and pairs[key][0] == prompt_hash}
    _delete_rows(session, "pairs", "pair_id", stored.keys() - kept)
    changed = [pairs[key][1] for key in kept if stored[key][1] != (pairs[key][1].state, pairs[key][1].reason)]
    _update_states(session, changed)
    copy_rows(session, "pairs", [_pair_row(*pair) for key, pair in pairs.items() if key not in kept])
    _save_labels(session, groups)


def _save_labels(session: Session, groups: Mapping[str, Derived]) -> None:
    labels = {label.label_id: (key, label) for key in groups for label in groups[key].labels}
    stored = _load_label_prompts(session, groups, labels)
    kept = {key for key, prompt_hash in stored.items() if key in labels and labels[key][0] == prompt_hash}
    _delete_rows(session, "labels", "label_id", stored.keys() - kept)
    copy_rows(session, "labels", [_label_row(*label) for key, label in labels.items() if key not in kept])


def _load_pair_states(
    session: Session, prompt_hashes: Collection[str], pair_ids: Collection[str]
) -> dict[str, tuple[str, tuple[str, str | None]]]:
    """Load (prompt hash, (state, reason)) of every pair of these groups, and of these wherever they stand."""
    query = "SELECT pair_id, prompt_hash, state, reason FROM curator.pairs WHERE"
    rows = fetch(session, f"{query} prompt_hash = ANY(%s)", prompt_hashes)
    rows += fetch(session, f"{query} pair_id = ANY(%s)", pair_ids)
    return {pair_id: (prompt_hash, (state, reason)) for pair_id, prompt_hash, state, reason in rows}


def _load_label_prompts(session: Session, prompt_hashes: Collection[str], label_ids: Collection[str]) -> dict[str, str]:
    """Load the prompt hash of every label of these groups, and of these wherever they stand."""
    query = "SELECT label_id, prompt_hash FROM curator.labels WHERE"
    rows = fetch(session, f"{query} prompt_hash = ANY(%s)", prompt_hashes)
    rows += fetch(session, f"{query} label_id = ANY(%s)", label_ids)
    return dict(cast("list[tuple[str, str]]", rows))


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


def load_texts(session: Session, wanted: Collection[str]) -> dict[str, list[tuple[str, str]]]:
    """Load texts of pairs, labels and feedback events, as (what it is, the text), by the ids that are there."""
    return dict([*_load_pairs(session, wanted), *_load_labels(session, wanted), *_load_events(session, wanted)])


def _load_pairs(session: Session, wanted: Collection[str]) -> list[Texts]:
    query = select(Pair.pair_id, Prompt.messages, Pair.chosen, Pair.rejected, Pair.rule)
    rows = session.execute(query.join(Prompt, Prompt.prompt_hash == Pair.prompt_hash).where(Pair.pair_id.in_(wanted)))
    return [
        (key, [("asked", derive_question(asked)), (f"preferred ({rule})", chosen), ("over", rejected)])
        for key, asked, chosen, rejected, rule in rows
    ]


def _load_labels(session: Session, wanted: Collection[str]) -> list[Texts]:
    query = (
        select(Label.label_id, Prompt.messages, Interaction.answer, Label.rule, Label.desirable)
        .join(Prompt, Prompt.prompt_hash == Label.prompt_hash)
        .join(Interaction, Interaction.interaction_id == Label.interaction_id)
    )
    return [
        (key, [("asked", derive_question(asked)), (f"{'praised' if good else 'blamed'} ({rule})", answer)])
        for key, asked, answer, rule, good in session.execute(query.where(Label.label_id.in_(wanted)))
    ]


def _load_events(session: Session, wanted: Collection[str]) -> list[Texts]:
    written = Feedback.event["feedback"]["text"].astext
    query = (
        select(Feedback.event_id, Prompt.messages, Interaction.answer, Feedback.type, written)
        .join(Interaction, Interaction.interaction_id == Feedback.interaction_id)
        .join(Prompt, Prompt.prompt_hash == Interaction.prompt_hash)
    )
    ids = [UUID(key) for key in wanted if len(key) == UUID_CHARACTERS]
    return [
        (str(key), [("asked", derive_question(asked)), ("answered", answer), (kind, text or "")])
        for key, asked, answer, kind, text in session.execute(query.where(Feedback.event_id.in_(ids)))
    ]
