"""What came in: feedback, and one conversation with all that became of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, String, Subquery, Text, cast, or_, select, true, tuple_
from sqlalchemy.orm import Session

from shared.tables.curator import Dataset, Feedback, Interaction, Label, Pair, Prompt
from shared.tables.deployer import Rollout
from shared.tables.erasures import DatasetItem
from shared.tables.trainer import Run

WINDOW = 5_000
"""Rows that one search looks at; the page says so, and goes on from there."""
RELATED = 50


@dataclass(frozen=True)
class Search:
    """What is looked for; empty: everything. `until` and `after` say where to begin, the newest first."""

    type: str = ""
    version: str = ""
    words: str = ""
    until: datetime | None = None
    after: tuple[datetime, str] | None = None


@dataclass(frozen=True)
class Found:
    """Rows of one page; `next` is where the next one begins, None at the end. `looked_at`: rows that were searched."""

    rows: list[Any]
    next: tuple[datetime, str] | None
    looked_at: int | None = None


def search_feedback(session: Session, search: Search, limit: int) -> Found:
    """Return feedback, the newest first. Filters look at `WINDOW` rows at most."""
    window = select(Feedback.event_id, Feedback.received_at, Feedback.type, Feedback.event, Feedback.interaction_id)
    window = window.order_by(Feedback.received_at.desc(), Feedback.event_id.desc())
    if search.until is not None:
        window = window.where(Feedback.received_at < search.until)
    if search.after is not None:
        at, event_id = search.after
        window = window.where(tuple_(Feedback.received_at, Feedback.event_id) < (at, UUID(event_id)))
    if not (search.type or search.version or search.words):
        return _cut(_load_feedback(session, window.limit(limit + 1)), limit, None)
    looked = window.limit(WINDOW).subquery()
    found = _load_feedback(session, _filter_feedback(looked, search).limit(limit + 1))
    if len(found) > limit:
        return _cut(found, limit, WINDOW)
    edge = session.execute(select(looked.c.received_at, looked.c.event_id).offset(WINDOW - 1).limit(1)).first()
    return Found(found, (edge[0], str(edge[1])) if edge else None, WINDOW)


def _filter_feedback(looked: Subquery, search: Search) -> Select[*tuple[Any, ...]]:
    """Select what fits. Answers are looked up one by one: joined, the planner may read the whole table for them."""
    ids = select(looked.c.event_id).order_by(looked.c.received_at.desc(), looked.c.event_id.desc())
    if search.type:
        ids = ids.where(looked.c.type == search.type)
    if search.version or search.words:
        answers = select(Interaction.answer, Interaction.model_version)
        answer = answers.where(Interaction.interaction_id == looked.c.interaction_id).limit(1).lateral()
        ids = ids.outerjoin(answer, true())
        if search.version:
            ids = ids.where(answer.c.model_version == search.version)
        if search.words:
            said = cast(looked.c.event["feedback"], Text)
            texts = (each.icontains(search.words, autoescape=True) for each in (said, answer.c.answer))
            ids = ids.where(or_(*texts))
    return ids


def _load_feedback(session: Session, ids: Select[*tuple[Any, ...]]) -> list[Any]:
    wanted = [row[0] for row in session.execute(ids)]
    rows = (
        select(Feedback, Interaction.answer, Interaction.model_version)
        .outerjoin(Interaction, Interaction.interaction_id == Feedback.interaction_id)
        .where(Feedback.event_id.in_(wanted))
        .order_by(Feedback.received_at.desc(), Feedback.event_id.desc())
    )
    return list(session.execute(rows))


def _cut(rows: list[Any], limit: int, looked_at: int | None) -> Found:
    """Cut a row too many off: it says that there is another page."""
    if len(rows) <= limit:
        return Found(rows, None, looked_at)
    last = rows[limit - 1][0]
    return Found(rows[:limit], (last.received_at, str(last.event_id)), looked_at)


def find_interactions(session: Session, identifier: str) -> list[UUID]:
    """Return the answers that an id leads to: of an answer, an event, or a conversation."""
    try:
        wanted = UUID(identifier)
    except ValueError:
        rows = select(Interaction.interaction_id).where(Interaction.conversation_id == identifier)
        return list(session.scalars(rows.order_by(Interaction.served_at.desc()).limit(RELATED)))
    if session.get(Interaction, wanted) is not None:
        return [wanted]
    event = session.get(Feedback, wanted)
    return [event.interaction_id] if event else []


def load_conversation(session: Session, interaction_id: UUID) -> tuple[Interaction, Prompt] | None:
    """Return an answer and the prompt that it answers."""
    interaction = session.get(Interaction, interaction_id)
    if interaction is None:
        return None
    return interaction, session.get_one(Prompt, interaction.prompt_hash)


def list_reactions(session: Session, interaction_id: UUID) -> list[Feedback]:
    """Return what users said of an answer, in the order in which it came."""
    about = or_(Feedback.interaction_id == interaction_id, Feedback.other_interaction_id == interaction_id)
    return list(session.scalars(select(Feedback).where(about).order_by(Feedback.received_at).limit(RELATED)))


def list_siblings(session: Session, interaction: Interaction) -> list[Interaction]:
    """Return other answers of the same conversation."""
    if interaction.conversation_id is None:
        return []
    same = Interaction.conversation_id == interaction.conversation_id
    return list(session.scalars(select(Interaction).where(same).order_by(Interaction.served_at).limit(RELATED)))


def list_derived(session: Session, interaction: Interaction) -> tuple[list[Pair], list[Label]]:
    """Return the pairs and labels that rest on an answer."""
    sides = or_(
        Pair.chosen_interaction_id == interaction.interaction_id,
        Pair.rejected_interaction_id == interaction.interaction_id,
    )
    pairs = select(Pair).where(Pair.prompt_hash == interaction.prompt_hash, sides).limit(RELATED)
    labels = select(Label).where(
        Label.prompt_hash == interaction.prompt_hash, Label.interaction_id == interaction.interaction_id
    )
    return list(session.scalars(pairs)), list(session.scalars(labels.limit(RELATED)))


@dataclass(frozen=True)
class Trace:
    """Where pairs and labels went: datasets, runs on them, and rollouts of what these made."""

    datasets: list[Any]
    runs: list[Run]
    rollouts: list[Rollout]


def trace_items(session: Session, items: list[str]) -> Trace:
    """Follow pairs and labels forward, to the rollouts that they had a part in."""
    held = (
        select(Dataset.dataset_sha256, Dataset.created_at)
        .join(DatasetItem, DatasetItem.dataset_sha256 == Dataset.dataset_sha256)
        .where(DatasetItem.item_id.in_(items))
        .distinct()
        .order_by(Dataset.created_at)
        .limit(RELATED)
    )
    datasets = list(session.execute(held)) if items else []
    return trace_datasets(session, datasets)


def trace_datasets(session: Session, datasets: list[Any]) -> Trace:
    hashes = [row.dataset_sha256 for row in datasets]
    runs = list(
        session.scalars(select(Run).where(Run.dataset_sha256.in_(hashes)).order_by(Run.created_at).limit(RELATED))
    )
    versions = [run.candidate_version for run in runs if run.candidate_version]
    rollouts = select(Rollout).where(cast(Rollout.candidate_version, String).in_(versions)).limit(RELATED)
    return Trace(datasets, runs, list(session.scalars(rollouts)) if versions else [])
