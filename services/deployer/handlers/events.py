"""What the deployer does with events: an evaluation opens a rollout; answers and thumbs become votes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.orm import Session

from services.deployer.domain.approval import calculate_approval_hash
from services.deployer.handlers.change import Change, Rollouts
from services.deployer.repository.audit import append_audit
from services.deployer.repository.lineage import load_run_hashes
from services.deployer.repository.rollouts import load_rollout, load_rollout_of_request, lock_rollouts
from services.deployer.repository.votes import (
    load_first_thumb,
    load_interaction,
    save_interaction,
    save_thumb,
    save_vote,
)
from shared.db import lock_all
from shared.events import AnyEvent, EvaluationCompleted, FeedbackReceived, InteractionRecorded, Thumb
from shared.ids import new_id
from shared.tables.deployer import Rollout

logger = structlog.get_logger(__name__)

ACTOR = "deployer"
TOPICS = (EvaluationCompleted.topic, InteractionRecorded.topic, FeedbackReceived.topic)


@dataclass(frozen=True)
class EventHandler:
    """The handler of the deployer's consumer loop."""

    rollouts: Rollouts
    clock: Callable[[], datetime]

    def prepare(self, session: Session, events: list[AnyEvent]) -> None:
        """Lock answers: one and its thumb may come to two consumers at once, of whom the second makes the vote."""
        lock_all(session, (f"vote:{interaction_id}" for event in events if (interaction_id := _find_answer(event))))
        if any(isinstance(event, EvaluationCompleted) for event in events):
            lock_rollouts(session)

    def handle(self, session: Session, event: AnyEvent) -> None:
        match event:
            case EvaluationCompleted():
                self._open_rollout(session, event)
            case InteractionRecorded(rollout_id=UUID()):
                self._save_interaction(session, event)
            case FeedbackReceived(feedback=Thumb(value=value)):
                save_thumb(session, event.event_id, event.interaction_id, up=value == "up")
                self._count_vote(session, event.interaction_id)

    def finish(self, session: Session, events: list[AnyEvent]) -> None:
        """Do nothing: each event was handled by itself."""

    def _open_rollout(self, session: Session, event: EvaluationCompleted) -> None:
        """Open a rollout, which awaits approval, or is rejected with its reasons if the evaluation did not pass."""
        if load_rollout_of_request(session, event.request_id) is not None:
            return
        now = self.clock()
        table = self.rollouts.load_table(session)
        hashes = load_run_hashes(session, event.run_id)
        rollout = Rollout(
            rollout_id=new_id(),
            request_id=event.request_id,
            evaluation=msgspec.to_builtins(event),
            candidate_version=event.candidate_version,
            champion_version=event.champion_version,
            state="awaiting_approval",
            stages=[],
            evidence={},
            approval_hash=calculate_approval_hash(**hashes, report=event.report_sha256),
            summary="passed its gates; waits for an admin",
            created_at=now,
        )
        session.add(rollout)
        session.flush()
        self._record_opening(session, rollout, event, now)
        if event.verdict == "pass":
            self.rollouts.announce(session, table, now, rollout)
            return
        summary = "; ".join(f"{gate.name}: {gate.summary}" for gate in event.gates if gate.verdict != "pass")
        change = Change("reject", ACTOR, f"gates {event.verdict}: {summary}", now)
        self.rollouts.apply(session, rollout, change)

    def _record_opening(self, session: Session, rollout: Rollout, event: EvaluationCompleted, now: datetime) -> None:
        detail = {
            "candidate_version": event.candidate_version,
            "champion_version": event.champion_version,
            "verdict": event.verdict,
            "approval_hash": rollout.approval_hash,
            "summary": f"version {event.candidate_version} was judged: {event.verdict}",
        }
        subject = str(rollout.rollout_id)
        append_audit(session, now, actor=ACTOR, action="open", subject=subject, detail=detail)

    def _save_interaction(self, session: Session, event: InteractionRecorded) -> None:
        save_interaction(
            session,
            interaction_id=event.interaction_id,
            rollout_id=event.rollout_id,
            user=event.user,
            intended_version=event.intended_version,
            served_version=event.model_version,
            error=event.error,
            served_at=event.served_at,
        )
        self._count_vote(session, event.interaction_id)

    def _count_vote(self, session: Session, interaction_id: UUID) -> None:
        """Count one vote per user and rollout, once both the answer and a thumb on it are known.

        - the answer was served by the version that was meant, without an error, to a user we can tell from others
        - that version is one of the rollout's two arms
        - the rollout is in a canary stage, or won: then the holdback goes on speaking for the old champion
        """
        answer = load_interaction(session, interaction_id)
        thumb = load_first_thumb(session, interaction_id)
        if answer is None or thumb is None or answer.rollout_id is None or answer.user is None:
            return
        if answer.error is not None or answer.served_version != answer.intended_version:
            return
        rollout = load_rollout(session, answer.rollout_id)
        if rollout is None or (rollout.stage is None and rollout.state != "champion"):
            return
        arms = {rollout.candidate_version: "canary", rollout.champion_version: "champion"}
        if (arm := arms.get(answer.served_version)) is None:
            return
        save_vote(
            session,
            rollout_id=rollout.rollout_id,
            user=answer.user,
            arm=arm,
            up=thumb.up,
            stage=len(rollout.stages) if rollout.stage is None else rollout.stage,
            event_id=thumb.event_id,
            at=self.clock(),
        )


def _find_answer(event: AnyEvent) -> UUID | None:
    match event:
        case InteractionRecorded(rollout_id=UUID()):
            return event.interaction_id
        case FeedbackReceived(feedback=Thumb()):
            return event.interaction_id
    return None
