"""Schema `curator`: evidence, what was derived from it, datasets and retrain requests."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Sequence,
    SmallInteger,
    UniqueConstraint,
    Uuid,
    false,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import Base, CreatedAt, OutboxRow, RefusedRow, UuidKey

SCHEMA = {"schema": "curator"}
DERIVED = Sequence("derived_sequence", schema="curator", metadata=Base.metadata)
CANONICAL_FORM = 1
UNPLACED = "unplaced"
"""Cell and split of a prompt until the next dataset is frozen."""
KNOWN_USER = '"user" IS NOT NULL'
SPLIT_CHECK = "split IN ('train', 'validation', 'gate', 'unplaced')"

Redacted = Annotated[bool, mapped_column(server_default=false())]
"""Personal data was taken out: `content_hash` is not that of what the client sent."""
DerivedSequence = Annotated[int, mapped_column(BigInteger, server_default=DERIVED.next_value())]


class Cell(Base):
    """A region of prompt space, assigned to its split once and for ever: what is near enough to its anchor."""

    __tablename__ = "cells"
    __table_args__ = (
        UniqueConstraint("cell", "split"),
        CheckConstraint(SPLIT_CHECK, name="split"),
        SCHEMA,
    )

    cell: Mapped[str] = mapped_column(primary_key=True)
    split: Mapped[str]
    anchor: Mapped[str | None]
    """Hash of the prompt that the others gather around; none where every prompt of the cell was erased."""
    cut: Mapped[float | None] = mapped_column(Float)
    """Cosine with the anchor from which a prompt belongs here; none of cells without anchors, as they were before."""


class Prompt(Base):
    """One prompt group. The composite key to `cells` keeps a prompt in its cell's split; a trigger keeps what was in
    train or validation out of the gate."""

    __tablename__ = "prompts"
    __table_args__ = (
        ForeignKeyConstraint(["cell", "split"], ["curator.cells.cell", "curator.cells.split"]),
        Index("ix_prompts_split", "split"),
        Index("ix_prompts_old_form", "prompt_hash", postgresql_where="form = 0"),
        Index("ix_prompts_cell", "cell"),
        Index("ix_prompts_embedder", "embedder"),
        SCHEMA,
    )

    prompt_hash: Mapped[str] = mapped_column(primary_key=True)
    messages: Mapped[list[Any]]
    """Canonical (`shared.conversation`)."""
    tools: Mapped[list[Any] | None]
    """What the model was offered; part of what the hash is made of."""
    cell: Mapped[str]
    split: Mapped[str]
    form: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """0: as release 0.1.0 stored it; `CANONICAL_FORM`: in canonical form."""
    embedding: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """Half-precision vector of what is asked (`services.curator.cells`)."""
    embedder: Mapped[str | None]
    former_split: Mapped[str | None]
    """Split before its cell was renewed."""


class Interaction(Base):
    __tablename__ = "interactions"
    __table_args__ = (
        ForeignKeyConstraint(["prompt_hash"], ["curator.prompts.prompt_hash"]),
        Index("ix_interactions_prompt_hash", "prompt_hash"),
        Index("ix_interactions_served_at", "served_at"),
        Index("ix_interactions_model_version", "model_version", "served_at"),
        Index("ix_interactions_user", "user", postgresql_where=KNOWN_USER),
        Index("ix_interactions_conversation_id", "conversation_id", postgresql_where="conversation_id IS NOT NULL"),
        SCHEMA,
    )

    interaction_id: Mapped[UuidKey]
    key_id: Mapped[str]
    prompt_hash: Mapped[str]
    answer: Mapped[str]
    model_version: Mapped[str]
    served_at: Mapped[datetime]
    user: Mapped[str | None]
    conversation_id: Mapped[str | None]
    error: Mapped[str | None]
    content_hash: Mapped[str]
    event: Mapped[dict[str, Any]]
    """The whole `InteractionRecorded`, less messages and answer, which stand in their own columns."""
    redacted: Mapped[Redacted]


class Feedback(Base):
    """One feedback event. `parked` while an interaction that it needs has not arrived.

    `event_id` is the client's, unless another API key uses the same one: then the event of the smallest key id keeps
    it, and the others stand under `shared.feedback.scope_id`.
    """

    __tablename__ = "feedback"
    __table_args__ = (
        CheckConstraint("state IN ('parked', 'attached', 'expired')", name="state"),
        Index("ix_feedback_interaction_id", "interaction_id"),
        Index("ix_feedback_other_interaction_id", "other_interaction_id"),
        Index("ix_feedback_state", "state"),
        Index("ix_feedback_received_at", "received_at"),
        Index("ix_feedback_user", "user", postgresql_where=KNOWN_USER),
        SCHEMA,
    )

    event_id: Mapped[UuidKey]
    key_id: Mapped[str]
    interaction_id: Mapped[UUID]
    other_interaction_id: Mapped[UUID | None]
    """The other answer of a choice, or the replacement of a regeneration."""
    type: Mapped[str]
    user: Mapped[str | None]
    happened_at: Mapped[datetime]
    received_at: Mapped[datetime]
    content_hash: Mapped[str]
    state: Mapped[str]
    event: Mapped[dict[str, Any]]
    """The whole `FeedbackReceived`, with the client's id."""
    redacted: Mapped[Redacted]


class ConflictingEvent(Base):
    """A second body under an id that was taken: kept aside, never evidence."""

    __tablename__ = "conflicting_events"
    __table_args__ = SCHEMA

    event_id: Mapped[UuidKey]
    content_hash: Mapped[str] = mapped_column(primary_key=True)
    event: Mapped[dict[str, Any]]
    seen_at: Mapped[CreatedAt]


class Pair(Base):
    """A preference pair. `state` is active, contested, or refused for `reason`."""

    __tablename__ = "pairs"
    __table_args__ = (
        CheckConstraint("state IN ('active', 'contested', 'refused')", name="state"),
        CheckConstraint("epsilon >= 0 AND epsilon <= 0.5", name="epsilon"),
        ForeignKeyConstraint(["prompt_hash"], ["curator.prompts.prompt_hash"]),
        Index("ix_pairs_prompt_hash", "prompt_hash"),
        Index("ix_pairs_created_at", "created_at"),
        Index("ix_pairs_sequence", "sequence"),
        Index("ix_pairs_contested", "created_at", postgresql_where="state = 'contested'"),
        SCHEMA,
    )

    pair_id: Mapped[str] = mapped_column(primary_key=True)
    prompt_hash: Mapped[str]
    rule: Mapped[str]
    rule_version: Mapped[int]
    chosen: Mapped[str]
    rejected: Mapped[str]
    chosen_interaction_id: Mapped[UUID | None]
    """None when a user wrote the chosen side (rule `edit`)."""
    rejected_interaction_id: Mapped[UUID]
    chosen_version: Mapped[str | None]
    rejected_version: Mapped[str]
    evidence: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    epsilon: Mapped[float]
    state: Mapped[str]
    reason: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    sequence: Mapped[DerivedSequence]
    """Drawn anew whenever the state changes: what is above a dataset's `through_sequence` came after it."""


class Label(Base):
    """An unpaired label: this completion is desirable, or not."""

    __tablename__ = "labels"
    __table_args__ = (
        ForeignKeyConstraint(["prompt_hash"], ["curator.prompts.prompt_hash"]),
        Index("ix_labels_prompt_hash", "prompt_hash"),
        Index("ix_labels_sequence", "sequence"),
        SCHEMA,
    )

    label_id: Mapped[str] = mapped_column(primary_key=True)
    prompt_hash: Mapped[str]
    rule: Mapped[str]
    rule_version: Mapped[int]
    interaction_id: Mapped[UUID]
    model_version: Mapped[str]
    desirable: Mapped[bool]
    evidence: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    epsilon: Mapped[float]
    created_at: Mapped[CreatedAt]
    sequence: Mapped[DerivedSequence]


class Dataset(Base):
    """A frozen snapshot; its files lie under `uri` and are named by their content. An erasure deletes them, puts a
    successor in their place, and leaves the hash."""

    __tablename__ = "datasets"
    __table_args__ = SCHEMA

    dataset_sha256: Mapped[str] = mapped_column(primary_key=True)
    uri: Mapped[str]
    parent_sha256: Mapped[str | None]
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[CreatedAt]
    through_sequence: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """The highest `sequence` of pairs and labels that the snapshot could see."""
    erased_at: Mapped[datetime | None]
    replaced_by: Mapped[str | None]
    """The successor without the erased rows; None too when nothing was left."""


class RetrainRequestRow(Base):
    """One request to retrain and what became of it; open until its rollout, or its failure, is known."""

    __tablename__ = "retrain_requests"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'closed')", name="state"),
        Index("uq_retrain_requests_one_open", "state", unique=True, postgresql_where="state = 'open'"),
        SCHEMA,
    )

    request_id: Mapped[UuidKey]
    dataset_sha256: Mapped[str]
    parent_version: Mapped[str]
    reasons: Mapped[list[Any]] = mapped_column(JSONB)
    recipe: Mapped[str | None]
    recipes: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    """All of them, where there are several; `recipe` is the first."""
    requested_by: Mapped[str] = mapped_column(server_default="monitor")
    state: Mapped[str]
    outcome: Mapped[str | None]
    candidate_version: Mapped[str | None]
    requested_at: Mapped[datetime]
    deadline_at: Mapped[datetime]
    announced_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class RoutingRow(Base):
    """The newest routing table that the curator has heard of, one row per family."""

    __tablename__ = "routing"
    __table_args__ = SCHEMA

    family: Mapped[str] = mapped_column(primary_key=True)
    generation: Mapped[int]
    champion_version: Mapped[str]
    champion_since: Mapped[datetime]
    table: Mapped[dict[str, Any]]


class LoopSwitch(Base):
    """The whole loop's pause switch: at most one row."""

    __tablename__ = "loop_switch"
    __table_args__ = (CheckConstraint("id = 1", name="single"), SCHEMA)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    paused: Mapped[bool]
    actor: Mapped[str]
    at: Mapped[datetime]


class Refused(RefusedRow):
    __tablename__ = "refused_records"
    __table_args__ = SCHEMA


class Outbox(OutboxRow):
    __tablename__ = "outbox"
    __table_args__ = SCHEMA
    refused = Refused
