"""The time after a promotion: its holdback confirms the new champion, or brings the old one back."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from services.deployer.domain.stages import Decision
from services.deployer.handlers.change import OWN_ACTOR, Change, Rollouts
from services.deployer.handlers.earlier import find_taint, find_untainted_champion
from services.deployer.handlers.limits import load_limits
from services.deployer.handlers.notifying import add_notice
from services.deployer.handlers.weighing import Weighing
from services.deployer.ports import ModelServing
from services.deployer.repository.rollouts import load_rollout, lock_rollouts
from shared.db import SessionFactory
from shared.events import Route
from shared.registry import ModelRegistry
from shared.tables.deployer import Rollout

logger = structlog.get_logger(__name__)

STANDING = ("rollback_decided", "rollback_obstacle")
"""What the evidence holds while a rollback is decided and has not happened."""


def find_watched(session: Session, rollouts: Rollouts) -> Rollout | None:
    """Return the promoted rollout whose holdback still stands."""
    table = rollouts.find_table(session)
    if table is None or table.rollout_id is None or table.holdback is None:
        return None
    rollout = load_rollout(session, table.rollout_id)
    return rollout if rollout is not None and rollout.state == "champion" else None


def hold_to_rollback(rollout: Rollout, decision: Decision) -> Decision:
    """Return a look's decision, or the rollback that an earlier one decided and that has not happened yet.

    The breaker speaks at its own looks alone: what one of them found stands until the next.
    """
    if decision.action == "roll_back":
        rollout.evidence = rollout.evidence | {"rollback_decided": decision.summary}
    elif "rollback_decided" in rollout.evidence and not rollout.evidence["breaker"]["level"]:
        return Decision("roll_back", rollout.evidence["rollback_decided"])
    elif any(name in rollout.evidence for name in STANDING):
        rollout.evidence = {name: value for name, value in rollout.evidence.items() if name not in STANDING}
    return decision


@dataclass(frozen=True)
class Watching:
    """Weighs a promoted version against its holdback."""

    sessions: SessionFactory
    rollouts: Rollouts
    registry: ModelRegistry
    serving: ModelServing
    weighing: Weighing
    clock: Callable[[], datetime]

    def watch(self, rollout_id: UUID) -> None:
        """Bring the version of before back if the promoted one turns out to be worse."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            rollout = self._lock(session, rollout_id)
            if rollout is None:
                return
            decision = hold_to_rollback(rollout, self.weighing.weigh(session, rollout, now))
            if decision.action != "roll_back":
                self._confirm(session, rollout, now)
        if decision.action == "roll_back":
            self._bring_back(rollout_id, decision, now)

    def _lock(self, session: Session, rollout_id: UUID) -> Rollout | None:
        lock_rollouts(session)
        rollout = find_watched(session, self.rollouts)
        return rollout if rollout is not None and rollout.rollout_id == rollout_id else None

    def _confirm(self, session: Session, rollout: Rollout, now: datetime) -> None:
        """Write down, once, that the holdback has shown the promotion to be no mistake."""
        bound, limits = rollout.evidence["not_worse_by"], load_limits(rollout, self.rollouts.settings)
        if "confirmed" in rollout.evidence or bound is None or bound > limits.delta:
            return
        summary = f"its holdback confirms version {rollout.candidate_version}: not worse by {bound:.0%} or more"
        rollout.evidence = rollout.evidence | {"confirmed": {"at": now.isoformat(), "not_worse_by": bound}}
        self.rollouts.audit(session, now, OWN_ACTOR, "confirm", str(rollout.rollout_id), {"summary": summary})

    def _bring_back(self, rollout_id: UUID, decision: Decision, now: datetime) -> None:
        """Roll back, unless the version of before is tainted or answers nobody: then people have to choose."""
        route = self._find_served()
        with self.sessions() as session, session.begin():
            rollout = self._lock(session, rollout_id)
            if rollout is None:
                return
            if (obstacle := self._find_obstacle(session, rollout, route)) is not None:
                self._ask(session, rollout, f"{decision.summary}; {obstacle}", now)
                return
            logger.info("rollout_decided", action=decision.action, summary=decision.summary)
            change = Change("roll_back", OWN_ACTOR, decision.summary, now)
            self.rollouts.apply(session, rollout, change, route=route)

    def _find_served(self) -> Route | None:
        """Return the route by which the version of before answers now; None if it does not. Takes no lock.

        While the registry is away, it is the one by which the holdback's users are served.
        """
        with self.sessions() as session:
            table = self.rollouts.load_table(session)
        if table.holdback is None:
            return None
        try:
            version = self.registry.load_version(table.holdback.version)
        except Exception as error:
            logger.warning("registry_away", error=repr(error))
            return table.holdback
        try:
            return self.serving.serve(version, table)
        except Exception as error:
            logger.warning("earlier_champion_not_served", version=version.version, error=repr(error))
            return None

    def _find_obstacle(self, session: Session, rollout: Rollout, route: Route | None) -> str | None:
        """Say why the version of before must not come back by itself, and which one could; None if it may."""
        version = rollout.champion_version
        if (dataset := find_taint(session, version)) is not None:
            other = find_untainted_champion(session, version)
            then = f"version {other} is the newest that could" if other else "there is no earlier one that could"
            return f"version {version} cannot come back, since of its dataset {dataset} a part was erased; {then}"
        if route is None or route.version != version:
            return f"version {version} cannot come back, since its model server does not answer"
        return None

    def _ask(self, session: Session, rollout: Rollout, obstacle: str, now: datetime) -> None:
        """Tell people, once, that they have to choose; it is tried again at every look."""
        rollout.evidence = rollout.evidence | {"rollback_obstacle": obstacle, "summary": obstacle}
        add_notice(session, self.rollouts.settings, "rollback_needed", rollout, now)
