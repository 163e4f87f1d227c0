"""Who was exposed to a rollout in which stage, what came of it, and how many users there are."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Text, case, cast, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.deployer.domain.arms import ARMS, Arm
from services.deployer.domain.breaker import Breaker, Failures
from services.deployer.domain.outcomes import CLIENTS_FAULTS, UserOutcome
from shared.tables.curator import Feedback, Interaction
from shared.tables.deployer import Exposure, Rollout, ServedInteraction

FAILED = (
    ServedInteraction.error.is_not(None)
    | ServedInteraction.is_void
    | (ServedInteraction.served_version != ServedInteraction.intended_version)
)


def save_exposure(session: Session, rollout_id: UUID, stage: int, user: str, arm: Arm, began_at: datetime) -> None:
    """Save a user's first answer in a stage; later ones change nothing."""
    new = insert(Exposure).values(rollout_id=rollout_id, stage=stage, user=user, arm=arm, began_at=began_at)
    session.execute(new.on_conflict_do_nothing())


def list_due(session: Session, rollout_id: UUID, stage: int, before: datetime, limit: int) -> Sequence[Exposure]:
    """Return exposures of a stage that began before then and have no outcome yet, oldest first."""
    return session.scalars(
        select(Exposure)
        .where(
            Exposure.rollout_id == rollout_id,
            Exposure.stage == stage,
            Exposure.sequence.is_(None),
            Exposure.began_at <= before,
        )
        .order_by(Exposure.began_at, Exposure.user)
        .limit(limit)
    ).all()


def load_last_sequence(session: Session, rollout_id: UUID, stage: int) -> int:
    """Return the number of the newest outcome of a stage; 0 for none."""
    where = (Exposure.rollout_id == rollout_id, Exposure.stage == stage)
    return session.scalar(select(func.max(Exposure.sequence)).where(*where)) or 0


def save_outcome(exposure: Exposure, sequence: int, outcome: UserOutcome) -> None:
    exposure.sequence = sequence
    exposure.value, exposure.is_harmed = outcome.value, outcome.is_harmed
    exposure.failed, exposure.seconds = outcome.failed, outcome.seconds


def load_outcomes(session: Session, rollout_id: UUID, stage: int, *, after: int) -> list[UserOutcome]:
    """Return a stage's outcomes with a number above `after`, in order."""
    rows = session.execute(
        select(Exposure.arm, Exposure.value, Exposure.is_harmed, Exposure.failed, Exposure.seconds)
        .where(Exposure.rollout_id == rollout_id, Exposure.stage == stage, Exposure.sequence > after)
        .order_by(Exposure.sequence)
    )
    return [UserOutcome(*row) for row in rows]  # type: ignore[arg-type]  # the table's check


def count_exposed(session: Session, rollout_id: UUID, stage: int) -> dict[Arm, int]:
    """Count the users of a stage by arm."""
    rows = session.execute(
        select(Exposure.arm, func.count())
        .where(Exposure.rollout_id == rollout_id, Exposure.stage == stage)
        .group_by(Exposure.arm)
    )
    found = {arm: users for arm, users in rows}  # noqa: C416 - a Row is not a pair to mypy
    return {arm: found.get(arm, 0) for arm in ARMS}


def measure_breaker(
    session: Session, rollout: Rollout, window: int, *, since: datetime, after: datetime
) -> tuple[Breaker, datetime]:
    """Look at the latest `window` answers meant for the canary since `since`, and at both arms' users in their time.

    Returns (what was seen, with the answers later than `after`; when the latest was asked for).
    """
    latest = (
        select(FAILED.label("failed"), ServedInteraction.served_at)
        .where(
            ServedInteraction.rollout_id == rollout.rollout_id,
            ServedInteraction.intended_version == rollout.candidate_version,
            ServedInteraction.served_at >= since,
            func.coalesce(ServedInteraction.error, "").not_in(CLIENTS_FAULTS),
        )
        .order_by(ServedInteraction.served_at.desc())
        .limit(window)
        .subquery()
    )
    at = latest.c.served_at
    counts = func.count(), func.count().filter(latest.c.failed), func.count().filter(at > after)
    seen = select(*counts, func.min(at), func.max(at)).select_from(latest)
    served, errors, fresh, first, last = session.execute(seen).one()
    if not (errors or fresh):
        return Breaker(served), last or after
    failures = {row.arm: Failures(row.users, row.failed) for row in _count_failing_users(session, rollout, first)}
    nobody = Failures()
    canary, champion = failures.get("canary", nobody), failures.get("champion", nobody)
    return Breaker(served, errors, canary, champion, fresh), last


def _count_failing_users(session: Session, rollout: Rollout, since: datetime) -> Sequence[Row[Any]]:
    """Count users, and those whom an answer failed, by arm; each anonymous answer is a user's of its own."""
    arm = case((ServedInteraction.intended_version == rollout.candidate_version, "canary"), else_="champion")
    user = func.coalesce(ServedInteraction.user, cast(ServedInteraction.interaction_id, Text))
    users = (
        select(arm.label("arm"), func.bool_or(FAILED).label("failed"))
        .where(
            ServedInteraction.rollout_id == rollout.rollout_id,
            ServedInteraction.served_at >= since,
            func.coalesce(ServedInteraction.error, "").not_in(CLIENTS_FAULTS),
        )
        .group_by(arm, user)
        .subquery()
    )
    counted = select(
        users.c.arm, func.count().label("users"), func.count().filter(users.c.failed).label("failed")
    ).group_by(users.c.arm)
    return session.execute(counted).all()


def measure_day(session: Session, now: datetime) -> tuple[int, int]:
    """Count the users served in the last day, and those of them who said anything of it."""
    said = exists().where(Feedback.interaction_id == Interaction.interaction_id)
    users, speaking = session.execute(
        select(
            func.count(Interaction.user.distinct()),
            func.count(Interaction.user.distinct()).filter(said),
        ).where(Interaction.served_at > now - timedelta(days=1), Interaction.user.is_not(None))
    ).one()
    return users, speaking
