"""Which event stands, when it happened, and what feedback says of the answer that it is about."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid5

import msgspec

from shared.events import (
    IMPORT_KEY_ID,
    AnyFeedback,
    Choice,
    FeedbackReceived,
    InteractionRecorded,
    Rating,
    Regenerate,
    Retract,
    Thumb,
)

_canonical = msgspec.json.Encoder(order="sorted")


def calculate_content_hash(event: InteractionRecorded | FeedbackReceived) -> str:
    """Return the SHA-256 (hex) of what the caller said: the same for a retry, different for another body under the same
    id.

    Leaves out what is ours and differs between a first try and its retry: `received_at`, `clock_offset_seconds` and
    `content_hash`.
    """
    content = msgspec.to_builtins(event)
    content.pop("received_at", None)
    content.pop("clock_offset_seconds", None)
    content.pop("content_hash", None)
    return hashlib.sha256(_canonical.encode(content)).hexdigest()


def scope_id(event_id: UUID, key_id: str) -> UUID:
    """Return, for an id that several API keys use, the one that is this key's alone."""
    return uuid5(event_id, key_id)


def effective_time(event: FeedbackReceived) -> datetime:
    """Return when the feedback happened: the client's word, with its clock corrected, else when it was received."""
    if event.occurred_at is None:
        return event.received_at
    return event.occurred_at + timedelta(seconds=event.clock_offset_seconds or 0.0)


def derive_polarity(feedback: AnyFeedback) -> bool | None:
    """Return whether feedback praises its answer (True) or blames it (False); None for what does neither.

    - a thumb: up praises, down blames
    - a rating: as `derive_rating_polarity` says
    """
    match feedback:
        case Thumb(value=value):
            return value == "up"
        case Rating(value=stars):
            return derive_rating_polarity(stars)
    return None


def derive_rating_polarity(stars: int) -> bool | None:
    """Derive praise from 4 and 5 stars, blame from 1 and 2, neither from 3."""
    return None if stars == 3 else stars > 3


def attribute(event: FeedbackReceived, event_id: UUID, owner: str | None) -> FeedbackReceived:
    """Make an event evidence: under its stored id and, if it does not say whose it is, as that of the
    user (else of the conversation) to whom the answer was given."""
    if event.event_id == event_id and (event.user is not None or owner is None):
        return event
    return msgspec.structs.replace(event, event_id=event_id, user=event.user or owner)


def read_import_name(event: InteractionRecorded | FeedbackReceived) -> str | None:
    """Return the name of the import that brought an event; None of one that came otherwise."""
    if event.key_id != IMPORT_KEY_ID:
        return None
    said = (event.metadata or {}).get("imported")
    name = said.get("source") if isinstance(said, dict) else None
    return name if isinstance(name, str) else None


def list_interactions(event: FeedbackReceived) -> tuple[UUID, ...]:
    """List the interactions that an event is about: its own, then the other one of a choice or regeneration."""
    match event.feedback:
        case Choice(other_interaction_id=other) | Regenerate(replacement_interaction_id=other):
            return event.interaction_id, other
        case _:
            return (event.interaction_id,)


def derive_current_feedback(events: Iterable[FeedbackReceived]) -> list[FeedbackReceived]:
    """Return the feedback that stands, by event id, whatever the order of `events`.

    - A retraction of the same user that names an event, and speaks of one of its interactions, withdraws it.
    - Per user, interaction (of a choice or regeneration: both) and type, the latest by effective time is the user's
      word; of several at one time, one that was not withdrawn, then the highest event id. It stands unless withdrawn:
      withdrawing it brings no earlier one back, about which the user had changed their mind already.
    - Saying the same again says nothing new: of equal words in a row, the first that was not withdrawn stands.
    - All anonymous callers count as one user.
    """
    by_id = {event.event_id: event for event in events}
    withdrawn = {
        target.event_id
        for event in by_id.values()
        if isinstance(event.feedback, Retract)
        and (target := _find_target(event, event.feedback, by_id)) is not None
        and target.user == event.user
        and event.interaction_id in list_interactions(target)
    }
    words: dict[tuple[str | None, frozenset[UUID], type], list[FeedbackReceived]] = defaultdict(list)
    for event in sorted(by_id.values(), key=lambda event: _order(event, withdrawn)):
        if not isinstance(event.feedback, Retract):
            words[event.user, _subject(event), type(event.feedback)].append(event)
    standing = [_find_first(events, withdrawn) for events in words.values() if events[-1].event_id not in withdrawn]
    return sorted(standing, key=lambda event: event.event_id)


def _find_first(events: Sequence[FeedbackReceived], withdrawn: set[UUID]) -> FeedbackReceived:
    """Find where the last of one user's words, in order, was said first: withdrawn ones do not count."""
    first = events[-1]
    for event in reversed(events):
        if event.feedback != first.feedback:
            break
        first = first if event.event_id in withdrawn else event
    return first


def _order(event: FeedbackReceived, withdrawn: set[UUID]) -> tuple[datetime, bool, UUID]:
    return effective_time(event), event.event_id not in withdrawn, event.event_id


def _find_target(
    event: FeedbackReceived, retraction: Retract, by_id: dict[UUID, FeedbackReceived]
) -> FeedbackReceived | None:
    """Find the retracted event: the API key's own under that id, else another key's."""
    named = retraction.retracted_event_id
    return by_id.get(scope_id(named, event.key_id)) or by_id.get(named)


def _subject(event: FeedbackReceived) -> frozenset[UUID]:
    return frozenset(list_interactions(event))
