"""Schema `evaluator`: evaluations and the blind comparisons that people judge."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import Base, CreatedAt, OutboxRow, RefusedRow, UuidKey

SCHEMA = {"schema": "evaluator"}


class Evaluation(Base):
    """A candidate being judged. Whatever goes wrong, it ends `completed`, with a verdict and a summary."""

    __tablename__ = "evaluations"
    __table_args__ = (
        CheckConstraint("state IN ('generating', 'voting', 'completed')", name="state"),
        CheckConstraint("kind IN ('candidate', 'audit')", name="kind"),
        Index("ix_evaluations_state", "state"),
        SCHEMA,
    )

    evaluation_id: Mapped[UuidKey]
    request_id: Mapped[UUID] = mapped_column(unique=True)
    run_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(server_default="candidate")
    """audit: the champion (in the candidate's place) against the one before it; announced to nobody."""
    candidate_version: Mapped[str]
    champion_version: Mapped[str]
    training: Mapped[dict[str, Any]]
    """The `TrainingCompleted` that asked for it."""
    entrants: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """By run: the `TrainingCompleted` of every run of the request that left a candidate. The columns above speak of the
    first that was heard of, and once it is completed of the one that the report speaks of."""
    state: Mapped[str]
    claimed_by: Mapped[UUID | None]
    """Who works on it now; drawn anew with each claim, so that a stale worker may write nothing."""
    heartbeat_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    """How often generation was started."""
    progress: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    generation: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """How the answers came about: prompts examined and left out, settings, and the failure if there was one."""
    verdict: Mapped[str | None]
    report: Mapped[dict[str, Any] | None]
    report_sha256: Mapped[str | None]
    report_uri: Mapped[str | None]
    deadline_at: Mapped[datetime]
    """Of generation, and once that is done of voting."""
    created_at: Mapped[CreatedAt]
    completed_at: Mapped[datetime | None]
    announced_at: Mapped[datetime | None]
    announcements: Mapped[int] = mapped_column(server_default="0")


class Comparison(Base):
    """Two answers to one gate prompt, shown blind. Which side the candidate is on never leaves this table before the
    votes are in. Each prompt has two, with the sides swapped."""

    __tablename__ = "comparisons"
    __table_args__ = (
        CheckConstraint("vote IS NULL OR vote IN ('left', 'right', 'tie')", name="vote"),
        ForeignKeyConstraint(["evaluation_id"], ["evaluator.evaluations.evaluation_id"]),
        UniqueConstraint(
            "evaluation_id", "candidate_version", "prompt_hash", "candidate_is_left", name="uq_comparisons_sides"
        ),
        Index("ix_comparisons_waiting", "evaluation_id", "position", postgresql_where="vote IS NULL"),
        SCHEMA,
    )

    comparison_id: Mapped[UuidKey]
    evaluation_id: Mapped[UUID]
    position: Mapped[int]
    """Place in the order of offering."""
    prompt_hash: Mapped[str]
    messages: Mapped[list[Any]]
    left_answer: Mapped[str]
    right_answer: Mapped[str]
    candidate_is_left: Mapped[bool]
    candidate_version: Mapped[str] = mapped_column(server_default="")
    """Whose answer stands against the champion's; empty where the evaluation has one candidate."""
    offered_to: Mapped[str | None]
    """The person (hashed), else the key, that was shown it last."""
    offered_at: Mapped[datetime | None]
    offered_key: Mapped[str | None]
    """Id of the API key, or account, that it was shown to last."""
    vote: Mapped[str | None]
    voter: Mapped[str | None]
    """Whoever the caller said was judging (hashed), else the key."""
    voter_key: Mapped[str | None]
    """Id of the API key that the vote came with."""
    voted_at: Mapped[datetime | None]
    pile: Mapped[int | None]
    """Which unit of evidence it belongs to: for the population, what one rater judges."""
    selection_probability: Mapped[float | None]
    """The chance with which it was drawn when it was offered last, of `selection_pool` comparisons."""
    selection_pool: Mapped[int | None]


class Refused(RefusedRow):
    __tablename__ = "refused_records"
    __table_args__ = SCHEMA


class Outbox(OutboxRow):
    __tablename__ = "outbox"
    __table_args__ = SCHEMA
    refused = Refused
