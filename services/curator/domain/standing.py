"""Which of a user's events stand."""

from uuid import UUID

from shared.events import Choice, FeedbackReceived, Regenerate, Retract, effective_time


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
        and (target := by_id.get(event.feedback.retracted_event_id)) is not None
        and target.user == event.user
        and event.interaction_id in list_interactions(target)
    }
    latest: dict[tuple[str | None, frozenset[UUID], type], FeedbackReceived] = {}
    for event in sorted(by_id.values(), key=lambda event: (effective_time(event), event.event_id)):
        if event.event_id not in withdrawn and not isinstance(event.feedback, Retract):
            latest[event.user, _subject(event), type(event.feedback)] = event
    return sorted(latest.values(), key=lambda event: event.event_id)


def _subject(event: FeedbackReceived) -> frozenset[UUID]:
    return frozenset(list_interactions(event))
