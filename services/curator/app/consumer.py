"""What the curator does with the events it consumes."""

from sqlalchemy.orm import Session

from services.curator.evidence.domain.deduplication import ReceivedFeedback, ReceivedInteraction
from services.curator.evidence.handlers import (
    drop_erased,
    prepare_feedback,
    prepare_interaction,
    store_feedback,
    store_interactions,
)
from services.curator.pairs.handlers import derive_groups
from services.curator.requests.handlers import close_on_evaluation, close_on_rollout, close_on_training, follow_routing
from shared.db import hold_shared, lock_all
from shared.events import (
    AnyEvent,
    EvaluationCompleted,
    Event,
    FeedbackReceived,
    InteractionRecorded,
    RolloutAdvanced,
    TrainingCompleted,
)
from shared.feedback import list_interactions
from shared.logging import event_context
from shared.user_hash_generations import LoadUserHashes, load_without_secrets
from shared.user_hashes import UserHashes
from shared.user_stores import EVIDENCE_LOCK

CONSUMED: tuple[type[Event], ...] = (
    InteractionRecorded,
    FeedbackReceived,
    TrainingCompleted,
    EvaluationCompleted,
    RolloutAdvanced,
)


class CuratorConsumer:
    """Takes a batch's evidence apart in memory, then stores all of it and derives each prompt group it touched, once.

    So a batch costs a fixed number of statements, and `handle` writes nothing for evidence: what is wrong with one
    event shows before the database is asked.
    """

    def __init__(self, load_user_hashes: LoadUserHashes = load_without_secrets) -> None:
        """Take evidence at the database's generation of user hashes; by default with the first secret alone."""
        self._load_user_hashes = load_user_hashes
        self._hashes = UserHashes("")
        self._interactions: list[ReceivedInteraction] = []
        self._feedback: list[ReceivedFeedback] = []

    def prepare(self, session: Session, events: list[AnyEvent]) -> None:
        """Lock every interaction spoken of, so that feedback cannot be parked while its interaction is being stored."""
        self._interactions, self._feedback = [], []
        hold_shared(session, EVIDENCE_LOCK)
        self._hashes = self._load_user_hashes(session)
        lock_all(session, (f"interaction:{key}" for event in events for key in _list_locked(event)))

    def handle(self, session: Session, event: AnyEvent) -> None:
        match event:
            case InteractionRecorded():
                self._interactions.append(prepare_interaction(event, self._hashes))
            case FeedbackReceived():
                self._feedback.append(prepare_feedback(event, self._hashes))
            case _:
                with event_context(event), session.begin_nested():
                    _follow(session, event)

    def finish(self, session: Session, events: list[AnyEvent]) -> None:
        interactions, feedback = drop_erased(session, self._interactions, self._feedback)
        touched = store_interactions(session, interactions) | store_feedback(session, feedback)
        derive_groups(session, touched)


def _follow(session: Session, event: AnyEvent) -> None:
    match event:
        case TrainingCompleted():
            close_on_training(session, event)
        case EvaluationCompleted():
            close_on_evaluation(session, event)
        case RolloutAdvanced():
            follow_routing(session, event)
            close_on_rollout(session, event)


def _list_locked(event: AnyEvent) -> list[str]:
    match event:
        case InteractionRecorded():
            return [str(event.interaction_id)]
        case FeedbackReceived():
            return [str(key) for key in list_interactions(event)]
        case _:
            return []
