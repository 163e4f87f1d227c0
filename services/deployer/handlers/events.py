"""What the deployer does with events: an evaluation opens a rollout; answers and feedback become votes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.orm import Session

from services.deployer.domain.approval import calculate_approval_hash
from services.deployer.handlers.change import OWN_ACTOR, Change, Rollouts
from services.deployer.handlers.limits import derive_limits
from services.deployer.handlers.voting import count_votes_on, note_exposure
from services.deployer.repository.erasure import find_erased_users, is_erased_answer
from services.deployer.repository.lineage import load_run_hashes
from services.deployer.repository.rollouts import load_rollout_of_request, lock_rollouts
from services.deployer.repository.votes import list_voters, save_feedback, save_interaction
from shared.db import hold_shared, lock_all
from shared.events import (
    AnyEvent,
    Complaint,
    Edit,
    EvaluationCompleted,
    FeedbackReceived,
    InteractionRecorded,
    Rating,
    Regenerate,
    Retract,
    Thumb,
)
from shared.finishes import classify_finish
from shared.ids import new_id
from shared.tables.deployer import Rollout
from shared.user_hash_generations import LoadUserHashes, load_without_secrets
from shared.user_hashes import UserHashes
from shared.user_stores import EVIDENCE_LOCK

logger = structlog.get_logger(__name__)

TOPICS = (EvaluationCompleted.topic, InteractionRecorded.topic, FeedbackReceived.topic)


@dataclass
class EventHandler:
    """The handler of the deployer's consumer loop."""

    rollouts: Rollouts
    clock: Callable[[], datetime]
    load_user_hashes: LoadUserHashes = load_without_secrets
    _hashes: UserHashes = field(default=UserHashes(""), init=False)

    def prepare(self, session: Session, events: list[AnyEvent]) -> None:
        """Lock each answer, then each voter: what belongs together may come to two consumers at once.

        Of an answer and the feedback on it, whoever is second finds both and makes the vote.
        """
        hold_shared(session, EVIDENCE_LOCK)
        self._hashes = self.load_user_hashes(session)
        answers = {interaction_id for event in events if (interaction_id := _find_answer(event))}
        lock_all(session, (f"vote:{interaction_id}" for interaction_id in answers))
        voters = list_voters(session, answers) | {voter for event in events if (voter := self._find_voter(event))}
        lock_all(session, (f"voter:{rollout_id}:{user}" for rollout_id, user in voters))
        if any(isinstance(event, EvaluationCompleted) for event in events):
            lock_rollouts(session)

    def handle(self, session: Session, event: AnyEvent) -> None:
        match event:
            case EvaluationCompleted():
                self._open_rollout(session, event)
            case InteractionRecorded(rollout_id=UUID()):
                self._save_interaction(session, self._hashes.carry_event(event))
                count_votes_on(session, event.interaction_id, self.clock())
            case FeedbackReceived(feedback=Thumb() | Rating() | Complaint() | Edit() | Regenerate() | Retract()):
                content_hash, event = self._hashes.hash_content(event), self._hashes.carry_event(event)
                if _is_erased(session, event.user) or is_erased_answer(session, event.interaction_id):
                    return
                save_feedback(session, event, content_hash)
                count_votes_on(session, event.interaction_id, self.clock())

    def _find_voter(self, event: AnyEvent) -> tuple[UUID, str] | None:
        match event:
            case InteractionRecorded(rollout_id=UUID() as rollout_id, user=str() as user):
                return rollout_id, self._hashes.carry(user) or user
        return None

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
            limits=msgspec.to_builtins(derive_limits(self.rollouts.settings)),
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
        change = Change("reject", OWN_ACTOR, f"gates {event.verdict}: {summary}", now)
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
        self.rollouts.audit(session, now, OWN_ACTOR, "open", subject, detail)

    def _save_interaction(self, session: Session, event: InteractionRecorded) -> None:
        user = None if _is_erased(session, event.user) else event.user
        save_interaction(
            session,
            interaction_id=event.interaction_id,
            rollout_id=event.rollout_id,
            user=user,
            intended_version=event.intended_version,
            served_version=event.model_version,
            error=event.error,
            served_at=event.served_at,
            seconds=event.total_seconds,
            is_void=event.error is None and is_void(event),
        )
        if user is not None:
            note_exposure(session, event)


def is_void(event: InteractionRecorded) -> bool:
    """Tell whether an answer is none: empty, a refusal, or cut or replaced by a filter."""
    said_nothing = not (event.answer or event.tool_calls)
    return said_nothing or classify_finish(event.finish_reason) == "filtered"


def _is_erased(session: Session, user: str | None) -> bool:
    return user is not None and bool(find_erased_users(session, [user]))


def _find_answer(event: AnyEvent) -> UUID | None:
    match event:
        case InteractionRecorded(rollout_id=UUID()):
            return event.interaction_id
        case FeedbackReceived(feedback=Thumb() | Rating() | Complaint() | Edit() | Regenerate() | Retract()):
            return event.interaction_id
    return None
