"""What the curator does with the events it consumes."""

from sqlalchemy.orm import Session

from services.curator.domain.standing import list_interactions
from services.curator.handlers.control import close_on_evaluation, close_on_rollout, close_on_training, follow_routing
from services.curator.handlers.derivation import derive_groups
from services.curator.handlers.evidence import store_feedback, store_interaction
from shared.db import lock_all
from shared.events import (
    AnyEvent,
    EvaluationCompleted,
    Event,
    FeedbackReceived,
    InteractionRecorded,
    RolloutAdvanced,
    TrainingCompleted,
)

CONSUMED: tuple[type[Event], ...] = (
    InteractionRecorded,
    FeedbackReceived,
    TrainingCompleted,
    EvaluationCompleted,
    RolloutAdvanced,
)


class CuratorConsumer:
    """Stores a batch's evidence, then derives each prompt group that it touched, once."""

    def __init__(self) -> None:
        self._touched: set[str] = set()

    def prepare(self, session: Session, events: list[AnyEvent]) -> None:
        """Lock every interaction spoken of, so that feedback cannot be parked while its interaction is being stored."""
        self._touched = set()
        lock_all(session, (f"interaction:{key}" for event in events for key in _list_locked(event)))

    def handle(self, session: Session, event: AnyEvent) -> None:
        match event:
            case InteractionRecorded():
                self._touched |= store_interaction(session, event)
            case FeedbackReceived():
                self._touched |= store_feedback(session, event)
            case TrainingCompleted():
                close_on_training(session, event)
            case EvaluationCompleted():
                close_on_evaluation(session, event)
            case RolloutAdvanced():
                follow_routing(session, event)
                close_on_rollout(session, event)

    def finish(self, session: Session, events: list[AnyEvent]) -> None:
        derive_groups(session, self._touched)


def _list_locked(event: AnyEvent) -> list[str]:
    match event:
        case InteractionRecorded():
            return [str(event.interaction_id)]
        case FeedbackReceived():
            return [str(key) for key in list_interactions(event)]
        case _:
            return []
