"""The shadow of a candidate: what it answered beside the champion decides whether it gets its first users."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.deployer.domain.shadow import Comparison, ShadowReading, assess_shadow, count_users, read_shadow
from services.deployer.domain.stages import Decision
from services.deployer.handlers.change import Rollouts, derive_status
from services.deployer.handlers.limits import load_limits
from services.deployer.repository.rollouts import load_rollout, lock_rollouts
from services.deployer.repository.shadow import (
    count_comparisons,
    find_last_comparison,
    load_comparisons,
    save_comparison,
)
from shared.db import SessionFactory
from shared.tables.deployer import Rollout

HEARD_SECONDS = 60.0
"""How exactly it is known when a comparison that counts for nothing came."""
MOST_COMPARISONS = 10_000
"""Of one rollout: a shadow that is held goes on, and must not grow without end."""


@dataclass(frozen=True)
class Shadowing:
    sessions: SessionFactory
    rollouts: Rollouts

    def record(self, comparison_id: UUID, rollout_id: UUID, comparison: Comparison, now: datetime) -> bool:
        """Save what a gateway compared; returns whether more of that group of users would count. Safe to repeat.

        Of one group of users no more is kept than counts, so that nobody fills the room of the others.
        One at a time, so that comparisons are numbered in the order in which looks see them.
        """
        with self.sessions() as session, session.begin():
            lock_rollouts(session)
            if (rollout := _find_in_shadow(session, rollout_id)) is None:
                return False
            kept, of_group = count_comparisons(session, rollout_id, comparison.group)
            most = load_limits(rollout, self.rollouts.settings).shadow_prompts_of_one
            if kept >= MOST_COMPARISONS or of_group >= most:
                _note_heard(rollout, now)
                return False
            return of_group + save_comparison(session, comparison_id, rollout_id, comparison, now) < most

    def hear(self, rollout_id: UUID, now: datetime) -> bool:
        """Note that a comparison came that counts for nothing; returns whether the rollout is in its shadow still."""
        with self.sessions() as session, session.begin():
            lock_rollouts(session)
            rollout = _find_in_shadow(session, rollout_id)
            if rollout is not None:
                _note_heard(rollout, now)
            return rollout is not None

    def weigh(self, session: Session, rollout: Rollout, now: datetime) -> Decision:
        """Return what the comparisons say, and write it into the rollout."""
        limits = load_limits(rollout, self.rollouts.settings)
        started = rollout.shadow_started_at or now
        comparisons = load_comparisons(session, rollout.rollout_id)
        readings = read_shadow(comparisons, limits)
        decision = assess_shadow(readings, comparisons, now - started, limits)
        saved = find_last_comparison(session, rollout.rollout_id) or started
        heard = rollout.evidence.get("shadow_heard_at")
        last = max(saved, datetime.fromisoformat(heard)) if heard else saved
        shadow: dict[str, Any] = {
            "prompts": len(comparisons),
            "users": count_users(comparisons),
            "missing_prompts": decision.missing_users,
            "guardrails": [_describe(reading) for reading in readings],
            "last_at": last.isoformat(),
            "deadline_at": (started + timedelta(seconds=limits.deadline_seconds)).isoformat(),
            "passed_at": rollout.evidence.get("shadow", {}).get("passed_at"),
        }
        if decision.action == "advance":
            shadow["passed_at"] = shadow["passed_at"] or now.isoformat()
        rollout.evidence = rollout.evidence | {"shadow": shadow, "summary": decision.summary}
        return decision


def _find_in_shadow(session: Session, rollout_id: UUID) -> Rollout | None:
    rollout = load_rollout(session, rollout_id)
    return rollout if rollout is not None and derive_status(rollout).in_shadow else None


def _note_heard(rollout: Rollout, now: datetime) -> None:
    heard = rollout.evidence.get("shadow_heard_at")
    if heard is None or (now - datetime.fromisoformat(heard)).total_seconds() >= HEARD_SECONDS:
        rollout.evidence = rollout.evidence | {"shadow_heard_at": now.isoformat()}


def _describe(reading: ShadowReading) -> dict[str, Any]:
    return asdict(reading) | {"is_breached": reading.is_breached}
