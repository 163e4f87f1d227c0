"""What a snapshot is made of, and the snapshots there are."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.curator.domain.snapshot import LabelEvidence, PairEvidence, Prompting
from services.curator.domain.text import derive_question
from shared.tables.curator import Dataset, Feedback, Interaction, Label, Pair, Prompt


def load_pair_evidence(session: Session) -> list[PairEvidence]:
    """Every active pair outside the gate."""
    query = (
        select(
            Pair.pair_id,
            Pair.prompt_hash,
            Prompt.split,
            Prompt.messages,
            Pair.chosen,
            Pair.rejected,
            Pair.epsilon,
            Pair.rule,
            Pair.rule_version,
            Feedback.user,
        )
        .join(Prompt, Prompt.prompt_hash == Pair.prompt_hash)
        .outerjoin(Feedback, Feedback.event_id == Pair.evidence[1])
        .where(Pair.state == "active", Prompt.split != "gate")
    )
    return [PairEvidence(*row) for row in session.execute(query)]


def load_label_evidence(session: Session) -> list[LabelEvidence]:
    """Every label outside the gate."""
    query = (
        select(
            Label.label_id,
            Label.prompt_hash,
            Prompt.split,
            Prompt.messages,
            Interaction.answer,
            Label.desirable,
            Label.epsilon,
            Label.rule,
            Label.rule_version,
            Feedback.user,
        )
        .join(Prompt, Prompt.prompt_hash == Label.prompt_hash)
        .join(Interaction, Interaction.interaction_id == Label.interaction_id)
        .outerjoin(Feedback, Feedback.event_id == Label.evidence[1])
        .where(Prompt.split != "gate")
    )
    return [LabelEvidence(*row) for row in session.execute(query)]


def load_gate_prompts(session: Session) -> list[Prompting]:
    """The gate prompts that somebody really asked."""
    asked = exists().where(Interaction.prompt_hash == Prompt.prompt_hash)
    query = select(Prompt.prompt_hash, Prompt.messages).where(Prompt.split == "gate", asked)
    rows = session.execute(query.order_by(Prompt.prompt_hash))
    return [Prompting(prompt_hash, derive_question(messages)) for prompt_hash, messages in rows]


def save_dataset(
    session: Session, dataset_sha256: str, uri: str, parent_sha256: str | None, manifest: dict[str, Any]
) -> Dataset:
    """The dataset's row; the one that is there, when the same content was frozen before."""
    row = {"dataset_sha256": dataset_sha256, "uri": uri, "parent_sha256": parent_sha256, "manifest": manifest}
    session.execute(insert(Dataset).values(row).on_conflict_do_nothing())
    return session.get_one(Dataset, dataset_sha256)


def load_newest_sha256(session: Session) -> str | None:
    return session.scalar(select(Dataset.dataset_sha256).order_by(Dataset.created_at.desc()).limit(1))


def load_dataset(session: Session, dataset_sha256: str) -> Dataset | None:
    return session.get(Dataset, dataset_sha256)


def list_datasets(session: Session, limit: int) -> Sequence[Dataset]:
    """Newest first."""
    return session.scalars(select(Dataset).order_by(Dataset.created_at.desc()).limit(limit)).all()


def count_datasets(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Dataset)) or 0
