"""Votes on blind comparisons, and the units that they are evidence in."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Vote = Literal["left", "right", "tie"]
Estimand = Literal["population", "panel"]
"""Whom a win rate speaks for: users at large, of whom the raters are a sample, or these raters."""


EQUAL_ANSWERS = "equal answers"
"""Stands for the voter where nobody was asked."""


@dataclass(frozen=True)
class Ballot:
    """One blind comparison and its vote, if it has one."""

    prompt_hash: str
    candidate_is_left: bool
    vote: Vote | None
    rater: str | None = None
    """None: nobody was asked, because the answers are equal."""
    pile: int | None = None
    """The pile of prompts that it lies in; None: its prompt is a pile."""
    cast: float = 0.0
    """When the vote was cast: only the order counts."""
    weight: float = 1.0
    """How much rarer than by a uniform draw it was offered: the uniform probability over the true one."""
    candidate: str = ""
    """Whose answer stands against the champion's, where several candidates are judged together."""

    @property
    def score(self) -> float | None:
        """Return 1 for the candidate, 0 for the champion, a half for a tie."""
        if self.vote is None:
            return None
        if self.vote == "tie":
            return 0.5
        return float((self.vote == "left") == self.candidate_is_left)

    @property
    def is_asked(self) -> bool:
        return self.vote is None or self.rater is not None

    @property
    def unit(self) -> object:
        return self.prompt_hash if self.pile is None else self.pile


@dataclass(frozen=True)
class Unit:
    """The votes on one pile, which may lean together; complete when every comparison in it has a vote that counts."""

    score: float
    votes: int
    is_complete: bool


def find_seat(unit: object, seats: int | None) -> object:
    """Return what one rater judges: a pile for the population, all piles of a seat for a panel of so many."""
    return unit % seats if seats is not None and isinstance(unit, int) else unit


def find_unit(unit: object, seats: int | None) -> object:
    """Return the unit of evidence that a pile belongs to: itself for the population, its round for a panel."""
    return unit // seats if seats is not None and isinstance(unit, int) else unit


def derive_units(ballots: Sequence[Ballot], seats: int | None = None) -> dict[object, Unit]:
    """Return the units of evidence by name: complete ones in the order of the evidence, then the others.

    A pile has one rater, the first to vote on it, and a rater has one pile; any other vote does not count. For the
    population a pile is a unit, in the order in which they became complete: no two units share an opinion or a region
    of prompts. For a panel of so many seats a unit is a round (see `comparisons.derive_rounds`): a region of prompts
    from each rater, all of whom count alike; a round is complete when those before it are.
    """
    piles = _list_piles(ballots)
    cast = _list_counted(piles, seats)
    if seats is not None:
        return _derive_rounds(piles, cast, seats)
    begun = [name for name in cast if cast[name]]
    complete = {name: len(cast[name]) == len(piles[name]) for name in begun}
    begun.sort(key=lambda name: (not complete[name], cast[name][-1 if complete[name] else 0].cast))
    return {name: Unit(_calculate_score(cast[name]), len(cast[name]), complete[name]) for name in begun}


def _derive_rounds(
    piles: Mapping[object, list[Ballot]], cast: Mapping[object, list[Ballot]], seats: int
) -> dict[object, Unit]:
    """Return the rounds in which every seat has a vote, in the order that was drawn before anybody voted."""
    rounds: dict[int, list[int]] = defaultdict(list)
    for name in piles:
        if isinstance(name, int):
            rounds[name // seats].append(name)
    units: dict[object, Unit] = {}
    complete = True
    for number in sorted(rounds):
        own = [cast.get(name, []) for name in rounds[number]]
        complete = complete and all(len(cast.get(name, [])) == len(piles[name]) for name in rounds[number])
        if all(own):
            units[number] = Unit(average_seats([vote for votes in own for vote in votes]), sum(map(len, own)), complete)
    return units


def keep_counted(ballots: Sequence[Ballot], seats: int | None = None) -> list[Ballot]:
    """Return the ballots, without the votes that do not count in their units."""
    counted = {id(ballot) for cast in _list_counted(_list_piles(ballots), seats).values() for ballot in cast}
    return [
        ballot if id(ballot) in counted or not ballot.is_asked else replace(ballot, vote=None, rater=None)
        for ballot in ballots
    ]


def _list_piles(ballots: Sequence[Ballot]) -> dict[object, list[Ballot]]:
    piles: dict[object, list[Ballot]] = defaultdict(list)
    for ballot in ballots:
        if ballot.is_asked:
            piles[ballot.unit].append(ballot)
    return piles


def _list_counted(piles: Mapping[object, list[Ballot]], seats: int | None) -> dict[object, list[Ballot]]:
    """Keep the votes of whoever was the first at a seat, if it is the first that they sat down at."""
    cast = sorted(
        (ballot for pile in piles.values() for ballot in pile if ballot.vote is not None), key=lambda vote: vote.cast
    )
    owners: dict[object, str | None] = {}
    kept: dict[object, list[Ballot]] = defaultdict(list)
    for ballot in cast:
        seat = find_seat(ballot.unit, seats)
        if seat not in owners:
            owners[seat] = None if ballot.rater in owners.values() else ballot.rater
        if owners[seat] is not None and owners[seat] == ballot.rater:
            kept[ballot.unit].append(ballot)
    return kept


def _calculate_score(votes: Sequence[Ballot]) -> float:
    """Return the weighted mean score; it stays within [0, 1] whatever the weights."""
    total = sum(ballot.weight for ballot in votes)
    return sum(ballot.weight * (ballot.score or 0.0) for ballot in votes) / total


def average_seats(votes: Sequence[Ballot]) -> float:
    """Return the mean score over piles, of which each counts alike."""
    piles: dict[object, list[Ballot]] = defaultdict(list)
    for ballot in votes:
        piles[ballot.unit].append(ballot)
    return sum(map(_calculate_score, piles.values())) / len(piles)
