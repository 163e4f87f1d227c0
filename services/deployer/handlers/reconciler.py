"""Moves rollouts without an admin: at deadlines, when a model is loaded, and as the evidence says."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from services.deployer.domain.stages import Decision
from services.deployer.handlers.approving import Approving
from services.deployer.handlers.binding import ApprovalVoid, Binding
from services.deployer.handlers.change import OWN_ACTOR, Change, Rollouts, derive_status
from services.deployer.handlers.limits import load_limits
from services.deployer.handlers.notifying import add_notice
from services.deployer.handlers.policy import Policies, list_no_alarms
from services.deployer.handlers.shadowing import Shadowing
from services.deployer.handlers.watching import Watching, find_watched
from services.deployer.handlers.weighing import Weighing, find_stage
from services.deployer.metrics import FROZEN
from services.deployer.ports import ListAlarms, ModelServing
from services.deployer.repository.lineage import find_erased_dataset
from services.deployer.repository.rollouts import list_open_rollouts, list_waiting, load_rollout, lock_rollouts
from services.deployer.repository.routing import load_epoch_start
from shared.db import SessionFactory
from shared.errors import NotFound
from shared.tables.deployer import Rollout

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Reconciler:
    """Takes every open rollout one step towards where its evidence and its deadlines lead, in turn."""

    sessions: SessionFactory
    rollouts: Rollouts
    binding: Binding
    serving: ModelServing
    clock: Callable[[], datetime]
    list_alarms: ListAlarms = list_no_alarms

    @property
    def policies(self) -> Policies:
        approving = Approving(self.sessions, self.rollouts, self.binding, self.clock)
        return Policies(approving, self.list_alarms)

    @property
    def shadowing(self) -> Shadowing:
        return Shadowing(self.sessions, self.rollouts)

    @cached_property
    def weighing(self) -> Weighing:
        return Weighing(self.rollouts.settings)

    @property
    def watching(self) -> Watching:
        registry = self.binding.registry
        return Watching(self.sessions, self.rollouts, registry, self.serving, self.weighing, self.clock)

    def reconcile(self) -> int:
        """Return how many rollouts could not be taken further: an error in one never keeps the others waiting."""
        with self.sessions() as session:
            rollouts = list(list_open_rollouts(session))
            if (promoted := find_watched(session, self.rollouts)) is not None:
                rollouts.append(promoted)
        self.weighing.forget({rollout.rollout_id for rollout in rollouts})
        now = self.clock()
        FROZEN.set(((self.rollouts.find_freeze_end(now) or now) - now).total_seconds())
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
        if status.state == "champion":
            self.watching.watch(rollout.rollout_id)
        elif self._is_tainted(rollout):
            self._abort(rollout.rollout_id, "what it was trained on was erased or taken back")
        elif status.is_approved and self._is_of_a_backup(rollout):
            self._abort(rollout.rollout_id, "a backup was restored: what became of it since is not known")
        elif status.state == "awaiting_approval":
            self._await_approval(rollout.rollout_id)
        elif status.state == "canary" and status.in_shadow:
            self._weigh_shadow(rollout.rollout_id)
        elif status.state == "canary" and status.stage is None:
            self._start(rollout.rollout_id)
        elif status.serves_canary:
            self._weigh(rollout.rollout_id)

    def _is_tainted(self, rollout: Rollout) -> bool:
        with self.sessions() as session:
            return find_erased_dataset(session, rollout.request_id) is not None

    def _is_of_a_backup(self, rollout: Rollout) -> bool:
        """Tell whether a backup was restored since its approval: its rollback may be among what is lost."""
        with self.sessions() as session:
            restored_at = load_epoch_start(session)
        return restored_at is not None and (rollout.approved_at or rollout.created_at) < restored_at

    def _abort(self, rollout_id: UUID, summary: str) -> None:
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if not derive_status(rollout).is_closed:
                self.rollouts.apply(session, rollout, Change("abort", OWN_ACTOR, summary, self.clock()))

    def _await_approval(self, rollout_id: UUID) -> None:
        """Close what need not be approved any more: for its age, another champion, or a newer candidate.

        Else the policy approves it, or a person is asked to.
        """
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if rollout.state != "awaiting_approval":
                return
            self._note_freeze(rollout)
            if (reason := self._find_staleness(session, rollout)) is not None:
                self.rollouts.apply(session, rollout, Change("reject", OWN_ACTOR, reason, self.clock()))
                return
        if not self.policies.consider(rollout_id) and self.rollouts.settings.webhooks:
            with self.sessions() as session, session.begin():
                add_notice(session, self.rollouts.settings, "approval_needed", rollout, self.clock())

    def _note_freeze(self, rollout: Rollout) -> bool:
        """Write down until when a rollout may not move forward; return whether it may not now."""
        until = self.rollouts.find_freeze_end(self.clock())
        noted = until.isoformat() if until else None
        if rollout.evidence.get("frozen_until") != noted:
            rollout.evidence = rollout.evidence | {"frozen_until": noted}
        return until is not None

    def _find_staleness(self, session: Session, rollout: Rollout) -> str | None:
        seconds = self.rollouts.settings.approval_deadline_seconds
        if self.clock() - rollout.created_at > timedelta(seconds=seconds):
            return f"nobody approved it within {seconds / 86_400:.1f} days"
        if (reason := self._find_other_champion(session, rollout)) is not None:
            return reason
        newest = list_waiting(session)[-1]
        if newest.rollout_id != rollout.rollout_id:
            return f"superseded by version {newest.candidate_version}, which passed its gates later"
        return None

    def _find_other_champion(self, session: Session, rollout: Rollout) -> str | None:
        champion = self.rollouts.load_table(session).champion.version
        if rollout.champion_version == champion:
            return None
        return f"judged against version {rollout.champion_version}, and {champion} is champion now"

    def _abort_if_outdated(self, session: Session, rollout: Rollout) -> bool:
        """End a rollout that was judged against a champion who is none any more; returns whether it was."""
        reason = self._find_other_champion(session, rollout)
        if reason is not None:
            self.rollouts.apply(session, rollout, Change("abort", OWN_ACTOR, reason, self.clock()))
        return reason is not None

    def _weigh_shadow(self, rollout_id: UUID) -> None:
        """Look at what the candidate answers in secret; once nothing speaks against it, its first users come."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if rollout.state != "canary" or not derive_status(rollout).in_shadow:
                return
            if self._abort_if_outdated(session, rollout):
                return
            decision = self.shadowing.weigh(session, rollout, now)
            held = [each for each in rollout.evidence["shadow"]["guardrails"] if each["action"] == "hold"]
            if any(each["is_breached"] for each in held):
                add_notice(session, self.rollouts.settings, "held", rollout, now, part="shadow")
            if decision.action == "abort":
                self._apply(session, rollout, decision, now)
        if decision.action == "advance":
            self._start(rollout_id)

    def _start(self, rollout_id: UUID) -> None:
        """Load the model, if it is still what was approved, outside of any transaction; then shadow or stage."""
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if rollout.state != "canary" or rollout.stage is not None:
                return
            if self._abort_if_outdated(session, rollout):
                return
            if self._note_freeze(rollout):
                rollout.evidence = rollout.evidence | {"waited_until": rollout.evidence["frozen_until"]}
                return
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
                self.rollouts.apply(session, rollout, self._choose_beginning(rollout), route=route)

    def _choose_beginning(self, rollout: Rollout) -> Change:
        """Return the change that follows once the model is loaded: a shadow where one is wanted, before any stage."""
        limits, status = load_limits(rollout, self.rollouts.settings), derive_status(rollout)
        if limits.shadow_percent > 0 and not status.in_shadow:
            return Change("shadow", OWN_ACTOR, "the model is loaded; its shadow begins", self.clock())
        return Change("start", OWN_ACTOR, "the model is loaded; the first stage begins", self.clock())

    def _retry_loading(self, rollout_id: UUID, reason: str) -> None:
        """Leave the rollout to the next reconciliation, or abort it past the deadline."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if rollout.state != "canary" or rollout.stage is not None:
                return
            waits = rollout.evidence.get("waited_until"), rollout.evidence.get("shadow", {}).get("passed_at")
            begun = [rollout.approved_at or rollout.created_at]
            since = max(begun + [datetime.fromisoformat(each) for each in waits if each])
            if now - since > timedelta(seconds=self.rollouts.settings.loading_deadline_seconds):
                summary = f"its model could not be loaded: {reason}"
                self.rollouts.apply(session, rollout, Change("abort", OWN_ACTOR, summary, now))
            else:
                rollout.summary = f"loading the model failed ({reason}) and is tried again"

    def _weigh(self, rollout_id: UUID) -> None:
        """Weigh what users did, and act on it; a paused rollout may still be rolled back."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            if not derive_status(rollout).serves_canary:
                return
            decision = self.weighing.weigh(session, rollout, now)
            self._ask_if_held(session, rollout, now)
            if self._note_freeze(rollout) and decision.action == "advance":
                return
            if decision.action == "hold" or (decision.action != "roll_back" and rollout.state == "paused"):
                return
            self._apply(session, rollout, decision, now)

    def _ask_if_held(self, session: Session, rollout: Rollout, now: datetime) -> None:
        """Tell people, once in a stage, that a guardrail holds it."""
        held = [each for each in rollout.evidence["guardrails"] if each["action"] == "hold" and each["is_breached"]]
        if held:
            part = str(find_stage(rollout))
            add_notice(session, self.rollouts.settings, "held", rollout, now, part=part)

    def _apply(self, session: Session, rollout: Rollout, decision: Decision, now: datetime) -> None:
        logger.info("rollout_decided", action=decision.action, summary=decision.summary)
        if decision.action != "hold":
            self.rollouts.apply(session, rollout, Change(decision.action, OWN_ACTOR, decision.summary, now))

    def _load(self, session: Session, rollout_id: UUID, *, for_update: bool = True) -> Rollout:
        if for_update:
            lock_rollouts(session)
        rollout = load_rollout(session, rollout_id, for_update=for_update)
        if rollout is None:
            raise NotFound(f"no rollout {rollout_id}")
        return rollout
