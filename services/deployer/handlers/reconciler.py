"""Moves rollouts without an admin: at deadlines, when a model is loaded, and as the evidence says."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from services.deployer.domain.evidence import Evidence, extend_evidence
from services.deployer.domain.routing import list_voting_arms
from services.deployer.domain.stages import Decision, StageFacts, StageThresholds, assess_stage
from services.deployer.handlers.binding import ApprovalVoid, Binding
from services.deployer.handlers.change import OWN_ACTOR, Change, Rollouts, derive_status
from services.deployer.ports import ModelServing
from services.deployer.repository.lineage import find_erased_dataset
from services.deployer.repository.rollouts import list_open_rollouts, load_rollout, lock_rollouts
from services.deployer.repository.votes import count_canary_answers, count_stage_votes, count_votes, load_votes
from services.deployer.settings import DeployerSettings
from shared.db import SessionFactory
from shared.errors import NotFound
from shared.tables.deployer import Rollout

logger = structlog.get_logger(__name__)

GUARDRAILS = 1
"""Guardrails that share the rollback's alpha: thumbs."""
LARGEST_LOG = 690.0  # e^690 is about 1e299: JSON has no infinity


@dataclass(frozen=True)
class CachedEvidence:
    """Evidence of a rollout up to the vote with this sequence number."""

    sequence: int = 0
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True)
class Reconciler:
    """Takes every open rollout one step towards where its evidence and its deadlines lead, in turn."""

    sessions: SessionFactory
    rollouts: Rollouts
    binding: Binding
    serving: ModelServing
    clock: Callable[[], datetime]
    cache: dict[UUID, CachedEvidence] = field(default_factory=dict)
    """Evidence of each open rollout at the last reconciliation, so that the next one reads the new votes only."""

    def reconcile(self) -> int:
        """Return how many rollouts could not be taken further: an error in one never keeps the others waiting."""
        with self.sessions() as session:
            rollouts = list(list_open_rollouts(session))
        for known in self.cache.keys() - {rollout.rollout_id for rollout in rollouts}:
            del self.cache[known]
        return sum(not self._try_to_reconcile(rollout) for rollout in rollouts)

    def _try_to_reconcile(self, rollout: Rollout) -> bool:
        with structlog.contextvars.bound_contextvars(rollout_id=str(rollout.rollout_id)):
            try:
                self._reconcile_one(rollout)
                return True
            except Exception:
                logger.exception("rollout_not_reconciled", state=rollout.state, stage=rollout.stage)
                return False

    def _reconcile_one(self, rollout: Rollout) -> None:
        status = derive_status(rollout)
        if self._is_tainted(rollout):
            self._abort(rollout.rollout_id, "a user whose words it was trained on has been erased")
        elif status.state == "awaiting_approval" and self._waits_too_long(rollout):
            self._reject_unapproved(rollout.rollout_id)
        elif status.state == "canary" and status.stage is None:
            self._start(rollout.rollout_id)
        elif status.serves_canary:
            self._weigh(rollout.rollout_id)

    def _is_tainted(self, rollout: Rollout) -> bool:
        with self.sessions() as session:
            return find_erased_dataset(session, rollout.request_id) is not None

    def _abort(self, rollout_id: UUID, summary: str) -> None:
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if not derive_status(rollout).is_closed:
                self.rollouts.apply(session, rollout, Change("abort", OWN_ACTOR, summary, self.clock()))

    def _waits_too_long(self, rollout: Rollout) -> bool:
        seconds = self.rollouts.settings.approval_deadline_seconds
        return self.clock() - rollout.created_at > timedelta(seconds=seconds)

    def _reject_unapproved(self, rollout_id: UUID) -> None:
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if rollout.state == "awaiting_approval":
                days = self.rollouts.settings.approval_deadline_seconds / 86_400
                change = Change("reject", OWN_ACTOR, f"nobody approved it within {days:.1f} days", self.clock())
                self.rollouts.apply(session, rollout, change)

    def _start(self, rollout_id: UUID) -> None:
        """Load the model, if it is still what was approved, outside of any transaction; then the first stage."""
        try:
            with self.sessions() as session:
                rollout = self._load(session, rollout_id, for_update=False)
                table = self.rollouts.load_table(session)
                version = self.binding.check(session, rollout)
            route = self.serving.serve(version, table)
        except ApprovalVoid as error:
            self._abort(rollout_id, f"changed after it was approved: {error.detail}")
            return
        except Exception as error:
            logger.warning("canary_not_loaded", error=repr(error))
            self._retry_loading(rollout_id, type(error).__name__)
            return
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if rollout.state == "canary" and rollout.stage is None:
                change = Change("start", OWN_ACTOR, "the model is loaded; the first stage begins", self.clock())
                self.rollouts.apply(session, rollout, change, canary=route)

    def _retry_loading(self, rollout_id: UUID, reason: str) -> None:
        """Leave the rollout to the next reconciliation, or abort it past the deadline."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if rollout.state != "canary" or rollout.stage is not None:
                return
            since = rollout.approved_at or rollout.created_at
            if now - since > timedelta(seconds=self.rollouts.settings.loading_deadline_seconds):
                summary = f"its model could not be loaded: {reason}"
                self.rollouts.apply(session, rollout, Change("abort", OWN_ACTOR, summary, now))
            else:
                rollout.summary = f"loading the model failed ({reason}) and is tried again"

    def _weigh(self, rollout_id: UUID) -> None:
        """Weigh the votes, and act on them; a paused rollout may still be rolled back."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if not derive_status(rollout).serves_canary:
                return
            facts = self._load_facts(session, rollout, now)
            thresholds = derive_thresholds(self.rollouts.settings)
            decision = assess_stage(facts, thresholds)
            rollout.evidence = derive_evidence(facts, decision, thresholds)
            if decision.action == "hold" or (decision.action == "advance" and rollout.state == "paused"):
                return
            logger.info("rollout_decided", action=decision.action, summary=decision.summary)
            self.rollouts.apply(session, rollout, Change(decision.action, OWN_ACTOR, decision.summary, now))

    def _load(self, session: Session, rollout_id: UUID, *, for_update: bool = True) -> Rollout:
        if for_update:
            lock_rollouts(session)
        rollout = load_rollout(session, rollout_id, for_update=for_update)
        if rollout is None:
            raise NotFound(f"no rollout {rollout_id}")
        return rollout

    def _load_facts(self, session: Session, rollout: Rollout, now: datetime) -> StageFacts:
        settings = self.rollouts.settings
        stage, started = rollout.stage or 0, rollout.stage_started_at or now
        counts = count_stage_votes(session, rollout.rollout_id, stage)
        percent = rollout.stages[-1]["percent"]  # of the stage as it began: settings may have changed since
        arms = list_voting_arms(percent, settings.holdback_percent)
        served, failed = count_canary_answers(session, rollout, settings.breaker_window)
        return StageFacts(
            evidence=self._load_evidence(session, rollout.rollout_id),
            seconds=(now - started).total_seconds(),
            stage_votes={arm: counts[arm].votes if arm in counts else 0 for arm in arms},
            canary_served=served,
            canary_errors=failed,
        )

    def _load_evidence(self, session: Session, rollout_id: UUID) -> Evidence:
        """Extend what is known by the votes since; from the start when a vote of before has come in late."""
        known = self.cache.get(rollout_id, CachedEvidence())
        votes = load_votes(session, rollout_id, after=known.sequence)
        if known.evidence.votes + len(votes) != count_votes(session, rollout_id):
            known, votes = CachedEvidence(), load_votes(session, rollout_id, after=0)
        evidence = extend_evidence(known.evidence, (vote for _, vote in votes), delta=self.rollouts.settings.delta)
        self.cache[rollout_id] = CachedEvidence(votes[-1][0] if votes else known.sequence, evidence)
        return evidence


def derive_thresholds(settings: DeployerSettings) -> StageThresholds:
    return StageThresholds(
        alpha_rollback=settings.alpha / GUARDRAILS,
        alpha_advance=settings.alpha_advance,
        delta=settings.delta,
        minimum_seconds=settings.minimum_stage_seconds,
        minimum_votes=settings.minimum_stage_votes,
        breaker_errors=settings.breaker_errors,
        breaker_share=settings.breaker_share,
        breaker_window=settings.breaker_window,
    )


def derive_evidence(facts: StageFacts, decision: Decision, thresholds: StageThresholds) -> dict[str, Any]:
    """Return what the API shows of the evidence: e-values and where they act, counts, and what is missing."""
    evidence = facts.evidence
    return {
        "e_rollback": math.exp(min(evidence.log_rollback, LARGEST_LOG)),
        "e_advance": math.exp(min(evidence.log_advance, LARGEST_LOG)),
        "rolls_back_at": 1 / thresholds.alpha_rollback,
        "advances_at": 1 / thresholds.alpha_advance,
        "delta": thresholds.delta,
        "champion": asdict(evidence.champion),
        "canary": asdict(evidence.canary),
        "stage_votes": dict(facts.stage_votes),
        "canary_served": facts.canary_served,
        "canary_errors": facts.canary_errors,
        "missing_votes": decision.missing_votes,
        "summary": decision.summary,
    }
