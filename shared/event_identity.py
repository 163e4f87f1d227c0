"""When two events are one, and when an event happened."""

import hashlib
from datetime import datetime
from uuid import UUID, uuid5

import msgspec

from shared.events import FeedbackReceived, InteractionRecorded

_canonical = msgspec.json.Encoder(order="sorted")


def calculate_content_hash(event: InteractionRecorded | FeedbackReceived) -> str:
    """SHA-256 (hex) of what the caller said: the same for a retry, different for another body under the same id.

    Leaves out `received_at`, which is ours and differs between a first try and its retry.
    """
    content = msgspec.to_builtins(event)
    content.pop("received_at", None)
    return hashlib.sha256(_canonical.encode(content)).hexdigest()


def scope_id(event_id: UUID, key_id: str) -> UUID:
    """Of an id that several API keys use, the one that is this key's alone."""
    return uuid5(event_id, key_id)


def effective_time(event: FeedbackReceived) -> datetime:
    """When the feedback happened: the client's word, else when it was received."""
    return event.occurred_at or event.received_at
