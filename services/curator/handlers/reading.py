"""An event is read before it is stored: personal data is taken out, and what Postgres could not hold is refused."""

from collections import Counter

from services.curator import metrics
from services.curator.adapters.redaction import redact_feedback, redact_interaction
from services.curator.domain.arrivals import ArrivedFeedback, ArrivedInteraction
from shared.errors import InvalidRequest
from shared.events import FeedbackReceived, InteractionRecorded, effective_time


def read_interaction(event: InteractionRecorded) -> ArrivedInteraction:
    """Raises: InvalidRequest: it cannot be stored."""
    if event.served_at.tzinfo is None:
        raise InvalidRequest("served_at has no time zone")
    event, found = redact_interaction(event)
    _count(found)
    return ArrivedInteraction.of(event, redacted=bool(found))


def read_feedback(event: FeedbackReceived) -> ArrivedFeedback:
    """Raises: InvalidRequest: it cannot be stored."""
    if effective_time(event).tzinfo is None or event.received_at.tzinfo is None:
        raise InvalidRequest("a time without a zone")
    event, found = redact_feedback(event)
    _count(found)
    return ArrivedFeedback.of(event, redacted=bool(found))


def _count(found: Counter[str]) -> None:
    for kind, count in found.items():
        metrics.REDACTED.labels(kind).inc(count)
