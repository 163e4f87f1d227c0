"""What moves rollouts by itself: loading, evidence, deadlines, and the registry's aliases."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from services.deployer import repository
from services.deployer.domain.evidence import calculate_evidence
from services.deployer.domain.stages import Decision, StageFacts, assess_stage
from services.deployer.handlers.change import Change, Rollouts, derive_position
from shared.db import SessionFactory
from shared.errors import NotFound
from shared.events import Route
from shared.registry import ModelRegistry
from shared.tables.deployer import Rollout

logger = structlog.get_logger(__name__)

ACTOR = "deployer"


class Loader(Protocol):
    """Makes a model server load a model."""

    def load(self, route: Route) -> None: ...


@dataclass(frozen=True)
class Ticker:
    """Looks at every open rollout, in turn."""

    sessions: SessionFactory
    rollouts: Rollouts
    registry: ModelRegistry
    loader: Loader
    clock: Callable[[], datetime]

    def tick(self) -> None:
        with self.sessions() as session:
            rollouts = [
                (rollout.rollout_id, derive_position(rollout)) for rollout in repository.list_open_rollouts(session)
            ]
        for rollout_id, position in rollouts:
            with structlog.contextvars.bound_contextvars(rollout_id=str(rollout_id)):
                if position.state == "awaiting_approval":
                    self._check_approval_deadline(rollout_id)
                elif position.state == "canary" and position.stage is None:
                    self._start(rollout_id)
                elif position.serves_canary:
                    self._weigh(rollout_id)

    def delete_old_thumbs(self) -> None:
        before = self.clock() - timedelta(seconds=self.rollouts.settings.thumbs_kept_seconds)
        with self.sessions() as session, session.begin():
            repository.delete_old_thumbs(session, before)

    def _check_approval_deadline(self, rollout_id: UUID) -> None:
        now = self.clock()
        seconds = self.rollouts.settings.approval_deadline_seconds
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if rollout.state == "awaiting_approval" and now - rollout.created_at > timedelta(seconds=seconds):
                words = f"nobody approved it within {seconds / 86_400:.1f} days"
                self.rollouts.apply(session, rollout, Change("reject", ACTOR, words, now))

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
            self._check_loading_deadline(rollout_id, type(error).__name__)
            return
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if rollout.state == "canary" and rollout.stage is None:
                change = Change("start", ACTOR, "the model is loaded; the first stage begins", self.clock())
                self.rollouts.apply(session, rollout, change, canary=route)

    def _check_loading_deadline(self, rollout_id: UUID, reason: str) -> None:
        now = self.clock()
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            since = rollout.approved_at or rollout.created_at
            if now - since > timedelta(seconds=self.rollouts.settings.loading_deadline_seconds):
                words = f"its model could not be loaded: {reason}"
                self.rollouts.apply(session, rollout, Change("abort", ACTOR, words, now))

    def _weigh(self, rollout_id: UUID) -> None:
        """Weigh the votes, and act on them; a paused rollout may still be rolled back."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if not derive_position(rollout).serves_canary:
                return
            facts = self._load_facts(session, rollout, now)
            decision = assess_stage(facts, self.rollouts.settings.limits)
            rollout.evidence = derive_evidence(facts, decision)
            if decision.action == "hold" or (decision.action == "advance" and rollout.state == "paused"):
                return
            logger.info("rollout_decided", action=decision.action, words=decision.words)
            self.rollouts.apply(session, rollout, Change(decision.action, ACTOR, decision.words, now))

    def _load(self, session: Session, rollout_id: UUID, *, for_update: bool = True) -> Rollout:
        if for_update:
            repository.lock_rollouts(session)
        rollout = repository.load_rollout(session, rollout_id, for_update=for_update)
        if rollout is None:
            raise NotFound(f"no rollout {rollout_id}")
        return rollout

    def _load_facts(self, session: Session, rollout: Rollout, now: datetime) -> StageFacts:
        stage, started = rollout.stage or 0, rollout.stage_started_at or now
        served, failed = repository.count_canary_answers(session, rollout)
        return StageFacts(
            evidence=calculate_evidence(
                repository.load_votes(session, rollout.rollout_id), delta=self.rollouts.settings.delta
            ),
            seconds=(now - started).total_seconds(),
            stage_votes=repository.count_stage_votes(session, rollout.rollout_id, stage).get("canary", 0),
            canary_served=served,
            canary_errors=failed,
        )

    def project_aliases(self) -> None:
        """Make MLflow's aliases say what our tables say."""
        with self.sessions() as session:
            table = self.rollouts.find_table(session)
            open_rollouts = repository.list_open_rollouts(session)
        if table is None:
            return
        challenger = open_rollouts[0].candidate_version if open_rollouts else None
        wanted = {"champion": table.champion.version, "challenger": challenger}
        for alias, version in wanted.items():
            known = self.registry.load_alias(alias)
            if version is None and known is not None:
                self.registry.clear_alias(alias)
            elif version is not None and known != version:
                self.registry.set_alias(alias, version)


def derive_evidence(facts: StageFacts, decision: Decision) -> dict[str, Any]:
    """What the API shows of the weighing: e-values (capped at 1e300, JSON has no infinity), counts, words."""
    evidence = facts.evidence
    return {
        "e_rollback": math.exp(min(evidence.log_rollback, 690)),
        "e_advance": math.exp(min(evidence.log_advance, 690)),
        "champion": asdict(evidence.champion),
        "canary": asdict(evidence.canary),
        "stage_votes": facts.stage_votes,
        "canary_served": facts.canary_served,
        "canary_errors": facts.canary_errors,
        "missing_votes": decision.missing_votes,
        "words": decision.words,
    }
