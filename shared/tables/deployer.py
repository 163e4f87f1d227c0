"""Schema `deployer`: rollouts, their votes, the routing tables, and the audit log."""

from datetime import datetime
from typing import Any, get_args
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.rollouts import RolloutState
from shared.tables.base import Base, CreatedAt, OutboxRow, RefusedRow, UuidKey

SCHEMA = {"schema": "deployer"}


class Rollout(Base):
    __tablename__ = "rollouts"
    __table_args__ = (
        CheckConstraint(f"state IN {get_args(RolloutState)}", name="state"),
        Index("ix_rollouts_state", "state"),
        SCHEMA,
    )

    rollout_id: Mapped[UuidKey]
    request_id: Mapped[UUID] = mapped_column(unique=True)
    evaluation: Mapped[dict[str, Any]]
    """The `EvaluationCompleted` that it rests on."""
    candidate_version: Mapped[str]
    champion_version: Mapped[str]
    state: Mapped[str]
    paused_from: Mapped[str | None]
    stage: Mapped[int | None]
    """Index into the configured stages while in canary."""
    stage_started_at: Mapped[datetime | None]
    shadow_started_at: Mapped[datetime | None]
    """Since when the candidate is, or was, asked in secret; None without a shadow."""
    stages: Mapped[list[Any]] = mapped_column(server_default="[]")
    """One entry for each stage entered: percent, times, votes per arm and e-values at its end."""
    evidence: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """Where the guardrails stand, counts, what is missing, and the forecast."""
    limits: Mapped[dict[str, Any] | None]
    """What it is held to, as the settings were when it opened; None in rollouts of before."""
    approval_hash: Mapped[str]
    """SHA-256 over (weights, dataset, recipe, report): what an admin approves."""
    approved_by: Mapped[str | None]
    approved_at: Mapped[datetime | None]
    summary: Mapped[str] = mapped_column(server_default="")
    retired_words: Mapped[str | None] = mapped_column("words")
    """What release 0.1.0 calls `summary`: a trigger keeps them equal until the column goes, in 0.3.0."""
    created_at: Mapped[CreatedAt]
    closed_at: Mapped[datetime | None]


class ServedInteraction(Base):
    """Which arm served an interaction: what a vote on it counts for."""

    __tablename__ = "served_interactions"
    __table_args__ = (
        Index("ix_served_interactions_latest", "rollout_id", "intended_version", "served_at"),
        Index("ix_served_interactions_user", "rollout_id", "user"),
        SCHEMA,
    )

    interaction_id: Mapped[UuidKey]
    rollout_id: Mapped[UUID | None]
    user: Mapped[str | None]
    intended_version: Mapped[str | None]
    served_version: Mapped[str]
    error: Mapped[str | None]
    served_at: Mapped[datetime]
    seconds: Mapped[float | None]
    """Until the answer was whole."""
    is_void: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether it was empty or refused."""


class Exposure(Base):
    """One user in one stage, from their first answer there; with their outcome once its time is over.

    `sequence` is the order in which outcomes of a stage became known; None before.
    """

    __tablename__ = "exposures"
    __table_args__ = (
        ForeignKeyConstraint(["rollout_id"], ["deployer.rollouts.rollout_id"]),
        CheckConstraint("arm IN ('champion', 'canary')", name="arm"),
        UniqueConstraint("rollout_id", "stage", "sequence"),
        Index("ix_exposures_waiting", "rollout_id", "stage", "began_at", postgresql_where=text("sequence IS NULL")),
        SCHEMA,
    )

    rollout_id: Mapped[UUID] = mapped_column(primary_key=True)
    stage: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user: Mapped[str] = mapped_column(primary_key=True)
    arm: Mapped[str]
    began_at: Mapped[datetime]
    sequence: Mapped[int | None]
    value: Mapped[float | None]
    is_harmed: Mapped[bool] = mapped_column(server_default=text("false"))
    failed: Mapped[float] = mapped_column(server_default="0")
    seconds: Mapped[float | None]


class RolloutFeedback(Base):
    """What a user said of an answer, without its text, kept until its answer is known and for a while after.

    Of two bodies under one id of one key, the one with the smaller content hash stands.
    """

    __tablename__ = "feedback"
    __table_args__ = (Index("ix_feedback_interaction_id", "interaction_id"), SCHEMA)

    event_id: Mapped[UuidKey]
    key_id: Mapped[str] = mapped_column(primary_key=True)
    interaction_id: Mapped[UUID]
    content_hash: Mapped[str]
    event: Mapped[dict[str, Any]]
    heard_at: Mapped[CreatedAt]


class HeardThumb(Base):
    """What release 0.1.0 kept of a thumb; `feedback` has replaced it, and it goes in 0.3.0."""

    __tablename__ = "heard_thumbs"
    __table_args__ = (Index("ix_heard_thumbs_interaction_id", "interaction_id"), SCHEMA)

    event_id: Mapped[UuidKey]
    interaction_id: Mapped[UUID]
    up: Mapped[bool]
    heard_at: Mapped[CreatedAt]


class Vote(Base):
    """One vote per user and rollout. `sequence` is the order that the e-processes see; a changed vote has a new one."""

    __tablename__ = "votes"
    __table_args__ = (
        UniqueConstraint("rollout_id", "user"),
        ForeignKeyConstraint(["rollout_id"], ["deployer.rollouts.rollout_id"]),
        CheckConstraint("arm IN ('champion', 'canary')", name="arm"),
        SCHEMA,
    )

    sequence: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    rollout_id: Mapped[UUID]
    user: Mapped[str]
    arm: Mapped[str]
    up: Mapped[bool]
    stage: Mapped[int]
    event_id: Mapped[UUID]
    at: Mapped[datetime]


class RoutingGeneration(Base):
    """Every routing table there ever was; the highest generation of a family is in force."""

    __tablename__ = "routing"
    __table_args__ = SCHEMA

    family: Mapped[str] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    table: Mapped[dict[str, Any]]
    created_at: Mapped[CreatedAt]


class RoutingEpoch(Base):
    """The highest counts before any generation: a restored backup begins a new one, numbered by the second."""

    __tablename__ = "epochs"
    __table_args__ = SCHEMA

    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    began_at: Mapped[CreatedAt]
    reason: Mapped[str]


class AuditEntry(Base):
    """Who did what, each entry hashed over the one before it. A trigger refuses every change and removal."""

    __tablename__ = "audit"
    __table_args__ = SCHEMA

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]]
    previous_hash: Mapped[str]
    hash: Mapped[str]
    seal: Mapped[str | None]
    """HMAC of `hash` under the deployment's audit key, where one is set."""


class SealedAct(Base):
    """Which acts of other services and of the command line stand in the audit log, and where."""

    __tablename__ = "sealed_acts"
    __table_args__ = SCHEMA

    act_id: Mapped[UuidKey]
    sequence: Mapped[int] = mapped_column(BigInteger)


class Approval(Base):
    """An admin's consent to a rollout: new rows only. Under four eyes a rollout needs two, of different people."""

    __tablename__ = "approvals"
    __table_args__ = (ForeignKeyConstraint(["rollout_id"], ["deployer.rollouts.rollout_id"]), SCHEMA)

    rollout_id: Mapped[UUID] = mapped_column(primary_key=True)
    approver_id: Mapped[str] = mapped_column(primary_key=True)
    """Of the account or key; of the policy's approval, who signed it."""
    name: Mapped[str]
    approval_hash: Mapped[str]
    at: Mapped[datetime]


class ApprovalPolicyRow(Base):
    """Every approval policy there ever was: new rows only. The newest is in force, unless it says that none is."""

    __tablename__ = "approval_policies"
    __table_args__ = SCHEMA

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    policy: Mapped[dict[str, Any] | None]
    """None: from here on none is in force."""
    epoch: Mapped[int] = mapped_column(BigInteger)
    """A restored backup begins another one, under which it is not in force."""
    set_by: Mapped[str]
    set_by_id: Mapped[str]
    at: Mapped[datetime]
    reason: Mapped[str]
    audited_as: Mapped[int] = mapped_column(BigInteger)
    """Its entry in the audit log: a rollback that stands after it ends the policy."""
    signature: Mapped[dict[str, Any] | None]
    """By the key that signs for people, over all of the above but the reason."""


class Notice(Base):
    """A message to one webhook, with how its delivery goes. One for each decision that is needed, and target."""

    __tablename__ = "notices"
    __table_args__ = (
        UniqueConstraint("key", "target"),
        Index(
            "ix_notices_due",
            "next_attempt_at",
            postgresql_where=text("delivered_at IS NULL AND given_up_at IS NULL"),
        ),
        SCHEMA,
    )

    notice_id: Mapped[UuidKey]
    key: Mapped[str]
    """Names the decision."""
    target: Mapped[str]
    """Host and hash of the webhook's address, which is a secret."""
    kind: Mapped[str]
    rollout_id: Mapped[UUID]
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[datetime]
    last_result: Mapped[str | None]
    delivered_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]


class Alias(Base):
    """What one of the registry's aliases was last made to name."""

    __tablename__ = "aliases"
    __table_args__ = SCHEMA

    alias: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str]


class Registration(Base):
    """A copy of what the registry says of a version that users may meet, should it be deleted there."""

    __tablename__ = "registrations"
    __table_args__ = SCHEMA

    version: Mapped[str] = mapped_column(primary_key=True)
    tags: Mapped[dict[str, Any]]
    seen_at: Mapped[CreatedAt]


class Refused(RefusedRow):
    __tablename__ = "refused_records"
    __table_args__ = SCHEMA


class Outbox(OutboxRow):
    __tablename__ = "outbox"
    __table_args__ = SCHEMA
    refused = Refused
