"""Schema `curator`, continued: the votes that the drift monitor counts, and what its detectors made of them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import Base, UuidKey
from shared.tables.curator import KNOWN_USER, SCHEMA


class Vote(Base):
    """An attached thumb or rating, as far as the drift monitor looks at it; a trigger of `feedback` keeps it."""

    __tablename__ = "votes"
    __table_args__ = (
        ForeignKeyConstraint(["event_id"], ["curator.feedback.event_id"], ondelete="CASCADE", onupdate="CASCADE"),
        Index("ix_votes_model_version", "model_version", "received_at"),
        Index("ix_votes_user", "user", postgresql_where=KNOWN_USER),
        SCHEMA,
    )

    event_id: Mapped[UuidKey]
    user: Mapped[str | None]
    """Who gave it, else whom the answer was given to."""
    model_version: Mapped[str]
    served_at: Mapped[datetime]
    received_at: Mapped[datetime]
    value: Mapped[str]
    """`up`, `down`, or 1 to 5."""


class DetectorState(Base):
    """What a detector of the drift monitor has seen so far."""

    __tablename__ = "detectors"
    __table_args__ = SCHEMA

    name: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime]


class DriftWindow(Base):
    """What a detector saw in one window of a champion's reign, and what it made of it then."""

    __tablename__ = "drift_windows"
    __table_args__ = (Index("ix_drift_windows_closed_at", "closed_at"), SCHEMA)

    detector: Mapped[str] = mapped_column(primary_key=True)
    model_version: Mapped[str] = mapped_column(primary_key=True)
    began_at: Mapped[datetime] = mapped_column(primary_key=True)
    ended_at: Mapped[datetime]
    closed_at: Mapped[datetime]
    inputs: Mapped[dict[str, Any]]
    e_value: Mapped[float | None]
    evidence: Mapped[float | None]
    """In days, this window included."""
    threshold: Mapped[float]
    verdict: Mapped[str]
    summary: Mapped[str]
    explanation: Mapped[dict[str, Any] | None]
    """Topics with example prompts by hash, and a picture: no words, no users."""
