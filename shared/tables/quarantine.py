"""Schema `curator`, continued: what was set aside at the last snapshot, and what people decided about it."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import Base, CreatedAt

SCHEMA = {"schema": "curator"}


class QuarantineDecision(Base):
    """What a person said of something in quarantine, or of a contested pair. Of one subject the newest stands.

    Only ever appended to: it is the record of who decided what.
    """

    __tablename__ = "quarantine_decisions"
    __table_args__ = (
        CheckConstraint("decision IN ('release', 'reject')", name="decision"),
        Index("ix_quarantine_decisions_subject", "subject_kind", "subject_id"),
        SCHEMA,
    )

    decision_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    subject_kind: Mapped[str]
    """`user`, `event`, `pair` or `label`."""
    subject_id: Mapped[str]
    decision: Mapped[str]
    decided_by: Mapped[str]
    decided_at: Mapped[CreatedAt]
    reason: Mapped[str]


class Quarantined(Base):
    """What the newest snapshot set aside, and why; replaced as a whole by the next one."""

    __tablename__ = "quarantined"
    __table_args__ = SCHEMA

    subject_kind: Mapped[str] = mapped_column(primary_key=True)
    subject_id: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    """The rule that caught it: `burst`, `near_copies` and the like."""
    detail: Mapped[dict[str, Any]]
    """Figures and ids for the person who decides."""
    found_at: Mapped[datetime]
