"""Evidence as it arrives, which body stands when an id comes with more than one, and whose an id is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from shared.events import (
    FeedbackReceived,
    InteractionRecorded,
    calculate_content_hash,
    calculate_prompt_hash,
    scope_id,
)


@dataclass(frozen=True, slots=True)
class ArrivedInteraction:
    event: InteractionRecorded
    prompt_hash: str
    content_hash: str
    redacted: bool = False

    @classmethod
    def of(cls, event: InteractionRecorded, *, redacted: bool = False) -> "ArrivedInteraction":
        return cls(event, calculate_prompt_hash(event.messages), calculate_content_hash(event), redacted)

    @property
    def key(self) -> UUID:
        return self.event.interaction_id


@dataclass(frozen=True, slots=True)
class ArrivedFeedback:
    event: FeedbackReceived
    content_hash: str
    redacted: bool = False
    scoped: bool = False
    """Another key's event has the id, so this one stands under another."""

    @classmethod
    def of(cls, event: FeedbackReceived, *, redacted: bool = False) -> "ArrivedFeedback":
        return cls(event, calculate_content_hash(event), redacted)

    @property
    def key(self) -> UUID:
        return scope_id(self.event.event_id, self.event.key_id) if self.scoped else self.event.event_id


Arrived = TypeVar("Arrived", ArrivedInteraction, ArrivedFeedback)


@dataclass
class Settled(Generic[Arrived]):
    """What to do about arrivals, in the order of their ids."""

    new: list[Arrived] = field(default_factory=list)
    """The id was free."""
    replacing: list[Arrived] = field(default_factory=list)
    """The id was taken by another body, which has to give way."""
    aside: list[Arrived] = field(default_factory=list)
    """Another body stands under the id."""


def assign_ids(
    arrived: Sequence[ArrivedFeedback], holders: Mapping[UUID, str]
) -> tuple[list[ArrivedFeedback], dict[UUID, str]]:
    """(the arrivals, under the ids that they are to have; {id to be given up: the key whose event gives it up}).

    Ids are unique per API key. Of two keys that use the same one, the smaller key id keeps it and the other's events
    are scoped, so that it does not matter who came first; `holders` says whose event stands under each of these ids.
    """
    keys: dict[UUID, set[str]] = {event_id: {key_id} for event_id, key_id in holders.items()}
    for item in arrived:
        keys.setdefault(item.event.event_id, set()).add(item.event.key_id)
    contested = {event_id: min(found) for event_id, found in keys.items() if len(found) > 1}
    if not contested:
        return list(arrived), {}
    assigned = [
        replace(item, scoped=True)
        if contested.get(item.event.event_id, item.event.key_id) != item.event.key_id
        else item
        for item in arrived
    ]
    given_up = {
        event_id: holders[event_id]
        for event_id, keeper in contested.items()
        if event_id in holders and holders[event_id] != keeper
    }
    return assigned, given_up


def settle(arrived: Iterable[Arrived], standing: Mapping[UUID, str]) -> Settled[Arrived]:
    """Of each id, the body with the smallest content hash stands; `standing` holds the hashes of what is stored.

    An arrival with the hash that stands already is a duplicate, and nothing to do.
    """
    by_key: dict[UUID, dict[str, Arrived]] = {}
    for item in arrived:
        known = by_key.setdefault(item.key, {})
        known[item.content_hash] = _merge(known.get(item.content_hash), item)
    settled: Settled[Arrived] = Settled()
    for key in sorted(by_key):
        stored = standing.get(key)
        bodies = sorted(by_key[key].values(), key=lambda item: item.content_hash)
        first = bodies[0]
        if stored is None:
            settled.new.append(first)
        elif first.content_hash < stored:
            settled.replacing.append(first)
        elif first.content_hash > stored:
            settled.aside.append(first)
        settled.aside.extend(item for item in bodies[1:] if item.content_hash != stored)
    return settled


def _merge(known: Arrived | None, item: Arrived) -> Arrived:
    """One of two equal bodies; of feedback, the one received first."""
    if known is None:
        return item
    if isinstance(known, ArrivedFeedback) and isinstance(item, ArrivedFeedback):
        return item if item.event.received_at < known.event.received_at else known
    return known


def find_earlier(
    arrived: Iterable[ArrivedFeedback], standing: Mapping[UUID, tuple[str, datetime]]
) -> list[ArrivedFeedback]:
    """Duplicates of the stored (content hash, time of reception) that were received before it."""
    earlier: dict[UUID, ArrivedFeedback] = {}
    for item in arrived:
        content_hash, received_at = standing.get(item.key, ("", item.event.received_at))
        if item.content_hash == content_hash and item.event.received_at < received_at:
            earlier[item.key] = _merge(earlier.get(item.key), item)
    return [earlier[key] for key in sorted(earlier)]
