"""Which of the received events count: one body per id, and ids per API key."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from shared.conversation import Conversation, calculate_prompt_hash, derive_conversation
from shared.events import FeedbackReceived, InteractionRecorded
from shared.feedback import scope_id
from shared.user_hashes import UserHashes


@dataclass(frozen=True, slots=True)
class ReceivedInteraction:
    event: InteractionRecorded
    conversation: Conversation
    prompt_hash: str
    content_hash: str
    """Of the event as the client wrote it, not of its canonical conversation: ingest compares retries with it."""
    redacted: bool = False

    @classmethod
    def of(cls, event: InteractionRecorded, hashes: UserHashes, *, redacted: bool = False) -> "ReceivedInteraction":
        content_hash, event = hashes.hash_content(event), hashes.carry_event(event)
        seen = derive_conversation(event)
        prompt_hash = calculate_prompt_hash(seen.messages, seen.tools)
        return cls(event, seen, prompt_hash, content_hash, redacted)

    @property
    def key(self) -> UUID:
        return self.event.interaction_id


@dataclass(frozen=True, slots=True)
class ReceivedFeedback:
    event: FeedbackReceived
    content_hash: str
    redacted: bool = False
    scoped: bool = False
    """Another key's event has the id, so this one stands under another."""

    @classmethod
    def of(cls, event: FeedbackReceived, hashes: UserHashes, *, redacted: bool = False) -> "ReceivedFeedback":
        return cls(hashes.carry_event(event), hashes.hash_content(event), redacted)

    @property
    def key(self) -> UUID:
        return scope_id(self.event.event_id, self.event.key_id) if self.scoped else self.event.event_id


Received = TypeVar("Received", ReceivedInteraction, ReceivedFeedback)


@dataclass
class Deduplicated(Generic[Received]):
    """What to do about received events, in the order of their ids."""

    new: list[Received] = field(default_factory=list)
    """The id was free."""
    replacing: list[Received] = field(default_factory=list)
    """The id was taken by another body, which has to give way."""
    conflicting: list[Received] = field(default_factory=list)
    """Another body stands under the id."""


def assign_ids(
    received: Sequence[ReceivedFeedback], holders: Mapping[UUID, str]
) -> tuple[list[ReceivedFeedback], dict[UUID, str]]:
    """Assign ids: (the feedback under its ids; {id to be given up: the API key whose stored event gives it up}).

    Ids are unique per API key. Of two keys that use the same one, the smaller key id keeps it and the other's events
    are scoped, so that it does not matter who came first; `holders` says whose event stands under each of these ids.
    """
    keys: dict[UUID, set[str]] = {event_id: {key_id} for event_id, key_id in holders.items()}
    for item in received:
        keys.setdefault(item.event.event_id, set()).add(item.event.key_id)
    contested = {event_id: min(found) for event_id, found in keys.items() if len(found) > 1}
    if not contested:
        return list(received), {}
    assigned = [
        replace(item, scoped=True)
        if contested.get(item.event.event_id, item.event.key_id) != item.event.key_id
        else item
        for item in received
    ]
    given_up = {
        event_id: holders[event_id]
        for event_id, keeper in contested.items()
        if event_id in holders and holders[event_id] != keeper
    }
    return assigned, given_up


def deduplicate(received: Iterable[Received], stored: Mapping[UUID, str]) -> Deduplicated[Received]:
    """Keep one body per id, that with the smallest content hash; `stored` holds the hashes of stored bodies.

    A received event whose hash is stored already is a duplicate: there is nothing to do.
    """
    by_key: dict[UUID, dict[str, Received]] = {}
    for item in received:
        known = by_key.setdefault(item.key, {})
        known[item.content_hash] = _merge(known.get(item.content_hash), item)
    result: Deduplicated[Received] = Deduplicated()
    for key in sorted(by_key):
        known_hash = stored.get(key)
        bodies = sorted(by_key[key].values(), key=lambda item: item.content_hash)
        first = bodies[0]
        if known_hash is None:
            result.new.append(first)
        elif first.content_hash < known_hash:
            result.replacing.append(first)
        elif first.content_hash > known_hash:
            result.conflicting.append(first)
        result.conflicting.extend(item for item in bodies[1:] if item.content_hash != known_hash)
    return result


def _merge(known: Received | None, item: Received) -> Received:
    """Keep one of two equal bodies; of feedback, the one received first."""
    if known is None:
        return item
    if isinstance(known, ReceivedFeedback) and isinstance(item, ReceivedFeedback):
        return item if item.event.received_at < known.event.received_at else known
    return known


def find_earlier_receptions(
    received: Iterable[ReceivedFeedback], stored: Mapping[UUID, tuple[str, datetime]]
) -> list[ReceivedFeedback]:
    """Find duplicates of stored feedback (content hash, time of reception) that were received before it."""
    earlier: dict[UUID, ReceivedFeedback] = {}
    for item in received:
        content_hash, received_at = stored.get(item.key, ("", item.event.received_at))
        if item.content_hash == content_hash and item.event.received_at < received_at:
            earlier[item.key] = _merge(earlier.get(item.key), item)
    return [earlier[key] for key in sorted(earlier)]
