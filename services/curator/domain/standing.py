"""Which of a user's events stand."""

from uuid import UUID

import msgspec

from shared.events import Choice, FeedbackReceived, Regenerate, Retract, effective_time, scope_id


def attribute(event: FeedbackReceived, event_id: UUID, owner: str | None) -> FeedbackReceived:
    """The event as evidence: under the id that it stands under, and, if it does not say whose it is, as that of the
    user (else of the conversation) to whom the answer was given."""
    if event.event_id == event_id and (event.user is not None or owner is None):
        return event
    return msgspec.structs.replace(event, event_id=event_id, user=event.user or owner)


def list_interactions(event: FeedbackReceived) -> tuple[UUID, ...]:
    """The interactions that an event speaks of: its own, then the other one of a choice or regeneration."""
    match event.feedback:
        case Choice(other_interaction_id=other) | Regenerate(replacement_interaction_id=other):
            return event.interaction_id, other
        case _:
            return (event.interaction_id,)


def derive_standing(events: list[FeedbackReceived]) -> list[FeedbackReceived]:
    """The standing events, by event id.

    - An event is withdrawn by a retraction of the same user that names it and speaks of one of its interactions.
    - Of the rest, per user, interaction (of a choice or regeneration: both) and type, the latest by effective time
      stands, ties by event id. All anonymous callers count as one user.
    """
    by_id = {event.event_id: event for event in events}
    withdrawn = {
        target.event_id
        for event in events
        if isinstance(event.feedback, Retract)
        and (target := _find_target(event, event.feedback, by_id)) is not None
        and target.user == event.user
        and event.interaction_id in list_interactions(target)
    }
    latest: dict[tuple[str | None, frozenset[UUID], type], FeedbackReceived] = {}
    for event in sorted(by_id.values(), key=lambda event: (effective_time(event), event.event_id)):
        if event.event_id not in withdrawn and not isinstance(event.feedback, Retract):
            latest[event.user, _subject(event), type(event.feedback)] = event
    return sorted(latest.values(), key=lambda event: event.event_id)


def _find_target(
    event: FeedbackReceived, retraction: Retract, by_id: dict[UUID, FeedbackReceived]
) -> FeedbackReceived | None:
    """A key's own event under the id that it named goes before another key's."""
    named = retraction.retracted_event_id
    return by_id.get(scope_id(named, event.key_id)) or by_id.get(named)


def _subject(event: FeedbackReceived) -> frozenset[UUID]:
    return frozenset(list_interactions(event))
