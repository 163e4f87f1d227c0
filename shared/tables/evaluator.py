"""Schema `evaluator`: evaluations and the blind comparisons that people judge."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import Base, CreatedAt, OutboxRow, UuidKey

SCHEMA = {"schema": "evaluator"}


class Evaluation(Base):
    __tablename__ = "evaluations"
    __table_args__ = (
        CheckConstraint("state IN ('generating', 'voting', 'completed', 'failed')", name="state"),
        SCHEMA,
    )

    evaluation_id: Mapped[UuidKey]
    request_id: Mapped[UUID] = mapped_column(unique=True)
    run_id: Mapped[UUID]
    candidate_version: Mapped[str]
    champion_version: Mapped[str]
    training: Mapped[dict[str, Any]]
    """The `TrainingCompleted` that asked for it."""
    state: Mapped[str]
    progress: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    verdict: Mapped[str | None]
    report: Mapped[dict[str, Any] | None]
    report_sha256: Mapped[str | None]
    report_uri: Mapped[str | None]
    heartbeat_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime]
    created_at: Mapped[CreatedAt]
    completed_at: Mapped[datetime | None]
    announced_at: Mapped[datetime | None]


class Comparison(Base):
    """Two answers to one gate prompt, shown blind: which side the candidate is on is drawn once, here."""

    __tablename__ = "comparisons"
    __table_args__ = (
        CheckConstraint("vote IS NULL OR vote IN ('left', 'right', 'tie')", name="vote"),
        ForeignKeyConstraint(["evaluation_id"], ["evaluator.evaluations.evaluation_id"]),
        Index("ix_comparisons_evaluation_id", "evaluation_id"),
        SCHEMA,
    )

    comparison_id: Mapped[UuidKey]
    evaluation_id: Mapped[UUID]
    prompt_hash: Mapped[str]
    messages: Mapped[list[Any]]
    left_answer: Mapped[str]
    right_answer: Mapped[str]
    candidate_is_left: Mapped[bool]
    offered_to: Mapped[str | None]
    offered_at: Mapped[datetime | None]
    vote: Mapped[str | None]
    voter: Mapped[str | None]
    voted_at: Mapped[datetime | None]


class Outbox(OutboxRow):
    __tablename__ = "outbox"
    __table_args__ = SCHEMA
