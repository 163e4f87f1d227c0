"""Rollouts, and the locks that let one change of them happen at a time."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db import lock_all
from shared.rollouts import FINAL_STATES
from shared.tables.curator import RetrainRequestRow
from shared.tables.deployer import Rollout


def lock_rollouts(session: Session) -> None:
    """Make changes of rollouts and routing happen one at a time."""
    lock_all(session, ["deployer:rollouts"])


def lock_adoption(session: Session) -> None:
    """Make adoptions happen one at a time: two would register the same weights twice."""
    lock_all(session, ["deployer:adoption"])


def load_rollout(session: Session, rollout_id: UUID, *, for_update: bool = False) -> Rollout | None:
    """Load a rollout; `for_update` locks it against other changes, but not against votes that point to it."""
    return session.get(Rollout, rollout_id, with_for_update={"key_share": True} if for_update else None)


def load_rollout_of_request(session: Session, request_id: UUID) -> Rollout | None:
    return session.scalars(select(Rollout).where(Rollout.request_id == request_id)).first()


def list_rollouts(session: Session, limit: int) -> Sequence[Rollout]:
    """Return up to `limit` rollouts, newest first."""
    return session.scalars(select(Rollout).order_by(Rollout.created_at.desc()).limit(limit)).all()


def list_open_rollouts(session: Session) -> Sequence[Rollout]:
    """Return the rollouts that are not over, oldest first."""
    return session.scalars(select(Rollout).where(Rollout.state.not_in(FINAL_STATES)).order_by(Rollout.created_at)).all()


def list_waiting(session: Session) -> Sequence[Rollout]:
    """Return the rollouts that wait for an approval, oldest first."""
    waiting = select(Rollout).where(Rollout.state == "awaiting_approval")
    return session.scalars(waiting.order_by(Rollout.created_at, Rollout.rollout_id)).all()


def load_latest_approved(session: Session) -> Rollout | None:
    """Return the rollout that last had the canary, or has it."""
    return session.scalars(
        select(Rollout).where(Rollout.approved_at.is_not(None)).order_by(Rollout.approved_at.desc()).limit(1)
    ).first()


def list_unacknowledged_ends(session: Session, before: datetime) -> Sequence[Rollout]:
    """Return rollouts that ended before then and whose retrain request the curator still holds open."""
    return session.scalars(
        select(Rollout)
        .join(RetrainRequestRow, RetrainRequestRow.request_id == Rollout.request_id)
        .where(Rollout.closed_at < before, RetrainRequestRow.state == "open")
    ).all()


def load_latest_promotion(session: Session, version: str) -> Rollout | None:
    """Return the rollout that made `version` champion."""
    return session.scalars(
        select(Rollout)
        .where(Rollout.state == "champion", Rollout.candidate_version == version)
        .order_by(Rollout.closed_at.desc())
        .limit(1)
    ).first()


def load_rollout_of_candidate(session: Session, version: str) -> Rollout | None:
    """Return the newest rollout of a version."""
    found = select(Rollout).where(Rollout.candidate_version == version).order_by(Rollout.created_at.desc())
    return session.scalars(found.limit(1)).first()


def load_newest_promotion(session: Session) -> Rollout | None:
    """Return the rollout whose candidate became champion last."""
    promoted = select(Rollout).where(Rollout.state == "champion").order_by(Rollout.closed_at.desc())
    return session.scalars(promoted.limit(1)).first()
