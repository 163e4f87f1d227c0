"""An event is read before it is stored: what Postgres could not hold is refused."""

from services.curator.domain.arrivals import ArrivedFeedback, ArrivedInteraction
from shared.errors import InvalidRequest
from shared.events import FeedbackReceived, InteractionRecorded, effective_time


def read_interaction(event: InteractionRecorded) -> ArrivedInteraction:
    """Raises: InvalidRequest: it cannot be stored."""
    if event.served_at.tzinfo is None:
        raise InvalidRequest("served_at has no time zone")
    return ArrivedInteraction.of(event)


def read_feedback(event: FeedbackReceived) -> ArrivedFeedback:
    """Raises: InvalidRequest: it cannot be stored."""
    if effective_time(event).tzinfo is None or event.received_at.tzinfo is None:
        raise InvalidRequest("a time without a zone")
    return ArrivedFeedback.of(event)
