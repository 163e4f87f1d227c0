"""Schema `deployer`: what was compared in the shadows of candidates."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKeyConstraint, Identity, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import Base, UuidKey
from shared.tables.deployer import SCHEMA


class ShadowComparison(Base):
    """What champion and candidate made of one prompt, in numbers: no text, no user. `sequence`: as they were saved."""

    __tablename__ = "shadow_comparisons"
    __table_args__ = (
        ForeignKeyConstraint(["rollout_id"], ["deployer.rollouts.rollout_id"]),
        UniqueConstraint("rollout_id", "sequence"),
        SCHEMA,
    )

    comparison_id: Mapped[UuidKey]
    rollout_id: Mapped[UUID]
    sequence: Mapped[int] = mapped_column(BigInteger, Identity())
    at: Mapped[datetime]
    champion: Mapped[dict[str, Any]]
    candidate: Mapped[dict[str, Any]]
    user_group: Mapped[int] = mapped_column(server_default="0")
    """Which of a thousand groups of users asked, by a hash that differs from rollout to rollout."""
    preference: Mapped[float | None]
    """The judge's: 1 for the candidate, 0 for the champion; None where none was asked or none was said."""
