"""Evidence comes in: stored once, parked while what it speaks of is unknown."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy.orm import Session

from services.curator import metrics
from services.curator.domain.splitting import derive_cell, derive_split
from services.curator.domain.standing import list_interactions
from services.curator.repository import evidence
from shared.errors import InvalidRequest
from shared.events import (
    FeedbackReceived,
    InteractionRecorded,
    calculate_content_hash,
    calculate_prompt_hash,
    effective_time,
)


def store_interaction(session: Session, event: InteractionRecorded) -> set[str]:
    """Store an interaction and attach what waited for it; the prompt groups that this touches.

    The same id with another body: the one with the smaller content hash stands, the other is kept aside.
    """
    prompt_hash, content_hash = calculate_prompt_hash(event.messages), calculate_content_hash(event)
    cell = derive_cell(event.messages)
    evidence.save_prompt(session, prompt_hash, event.messages, cell, derive_split(cell))
    touched = {prompt_hash}
    if not evidence.insert_interaction(session, event, prompt_hash, content_hash):
        standing = evidence.load_interaction(session, event.interaction_id)
        if standing.content_hash == content_hash:
            return set()
        metrics.CONFLICTS.labels("interaction").inc()
        if standing.content_hash < content_hash:
            evidence.keep_aside(session, event.interaction_id, content_hash, evidence.dump_event(event))
            return set()
        aside = evidence.dump_interaction(session, standing)
        evidence.keep_aside(session, event.interaction_id, standing.content_hash, aside)
        touched.add(standing.prompt_hash)
        evidence.replace_interaction(session, event, prompt_hash, content_hash)
    return touched | _attach_waiting(session, event.interaction_id)


def _attach_waiting(session: Session, interaction_id: UUID) -> set[str]:
    """Attach feedback that has all it needs now, also what had expired; the groups it belongs to."""
    touched: set[str] = set()
    for row in evidence.load_feedback_on(session, interaction_id):
        needed = {row.interaction_id, row.other_interaction_id or row.interaction_id}
        if row.state != "attached" and _choose_state(session, needed) == "attached":
            row.state = "attached"
        if row.state == "attached":
            touched |= evidence.load_prompt_hashes(session, [row.interaction_id])
    return touched


def store_feedback(session: Session, event: FeedbackReceived) -> set[str]:
    """Store a feedback event, parked if an interaction that it needs is unknown; the prompt groups that this touches.

    A duplicate keeps the earliest `received_at`. The same id with another body: the smaller content hash stands.
    """
    if effective_time(event).tzinfo is None or event.received_at.tzinfo is None:
        raise InvalidRequest("a time without a zone")
    content_hash = calculate_content_hash(event)
    state = _choose_state(session, list_interactions(event))
    touched = {event.interaction_id}
    if not evidence.insert_feedback(session, event, content_hash, state):
        standing = evidence.load_feedback(session, event.event_id)
        if standing.content_hash == content_hash and standing.received_at <= event.received_at:
            return set()
        if standing.content_hash != content_hash:
            metrics.CONFLICTS.labels("feedback").inc()
            if standing.content_hash < content_hash:
                evidence.keep_aside(session, event.event_id, content_hash, evidence.dump_event(event))
                return set()
            evidence.keep_aside(session, event.event_id, standing.content_hash, standing.event)
        touched.add(standing.interaction_id)
        evidence.replace_feedback(session, event, content_hash, state)
    return evidence.load_prompt_hashes(session, touched)


def _choose_state(session: Session, needed: Collection[UUID]) -> str:
    return "attached" if evidence.count_known(session, set(needed)) == len(set(needed)) else "parked"
