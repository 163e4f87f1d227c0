"""Which comparison a rater is shown next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.evaluator.domain.votes.ballots import find_seat


@dataclass(frozen=True)
class Place:
    """One comparison of an evaluation, without its texts."""

    comparison_id: UUID
    position: int
    prompt_hash: str
    pile: int | None
    voter: str | None
    has_vote: bool
    offered_to: str | None
    offered_at: datetime | None
    offered_key: str | None = None

    @property
    def unit(self) -> object:
        return self.prompt_hash if self.pile is None else self.pile

    def is_leased(self, after: datetime) -> bool:
        return not self.has_vote and self.offered_at is not None and self.offered_at > after

    def is_known_to(self, person: str) -> bool:
        return person in (self.voter, self.offered_to)

    def has_claim(self, after: datetime) -> str | None:
        """Return whose pile this makes it: whoever voted here, or looks at it now."""
        return self.voter if self.has_vote else self.offered_to if self.is_leased(after) else None


@dataclass(frozen=True)
class Rater:
    """Who judges (hashed), and the id of the key or account that says so."""

    person: str
    key_id: str


@dataclass(frozen=True)
class Offer:
    """`probability` is the chance with which it was drawn of the `pool` that could have been."""

    comparison_id: UUID
    pool: int

    @property
    def probability(self) -> float:
        return 1 / self.pool


def list_held(places: Sequence[Place], key_id: str, leased_after: datetime) -> list[Place]:
    """List what a key keeps for itself now, whatever names it gave, the oldest first."""
    held = [place for place in places if place.offered_key == key_id and place.is_leased(leased_after)]
    return sorted(held, key=lambda place: (place.offered_at or leased_after, place.position))


def choose_offer(
    places: Sequence[Place], person: str, leased_after: datetime, seats: int | None = None
) -> Offer | None:
    """Choose what this person judges next, if there is something.

    Each person has one pile, or seat of a panel, the first that they were given, of those that nobody else has; the
    order of offering was drawn when the comparisons were made, so that its first is a uniform draw. Prompts whose twin
    this person has seen come last; a panel goes round by round, in the drawn order.
    """
    open_places = [place for place in places if not place.has_vote and not place.is_leased(leased_after)]
    own = _keep_own(places, open_places, person, leased_after, seats)
    seen = {place.prompt_hash for place in places if place.is_known_to(person)} if seats is None else ()
    fresh = [place for place in own if place.prompt_hash not in seen] or own
    if not fresh:
        return None
    return Offer(min(fresh, key=lambda place: place.position).comparison_id, len(fresh) if seats is None else 1)


def _keep_own(
    places: Sequence[Place], open_places: Sequence[Place], person: str, leased_after: datetime, seats: int | None
) -> list[Place]:
    owners: dict[object, str] = {}
    for place in places:
        if (owner := place.has_claim(leased_after)) is not None:
            owners.setdefault(find_seat(place.unit, seats), owner)
    own = {seat for seat, owner in owners.items() if owner == person}
    wanted = [(find_seat(place.unit, seats), place) for place in open_places]
    return [place for seat, place in wanted if (seat in own if own else seat not in owners)]
