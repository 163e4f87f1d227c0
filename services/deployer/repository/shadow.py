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
) -> None:
    """Save a comparison; one that is known already changes nothing."""
    values: dict[str, Any] = asdict(comparison)
    new = insert(ShadowComparison).values(comparison_id=comparison_id, rollout_id=rollout_id, at=now, **values)
    session.execute(new.on_conflict_do_nothing())


def load_comparisons(session: Session, rollout_id: UUID) -> list[Comparison]:
    """Return a rollout's comparisons in the order in which they were saved."""
    found = select(ShadowComparison).where(ShadowComparison.rollout_id == rollout_id)
    return [
        Comparison(MirroredAnswer(**row.champion), MirroredAnswer(**row.candidate), row.preference)
        for row in session.scalars(found.order_by(ShadowComparison.sequence))
    ]


def count_comparisons(session: Session, rollout_id: UUID) -> int:
    found = select(func.count()).select_from(ShadowComparison).where(ShadowComparison.rollout_id == rollout_id)
    return session.scalar(found) or 0


def find_last_comparison(session: Session, rollout_id: UUID) -> datetime | None:
    """Return when the newest comparison of a rollout was saved."""
    return session.scalar(select(func.max(ShadowComparison.at)).where(ShadowComparison.rollout_id == rollout_id))
