"""Rollouts as they stand."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.tables.deployer import Approval, ApprovalPolicyRow, Exposure, Rollout


def list_rollouts(session: Session, limit: int, before: tuple[Any, str] | None) -> list[Rollout]:
    """Return the newest first."""
    rows = select(Rollout).order_by(Rollout.created_at.desc(), Rollout.rollout_id.desc()).limit(limit)
    if before is not None:
        rows = rows.where(Rollout.created_at < before[0])
    return list(session.scalars(rows))


def load_rollout(session: Session, rollout_id: UUID) -> Rollout | None:
    return session.get(Rollout, rollout_id)


def list_approvals(session: Session, rollout_id: UUID) -> list[Approval]:
    return list(session.scalars(select(Approval).where(Approval.rollout_id == rollout_id).order_by(Approval.at)))


def count_outcomes(session: Session, rollout_id: UUID, stage: int) -> int:
    """Return how many users' outcomes a stage has: the number of the last one."""
    last = select(func.max(Exposure.sequence)).where(Exposure.rollout_id == rollout_id, Exposure.stage == stage)
    return int(session.scalar(last) or 0)


def load_policy(session: Session) -> ApprovalPolicyRow | None:
    """Return the newest approval policy, in force or not."""
    return session.scalar(select(ApprovalPolicyRow).order_by(ApprovalPolicyRow.version.desc()).limit(1))
