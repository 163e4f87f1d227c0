"""What was compared in shadows."""

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.deployer.domain.shadow import Comparison, MirroredAnswer
from shared.tables.shadow import ShadowComparison


def save_comparison(
    session: Session, comparison_id: UUID, rollout_id: UUID, comparison: Comparison, now: datetime
) -> bool:
    """Save a comparison; one that is known already changes nothing. Returns whether it was new."""
    values: dict[str, Any] = asdict(comparison)
    values["user_group"] = values.pop("group")
    new = insert(ShadowComparison).values(comparison_id=comparison_id, rollout_id=rollout_id, at=now, **values)
    saved = session.scalar(new.on_conflict_do_nothing().returning(ShadowComparison.comparison_id))
    return saved is not None


def load_comparisons(session: Session, rollout_id: UUID) -> list[Comparison]:
    """Return a rollout's comparisons in the order in which they were saved."""
    found = select(ShadowComparison).where(ShadowComparison.rollout_id == rollout_id)
    return [
        Comparison(MirroredAnswer(**row.champion), MirroredAnswer(**row.candidate), row.user_group, row.preference)
        for row in session.scalars(found.order_by(ShadowComparison.sequence))
    ]


def count_comparisons(session: Session, rollout_id: UUID, group: int) -> tuple[int, int]:
    """Return how many comparisons a rollout has, and how many of them are of one group of users."""
    of_group = func.count().filter(ShadowComparison.user_group == group)
    found = select(func.count(), of_group).where(ShadowComparison.rollout_id == rollout_id)
    row = session.execute(found).one()
    return row[0], row[1]


def find_last_comparison(session: Session, rollout_id: UUID) -> datetime | None:
    """Return when the newest comparison of a rollout was saved."""
    return session.scalar(select(func.max(ShadowComparison.at)).where(ShadowComparison.rollout_id == rollout_id))
