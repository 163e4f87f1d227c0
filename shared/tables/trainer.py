"""Schema `trainer`: training runs. The row is the truth about a run; the queue only wakes a worker."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import ActRow, Base, CreatedAt, OutboxRow, RefusedRow, UuidKey

SCHEMA = {"schema": "trainer"}


class Run(Base):
    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"),
        UniqueConstraint("retrain_request_id", "recipe_name"),
        Index("ix_runs_state", "state"),
        SCHEMA,
    )

    run_id: Mapped[UuidKey]
    request_id: Mapped[UUID] = mapped_column("retrain_request_id")
    """A request has a run for each of its recipes."""
    recipe_name: Mapped[str] = mapped_column(server_default="")
    """As the request names it."""
    recipe_position: Mapped[int] = mapped_column(server_default="0")
    """Place in the request's list."""
    retired_request_id: Mapped[UUID | None] = mapped_column("request_id", unique=True)
    """What release 0.1.0 calls the request, one run each: of later recipes the run's own id; goes in 0.3.0."""
    requested_by: Mapped[str] = mapped_column(server_default="monitor")
    dataset_sha256: Mapped[str]
    dataset_uri: Mapped[str]
    parent_version: Mapped[str]
    recipe: Mapped[dict[str, Any]]
    recipe_sha256: Mapped[str]
    state: Mapped[str]
    fencing_token: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Grows with every claim; a worker that holds an older one may write nothing."""
    worker: Mapped[str | None]
    heartbeat_at: Mapped[datetime | None]
    enqueued_at: Mapped[datetime | None]
    remote: Mapped[dict[str, Any] | None]
    """Of a run that trains elsewhere: its launcher, its job there, and whether that may still run (`open`)."""
    progress: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    reason: Mapped[str | None]
    candidate_version: Mapped[str | None]
    weights_sha256: Mapped[str | None]
    content_sha256: Mapped[str | None]
    """Of the candidate's files, as its manifest lists them."""
    served_model: Mapped[str | None]
    """Where they are, as registered; the registry's tag may be written by others."""
    mlflow_run_id: Mapped[str | None]
    deadline_at: Mapped[datetime]
    created_at: Mapped[CreatedAt]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    announced_at: Mapped[datetime | None]


class Refused(RefusedRow):
    __tablename__ = "refused_records"
    __table_args__ = SCHEMA


class Act(ActRow):
    __tablename__ = "acts"
    __table_args__ = SCHEMA


class Outbox(OutboxRow):
    __tablename__ = "outbox"
    __table_args__ = SCHEMA
    refused = Refused
