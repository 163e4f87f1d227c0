"""SQL of what a snapshot weighs, read from one consistent state of the tables; and of quarantine."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, or_, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, aliased

from services.curator.weighing.domain.history import Decisions, FeedbackRecord, LabelEvidence, PairEvidence
from shared.conversation import Conversation, canonicalize
from shared.events import IMPORT_KEY_ID
from shared.tables import trainer
from shared.tables.curator import Feedback, Interaction, Label, Pair, Prompt
from shared.tables.quarantine import Quarantined, QuarantineDecision

READING_SECONDS = 900
FETCHED_AT_ONCE = 10_000
STANDING = or_(Pair.state.in_(["active", "contested"]), Pair.reason == "contradicted")


@contextmanager
def open_snapshot(session: Session, *, keep: bool) -> Iterator[Session]:
    """Open a session of its own that sees one state of the database: that of its first query.

    What is written in it (cells of new prompts) is kept or, where somebody only looks, forgotten at its end.
    """
    with Session(session.get_bind().engine) as reader:
        reader.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        reader.execute(text(f"SET LOCAL statement_timeout = '{READING_SECONDS}s'"))
        yield reader
        if keep:
            reader.commit()


def load_pair_evidence(session: Session) -> list[PairEvidence]:
    """Load every pair outside the gate that is not refused for its quality."""
    query = (
        select(
            Pair.pair_id,
            Pair.prompt_hash,
            Prompt.split,
            Pair.chosen,
            Pair.rejected,
            Pair.rule,
            Pair.rule_version,
            Pair.epsilon,
            Pair.evidence,
            Pair.chosen_interaction_id,
            Pair.rejected_interaction_id,
            Pair.chosen_version,
            Pair.rejected_version,
        )
        .join(Prompt, Prompt.prompt_hash == Pair.prompt_hash)
        .where(STANDING, Prompt.split != "gate")
    )
    return [PairEvidence(*_freeze_evidence(row)) for row in _stream(session, query)]


def load_label_evidence(session: Session) -> list[LabelEvidence]:
    """Load every label outside the gate."""
    query = (
        select(
            Label.label_id,
            Label.prompt_hash,
            Prompt.split,
            Interaction.answer,
            Label.desirable,
            Label.rule,
            Label.rule_version,
            Label.epsilon,
            Label.evidence,
            Label.interaction_id,
            Label.model_version,
        )
        .join(Prompt, Prompt.prompt_hash == Label.prompt_hash)
        .join(Interaction, Interaction.interaction_id == Label.interaction_id)
        .where(Prompt.split != "gate")
    )
    return [LabelEvidence(*_freeze_evidence(row)) for row in _stream(session, query)]


def _freeze_evidence(row: Any) -> tuple[Any, ...]:
    """Make the arrays of a row tuples."""
    return tuple(tuple(value) if isinstance(value, list) else value for value in row)


def load_feedback(session: Session, wanted: Collection[UUID]) -> dict[UUID, FeedbackRecord]:
    """Load the wanted ones of the attached events outside the gate."""
    other = aliased(Interaction)
    feedback = Feedback.event["feedback"]
    solicited = Interaction.event["solicited"].as_boolean()
    both = solicited & or_(Feedback.other_interaction_id.is_(None), other.event["solicited"].as_boolean())
    query = (
        select(
            Feedback.event_id,
            func.coalesce(Feedback.user, Interaction.user),
            Feedback.happened_at,
            Feedback.type,
            feedback["value"].astext,
            feedback["presented_order"][0].astext,
            feedback["text"].astext,
            func.coalesce(both, False),
            Feedback.key_id,
            Feedback.event["metadata"]["imported"]["source"].astext,
        )
        .join(Interaction, Interaction.interaction_id == Feedback.interaction_id)
        .outerjoin(other, other.interaction_id == Feedback.other_interaction_id)
        .join(Prompt, Prompt.prompt_hash == Interaction.prompt_hash)
        .where(Feedback.state == "attached", Prompt.split != "gate")
    )
    found = {}
    for event_id, user, at, kind, value, first, written, asked, key_id, named in _stream(session, query):
        if event_id in wanted:
            text_of = written if kind == "edit" else None
            shown = UUID(first) if first else None
            read = _read_value(kind, value)
            source = named if key_id == IMPORT_KEY_ID else None
            found[event_id] = FeedbackRecord(event_id, user, at, read, shown, text_of, asked, key_id, source)
    return found


def _read_value(kind: str, value: str | None) -> float | None:
    match kind:
        case "thumb":
            return float(value == "up")
        case "rating":
            return (int(value or 1) - 1) / 4
        case _:
            return None


def load_conversations(session: Session, prompt_hashes: Collection[str]) -> dict[str, Conversation]:
    """Load what the model saw, by prompt hash."""
    query = select(Prompt.prompt_hash, Prompt.messages, Prompt.tools).where(
        Prompt.prompt_hash == func.any(list(prompt_hashes))
    )
    return {
        prompt_hash: Conversation(canonicalize(messages), tools or [])
        for prompt_hash, messages, tools in _stream(session, query)
    }


def count_refused(session: Session) -> dict[str, int]:
    """Count pairs outside the gate that were refused for their quality, by reason."""
    query = (
        select(Pair.reason, func.count())
        .join(Prompt, Prompt.prompt_hash == Pair.prompt_hash)
        .where(~STANDING, Prompt.split != "gate")
        .group_by(Pair.reason)
    )
    return {reason or "": count for reason, count in session.execute(query)}


def list_refused(session: Session, most: int) -> dict[str, list[str]]:
    """List the first pairs outside the gate that were refused for their quality: at most so many ids of each reason."""
    place = func.row_number().over(partition_by=Pair.reason, order_by=Pair.pair_id).label("place")
    numbered = (
        select(Pair.reason, Pair.pair_id, place)
        .join(Prompt, Prompt.prompt_hash == Pair.prompt_hash)
        .where(~STANDING, Prompt.split != "gate")
        .subquery()
    )
    found: dict[str, list[str]] = defaultdict(list)
    query = select(numbered.c.reason, numbered.c.pair_id).where(numbered.c.place <= most)
    for reason, pair_id in session.execute(query.order_by(numbered.c.pair_id)):
        found[reason or ""].append(pair_id)
    return found


def load_parents(session: Session) -> dict[str, str]:
    """Load which version each candidate was trained from."""
    query = select(trainer.Run.candidate_version, trainer.Run.parent_version)
    rows = session.execute(query.where(trainer.Run.candidate_version.is_not(None)))
    return {str(candidate): parent for candidate, parent in rows}


def _stream(session: Session, query: Any) -> Iterator[Any]:
    return iter(session.execute(query.execution_options(yield_per=FETCHED_AT_ONCE)))


def load_quarantine_decisions(session: Session) -> list[QuarantineDecision]:
    """Load the newest decision on each subject, by subject."""
    newest = (
        select(QuarantineDecision)
        .ext(distinct_on(QuarantineDecision.subject_kind, QuarantineDecision.subject_id))
        .order_by(QuarantineDecision.subject_kind, QuarantineDecision.subject_id, QuarantineDecision.decision_id.desc())
    )
    return list(session.scalars(newest))


def save_quarantine_decision(
    session: Session, *, subject_kind: str, subject_id: str, decision: str, decided_by: str, reason: str, now: datetime
) -> QuarantineDecision:
    """Append a decision; it stands from the next snapshot on."""
    row = QuarantineDecision(
        subject_kind=subject_kind,
        subject_id=subject_id,
        decision=decision,
        decided_by=decided_by,
        decided_at=now,
        reason=reason,
    )
    session.add(row)
    session.flush()
    return row


def replace_quarantined(session: Session, rows: Iterable[dict[str, Any]], now: datetime) -> None:
    """Replace what a snapshot set aside: dicts with `subject_kind`, `subject_id`, `reason` and `detail`."""
    session.execute(delete(Quarantined))
    if values := [{**row, "found_at": now} for row in rows]:
        session.execute(insert(Quarantined), values)


def list_quarantined(session: Session) -> list[Quarantined]:
    return list(session.scalars(select(Quarantined).order_by(Quarantined.subject_kind, Quarantined.subject_id)))


def read_decisions(rows: Iterable[QuarantineDecision]) -> Decisions:
    """Group the newest decisions by what they are about."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        kind = "item" if row.subject_kind in ("pair", "label") else row.subject_kind
        found[kind, row.decision].add(row.subject_id)
    return Decisions(
        events_released=frozenset(UUID(key) for key in found["event", "release"]),
        events_rejected=frozenset(UUID(key) for key in found["event", "reject"]),
        users_released=frozenset(found["user", "release"]),
        users_rejected=frozenset(found["user", "reject"]),
        items_released=frozenset(found["item", "release"]),
        items_rejected=frozenset(found["item", "reject"]),
    )
