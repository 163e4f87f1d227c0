"""Evidence as it arrives, and which body stands when an id comes with more than one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from shared.events import (
    FeedbackReceived,
    InteractionRecorded,
    calculate_content_hash,
    calculate_prompt_hash,
)


@dataclass(frozen=True, slots=True)
class ArrivedInteraction:
    event: InteractionRecorded
    prompt_hash: str
    content_hash: str

    @classmethod
    def of(cls, event: InteractionRecorded) -> "ArrivedInteraction":
        return cls(event, calculate_prompt_hash(event.messages), calculate_content_hash(event))

    @property
    def key(self) -> UUID:
        return self.event.interaction_id


@dataclass(frozen=True, slots=True)
class ArrivedFeedback:
    event: FeedbackReceived
    content_hash: str

    @classmethod
    def of(cls, event: FeedbackReceived) -> "ArrivedFeedback":
        return cls(event, calculate_content_hash(event))

    @property
    def key(self) -> UUID:
        return self.event.event_id


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
