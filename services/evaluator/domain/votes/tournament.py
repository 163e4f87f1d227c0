"""Several candidates and the champion on one set of prompts: who is better than whom, with the error held over all.

A unit (a rater's pile, or a region of prompts) holds every candidate's score against the champion. Each claim, "this
one beats the champion" and "this one beats that one", is a bet (see `betting`), so that leanings of any shape and a
look at any time are allowed for. The level is shared among all claims for the intervals (Bonferroni), and by Holm's
steps for the question who may go on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from services.evaluator.domain.votes.betting import LEVEL, Design, Scores, calculate_interval, calculate_wealth


@dataclass(frozen=True)
class Place:
    """Where one candidate stands."""

    candidate: str
    effect: float
    """Its win rate against the champion."""
    low: float
    high: float
    """Of an interval that holds together with all others' and with all comparisons among candidates."""
    beats_champion: bool
    best_rank: int
    worst_rank: int
    """Among candidates and champion: all that is sure of its rank."""


@dataclass(frozen=True)
class Ranking:
    places: Sequence[Place]
    """By effect, the best first."""
    winner: str | None
    """Who may go on: of those that surely beat the champion the one with the largest effect."""
    units: int
    level: float


def rank(scores: Mapping[str, Scores], design: Design, level: float = LEVEL) -> Ranking:
    """Rank candidates by their scores on the same units, in [0, 1], in the order in which the units were complete.

    Raises:
        ValueError: no candidate, or scores on another number of units.
    """
    names = list(scores)
    if not names or len({len(scores[name]) for name in names}) != 1:
        raise ValueError("a ranking needs candidates, all with scores on the same units")
    pairs = list(combinations(names, 2))
    each = level / (len(names) + len(pairs))
    intervals = {name: calculate_interval(scores[name], design, each) for name in names}
    above = {(first, second) for pair in pairs for first, second in (pair, pair[::-1])}
    surely = {(one, other) for one, other in above if _beats(scores[one], scores[other], design, each)}
    beating = find_beating(scores, design, level)
    places = [_place(name, scores, intervals[name], name in beating, surely) for name in names]
    ordered = sorted(places, key=lambda place: -place.effect)
    winner = next((place.candidate for place in ordered if place.beats_champion), None)
    return Ranking(ordered, winner, len(scores[names[0]]), level)


def _beats(one: Scores, other: Scores, design: Design, level: float) -> bool:
    """Tell whether the paired differences refute, at any time, that the one is no better than the other."""
    return _find_evidence((one - other + 1) / 2, design) >= 1 / level


def _find_evidence(scores: Scores, design: Design) -> float:
    return float(calculate_wealth(scores, 0.5, design).max(initial=1.0))


def find_beating(scores: Mapping[str, Scores], design: Design, level: float = LEVEL) -> set[str]:
    """Return who surely beats the champion, by Holm's steps over the inverse of each one's wealth."""
    evidence = {name: _find_evidence(own, design) for name, own in scores.items()}
    ordered = sorted(evidence, key=lambda name: -evidence[name])
    beating: set[str] = set()
    for step, name in enumerate(ordered):
        if evidence[name] < (len(ordered) - step) / level:
            break
        beating.add(name)
    return beating


def _place(
    name: str,
    scores: Mapping[str, Scores],
    interval: tuple[float, float],
    beats_champion: bool,
    surely: set[tuple[str, str]],
) -> Place:
    low, high = interval
    better = sum((other, name) in surely for other in scores) + (high < 0.5)
    worse = sum((name, other) in surely for other in scores) + (low > 0.5)
    return Place(name, float(np.mean(scores[name])), low, high, beats_champion, 1 + better, len(scores) + 1 - worse)


def describe(ranking: Ranking) -> dict[str, Any]:
    """Describe a ranking as JSON values, for the report's `tournament`."""
    return {
        "winner": ranking.winner,
        "units": ranking.units,
        "level": ranking.level,
        "places": [
            {
                "candidate": place.candidate,
                "effect": place.effect,
                "low": place.low,
                "high": place.high,
                "beats_champion": place.beats_champion,
                "best_rank": place.best_rank,
                "worst_rank": place.worst_rank,
            }
            for place in ranking.places
        ],
    }
