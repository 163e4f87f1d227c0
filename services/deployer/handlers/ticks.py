"""What moves rollouts by itself: deadlines, loading, and the weighing of evidence."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from services.deployer import repository
from services.deployer.domain.evidence import Evidence, extend_evidence
from services.deployer.domain.routing import list_voting_arms
from services.deployer.domain.stages import Decision, Limits, StageFacts, assess_stage
from services.deployer.handlers.change import Change, Rollouts, derive_position
from shared.db import SessionFactory
from shared.errors import NotFound
from shared.events import Route
from shared.registry import ModelRegistry
from shared.tables.deployer import Rollout

logger = structlog.get_logger(__name__)

ACTOR = "deployer"
LARGEST_LOG = 690.0  # e^690 is about 1e299: JSON has no infinity


class Loader(Protocol):
    """Makes a model server load a model."""

    def load(self, route: Route) -> None: ...


@dataclass(frozen=True)
class Weighed:
    """Evidence of a rollout up to the vote with this sequence number."""

    sequence: int = 0
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True)
class Ticker:
    """Looks at every open rollout, in turn."""

    sessions: SessionFactory
    rollouts: Rollouts
    registry: ModelRegistry
    loader: Loader
    clock: Callable[[], datetime]
    weighed: dict[UUID, Weighed] = field(default_factory=dict)
    """What earlier ticks have made of each open rollout's votes, so that a tick only reads the new ones."""

    def tick(self) -> None:
        with self.sessions() as session:
            rollouts = list(repository.list_open_rollouts(session))
        for known in self.weighed.keys() - {rollout.rollout_id for rollout in rollouts}:
            del self.weighed[known]
        for rollout in rollouts:
            position = derive_position(rollout)
            with structlog.contextvars.bound_contextvars(rollout_id=str(rollout.rollout_id)):
                if self._is_tainted(rollout):
                    self._abort_tainted(rollout.rollout_id)
                elif position.state == "awaiting_approval" and self._waits_too_long(rollout):
                    self._reject_unapproved(rollout.rollout_id)
                elif position.state == "canary" and position.stage is None:
                    self._start(rollout.rollout_id)
                elif position.serves_canary:
                    self._weigh(rollout.rollout_id)

    def _is_tainted(self, rollout: Rollout) -> bool:
        with self.sessions() as session:
            return repository.find_erased_dataset(session, rollout.request_id) is not None

    def _abort_tainted(self, rollout_id: UUID) -> None:
        summary = "a user whose words it was trained on has been erased"
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if not derive_position(rollout).is_closed:
                self.rollouts.apply(session, rollout, Change("abort", ACTOR, summary, self.clock()))

    def _waits_too_long(self, rollout: Rollout) -> bool:
        seconds = self.rollouts.settings.approval_deadline_seconds
        return self.clock() - rollout.created_at > timedelta(seconds=seconds)

    def _reject_unapproved(self, rollout_id: UUID) -> None:
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if rollout.state == "awaiting_approval":
                days = self.rollouts.settings.approval_deadline_seconds / 86_400
                change = Change("reject", ACTOR, f"nobody approved it within {days:.1f} days", self.clock())
                self.rollouts.apply(session, rollout, change)

    def _start(self, rollout_id: UUID) -> None:
        """Load the model, outside of any transaction; then the first stage."""
        with self.sessions() as session:
            rollout = self._load(session, rollout_id, for_update=False)
            table = self.rollouts.load_table(session)
        try:
            model = self.registry.load_version(rollout.candidate_version).served_model
            route = self.rollouts.choose_route(table, rollout, model)
            self.loader.load(route)
        except Exception as error:
            logger.warning("canary_not_loaded", error=repr(error))
            self._retry_loading(rollout_id, type(error).__name__)
            return
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if rollout.state == "canary" and rollout.stage is None:
                change = Change("start", ACTOR, "the model is loaded; the first stage begins", self.clock())
                self.rollouts.apply(session, rollout, change, canary=route)

    def _retry_loading(self, rollout_id: UUID, reason: str) -> None:
        """The next tick tries again, until the deadline."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if rollout.state != "canary" or rollout.stage is not None:
                return
            since = rollout.approved_at or rollout.created_at
            if now - since > timedelta(seconds=self.rollouts.settings.loading_deadline_seconds):
                summary = f"its model could not be loaded: {reason}"
                self.rollouts.apply(session, rollout, Change("abort", ACTOR, summary, now))
            else:
                rollout.summary = f"loading the model failed ({reason}) and is tried again"

    def _weigh(self, rollout_id: UUID) -> None:
        """Weigh the votes, and act on them; a paused rollout may still be rolled back."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if not derive_position(rollout).serves_canary:
                return
            facts = self._load_facts(session, rollout, now)
            decision = assess_stage(facts, self.rollouts.settings.limits)
            rollout.evidence = derive_evidence(facts, decision, self.rollouts.settings.limits)
            if decision.action == "hold" or (decision.action == "advance" and rollout.state == "paused"):
                return
            logger.info("rollout_decided", action=decision.action, summary=decision.summary)
            self.rollouts.apply(session, rollout, Change(decision.action, ACTOR, decision.summary, now))

    def _load(self, session: Session, rollout_id: UUID, *, for_update: bool = True) -> Rollout:
        if for_update:
            repository.lock_rollouts(session)
        rollout = repository.load_rollout(session, rollout_id, for_update=for_update)
        if rollout is None:
            raise NotFound(f"no rollout {rollout_id}")
        return rollout

    def _load_facts(self, session: Session, rollout: Rollout, now: datetime) -> StageFacts:
        settings = self.rollouts.settings
        stage, started = rollout.stage or 0, rollout.stage_started_at or now
        counts = repository.count_stage_votes(session, rollout.rollout_id, stage)
        arms = list_voting_arms(settings.stages[stage], settings.holdback_percent)
        served, failed = repository.count_canary_answers(session, rollout, settings.breaker_window)
        return StageFacts(
            evidence=self._load_evidence(session, rollout.rollout_id),
            seconds=(now - started).total_seconds(),
            stage_votes={arm: counts[arm].votes if arm in counts else 0 for arm in arms},
            canary_served=served,
            canary_errors=failed,
        )

    def _load_evidence(self, session: Session, rollout_id: UUID) -> Evidence:
        """Extend what is known by the votes since; from the start when a vote of before has come in late."""
        known = self.weighed.get(rollout_id, Weighed())
        votes = repository.load_votes(session, rollout_id, after=known.sequence)
        if known.evidence.votes + len(votes) != repository.count_votes(session, rollout_id):
            known, votes = Weighed(), repository.load_votes(session, rollout_id, after=0)
        evidence = extend_evidence(known.evidence, (vote for _, vote in votes), delta=self.rollouts.settings.delta)
        self.weighed[rollout_id] = Weighed(votes[-1][0] if votes else known.sequence, evidence)
        return evidence


def derive_evidence(facts: StageFacts, decision: Decision, limits: Limits) -> dict[str, Any]:
    """What the API shows of the weighing: e-values and where they act, counts, and what is missing in words."""
    evidence = facts.evidence
    return {
        "e_rollback": math.exp(min(evidence.log_rollback, LARGEST_LOG)),
        "e_advance": math.exp(min(evidence.log_advance, LARGEST_LOG)),
        "rolls_back_at": 1 / limits.alpha_rollback,
        "advances_at": 1 / limits.alpha_advance,
        "delta": limits.delta,
        "champion": asdict(evidence.champion),
        "canary": asdict(evidence.canary),
        "stage_votes": dict(facts.stage_votes),
        "canary_served": facts.canary_served,
        "canary_errors": facts.canary_errors,
        "missing_votes": decision.missing_votes,
        "summary": decision.summary,
    }
