"""Votes on blind comparisons, and the units that they are evidence in."""

from collections import defaultdict
from collections.abc import Sequence
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


def derive_units(ballots: Sequence[Ballot], estimand: Estimand) -> dict[object, Unit]:
    """Return the units of evidence by pile: complete ones in the order in which they became so, then the others.

    For the population each rater has one pile and each pile one rater, the first to vote on it; any other vote does not
    count. So no two units share an opinion or a region of prompts. For the panel all votes count.
    """
    piles = _list_piles(ballots)
    cast = _list_counted(piles, estimand)
    begun = [name for name in cast if cast[name]]
    complete = {name: len(cast[name]) == len(piles[name]) for name in begun}
    begun.sort(key=lambda name: (not complete[name], cast[name][-1 if complete[name] else 0].cast))
    return {name: Unit(_calculate_score(cast[name]), len(cast[name]), complete[name]) for name in begun}


def keep_counted(ballots: Sequence[Ballot], estimand: Estimand) -> list[Ballot]:
    """Return the ballots, without the votes that do not count in their units."""
    counted = {id(ballot) for cast in _list_counted(_list_piles(ballots), estimand).values() for ballot in cast}
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


def _list_counted(piles: dict[object, list[Ballot]], estimand: Estimand) -> dict[object, list[Ballot]]:
    cast = {name: _list_cast(pile) for name, pile in piles.items()}
    return _keep_owners(cast) if estimand == "population" else cast


def _list_cast(pile: Sequence[Ballot]) -> list[Ballot]:
    return sorted((ballot for ballot in pile if ballot.vote is not None), key=lambda ballot: ballot.cast)


def _keep_owners(cast: dict[object, list[Ballot]]) -> dict[object, list[Ballot]]:
    """Keep of each pile the votes of whoever voted on it first, if it is the first pile that they voted on."""
    kept: dict[object, list[Ballot]] = {}
    owners: set[str | None] = set()
    for name in sorted((name for name in cast if cast[name]), key=lambda name: cast[name][0].cast):
        owner = cast[name][0].rater
        if owner not in owners:
            owners.add(owner)
            kept[name] = [ballot for ballot in cast[name] if ballot.rater == owner]
    return kept


def _calculate_score(votes: Sequence[Ballot]) -> float:
    """Return the weighted mean score; it stays within [0, 1] whatever the weights."""
    total = sum(ballot.weight for ballot in votes)
    return sum(ballot.weight * (ballot.score or 0.0) for ballot in votes) / total
