"""Several candidates and the champion on one set of prompts: who is better than whom, with the error held over all.

A unit (a rater's pile, or a region of prompts) holds every candidate's score against the champion. Each claim, "this
one beats the champion" and "this one beats that one", is a bet (see `betting`), so that leanings of any shape and a
look at any time are allowed for. The level is shared among all claims for the intervals (Bonferroni), and by Holm's
steps for the question who may go on.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import msgspec
import numpy as np

from services.evaluator.domain.votes.ballots import Ballot, average_seats, find_unit, keep_counted
from services.evaluator.domain.votes.betting import LEVEL, Design, Scores, calculate_interval, calculate_wealth
from services.evaluator.domain.votes.win_rate import Outcome, VotingPlan, count_votes, decide_voting


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


def rank(
    scores: Mapping[str, Scores], design: Design, level: float = LEVEL, paired: Mapping[str, Scores] | None = None
) -> Ranking:
    """Rank candidates by their scores, in [0, 1], in the order in which the units were complete.

    `paired` holds scores on the units that all candidates share, for the claims among them; without it `scores` does.

    Raises:
        ValueError: no candidate, or paired scores on another number of units.
    """
    names, shared = list(scores), scores if paired is None else paired
    if not names or len({len(shared[name]) for name in names}) != 1:
        raise ValueError("a ranking needs candidates, all with scores on the same units")
    pairs = list(combinations(names, 2))
    each = level / (len(names) + len(pairs))
    intervals = {name: calculate_interval(scores[name], design, each) for name in names}
    above = {(first, second) for pair in pairs for first, second in (pair, pair[::-1])}
    surely = {(one, other) for one, other in above if _beats(shared[one], shared[other], design, each)}
    beating = find_beating(scores, design, level)
    places = [_place(name, scores, intervals[name], name in beating, surely) for name in names]
    ordered = sorted(places, key=lambda place: -place.effect)
    winner = next((place.candidate for place in ordered if place.beats_champion), None)
    return Ranking(ordered, winner, len(shared[names[0]]), level)


def _beats(one: Scores, other: Scores, design: Design, level: float) -> bool:
    """Tell whether the paired differences refute, at any time, that the one is no better than the other."""
    return _find_evidence((one - other + 1) / 2, design) >= 1 / level


def _find_evidence(scores: Scores, design: Design) -> float:
    return float(calculate_wealth(scores, 0.5, design).max(initial=1.0))


def find_beating(scores: Mapping[str, Scores], design: Design, level: float = LEVEL) -> set[str]:
    """Return who surely beats the champion, by Holm's steps over the inverse of each one's wealth."""
    evidence = {name: _find_evidence(own, design) for name, own in scores.items()}
    levels = find_levels(evidence, level)
    return {name for name, own in evidence.items() if own >= 1 / levels[name]}


def find_levels(evidence: Mapping[str, float], level: float) -> dict[str, float]:
    """Return the level that each candidate is judged at, by Holm's steps; evidence of its inverse beats the champion.

    Evidence is the most that the bets on a candidate were worth. The strongest is held against the level over the
    number of candidates, the next, if that one passed, over one less; who comes after a failure shares its level.
    """
    levels: dict[str, float] = {}
    share, passed = level / max(1, len(evidence)), True
    for step, name in enumerate(sorted(evidence, key=lambda name: -evidence[name])):
        share = level / (len(evidence) - step) if passed else share
        passed = passed and evidence[name] >= 1 / share
        levels[name] = share
    return levels


def split_candidates(ballots: Sequence[Ballot], seats: int | None = None) -> dict[str, list[Ballot]]:
    """Return each candidate's ballots, without votes that do not count: a pile has one rater for all candidates."""
    split: dict[str, list[Ballot]] = defaultdict(list)
    for ballot in keep_counted(ballots, seats):
        split[ballot.candidate].append(ballot)
    return dict(split)


def share_level(
    split: Mapping[str, Sequence[Ballot]], plan: VotingPlan, *, complete_only: bool = False
) -> dict[str, VotingPlan]:
    """Return the plan that each candidate is judged by: the same but for its share of the level."""
    evidence = {}
    for name, own in split.items():
        wealth, _ = count_votes(own, plan, complete_only=complete_only).find_wealth()
        evidence[name] = float(wealth.max(initial=1.0))
    levels = find_levels(evidence, plan.level)
    return {name: msgspec.structs.replace(plan, level=levels[name]) for name in split}


def decide_tournament(ballots: Sequence[Ballot], plan: VotingPlan) -> Outcome:
    """Tell whether voting goes on: until it does for none of the candidates. See `decide_voting`."""
    split = split_candidates(ballots, plan.seats)
    if len(split) < 2:
        return decide_voting(ballots, plan)
    plans = share_level(split, plan, complete_only=True)
    outcomes = [decide_voting(own, plans[name]) for name, own in split.items()]
    ends: tuple[Outcome, ...] = ("go on", "decided", "exhausted", "futile")
    return next(outcome for outcome in ends if outcome in outcomes)


def pair_scores(split: Mapping[str, Sequence[Ballot]], seats: int | None = None) -> dict[str, Scores]:
    """Return each candidate's scores on the units in which all have every vote, in the order in which they had it.

    Equal answers in such a unit are ties; units in which nobody was asked are none.
    """
    units: dict[object, list[Ballot]] = defaultdict(list)
    for own in split.values():
        for ballot in own:
            units[find_unit(ballot.unit, seats)].append(ballot)
    whole = [units[name] for name in units if _is_whole(units[name], set(split))]
    whole.sort(key=lambda unit: max(ballot.cast for ballot in unit) if seats is None else unit[0].pile or 0)
    return {name: np.array([_average(unit, name) for unit in whole], dtype=float) for name in split}


def _is_whole(unit: Sequence[Ballot], candidates: set[str]) -> bool:
    """Tell whether somebody was asked here, of every candidate, and answered everything."""
    present = {ballot.candidate for ballot in unit} == candidates
    return present and any(each.is_asked for each in unit) and all(each.vote is not None for each in unit)


def _average(unit: Sequence[Ballot], candidate: str) -> float:
    return average_seats([ballot for ballot in unit if ballot.candidate == candidate])


def _place(
    name: str,
    scores: Mapping[str, Scores],
    interval: tuple[float, float],
    beats_champion: bool,
    surely: set[tuple[str, str]],
) -> Place:
    low, high = interval
    effect = float(np.mean(scores[name])) if scores[name].size else 0.5
    better = sum((other, name) in surely for other in scores) + (high < 0.5)
    worse = sum((name, other) in surely for other in scores) + (low > 0.5)
    return Place(name, effect, low, high, beats_champion, 1 + better, len(scores) + 1 - worse)


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
