"""Schema `curator`, continued: who was erased, what must never come back, and what each dataset was made of."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Index, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import ActRow, Base, CreatedAt, UuidKey

SCHEMA = {"schema": "curator"}


class Removal:
    """Columns of a ledger of what is deleted for ever: who asked, how far it is, what was deleted."""

    state: Mapped[str]
    requested_by: Mapped[str]
    requested_at: Mapped[CreatedAt]
    completed_at: Mapped[datetime | None]
    certificate: Mapped[dict[str, Any] | None]
    """Set when done: ids and counts of what was deleted, which datasets were replaced, which models trained on it."""


class Erasure(Removal, Base):
    """The erasure ledger: one row for each erased user, for ever. Everything that stores evidence looks here first."""

    __tablename__ = "erasures"
    __table_args__ = (CheckConstraint("state IN ('running', 'done')", name="state"), SCHEMA)

    erasure_id: Mapped[UuidKey]
    user: Mapped[str] = mapped_column(unique=True)
    """The keyed hash, as on every event."""


class ImportWithdrawal(Removal, Base):
    """An import that was taken back, for ever: what bears its name is dropped wherever it comes from."""

    __tablename__ = "import_withdrawals"
    __table_args__ = (CheckConstraint("state IN ('running', 'done')", name="state"), SCHEMA)

    withdrawal_id: Mapped[UuidKey]
    name: Mapped[str] = mapped_column(unique=True)


class Tombstone(Base):
    """An id that was erased: of an `event`, `interaction`, `pair` or `label`. What bears it is never stored again.

    `erasure_id` is that of the erasure, or of the import's withdrawal.
    """

    __tablename__ = "tombstones"
    __table_args__ = (Index("ix_tombstones_erasure_id", "erasure_id"), SCHEMA)

    subject: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    erasure_id: Mapped[UUID]


class FrozenItem(Base):
    """What a pair or label of some dataset rested on when it was frozen: it outlives the pair itself."""

    __tablename__ = "frozen_items"
    __table_args__ = (
        Index("ix_frozen_items_evidence", "evidence", postgresql_using="gin"),
        Index("ix_frozen_items_interactions", "interactions", postgresql_using="gin"),
        SCHEMA,
    )

    item_id: Mapped[str] = mapped_column(primary_key=True)
    prompt_hash: Mapped[str]
    evidence: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    interactions: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))


class DatasetItem(Base):
    """Which pairs and labels a dataset holds."""

    __tablename__ = "dataset_items"
    __table_args__ = (Index("ix_dataset_items_item_id", "item_id"), SCHEMA)

    dataset_sha256: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)


class Act(ActRow):
    """What people did through the curator; the deployer seals it in the audit log."""

    __tablename__ = "acts"
    __table_args__ = SCHEMA
