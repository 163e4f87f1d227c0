"""A tournament: no null candidate is called better too often, however many there are, and the best one is found."""

import numpy as np
import pytest

from bench.gates.voting import draw_scores
from services.evaluator.domain.votes.tournament import describe, find_beating, rank
from services.evaluator.domain.votes.win_rate import VotingPlan

DESIGN = VotingPlan().find_design(6)


def draw(
    random: np.random.Generator, raters: int, effects: list[float], leaning: str = "normal"
) -> dict[str, np.ndarray]:
    """Draw scores of candidates by the same raters, who lean alike for all of them by half."""
    shared, truth = draw_scores(random, 1, raters, 6, 0.0, leaning, spread=0.2)
    found = {}
    for number, effect in enumerate(effects):
        own, mean = draw_scores(random, 1, raters, 6, effect, leaning, spread=0.2)
        found[f"c{number}"] = (own[0] - (mean - 0.5 - effect) + effect + shared[0] - (truth - 0.5)) / 2
    return found


@pytest.mark.parametrize("leaning", ["normal", "two camps"])
@pytest.mark.parametrize(("raters", "candidates"), [(10, 2), (20, 5)])
def test_over_all_candidates_a_false_winner_is_as_rare_as_promised(raters: int, candidates: int, leaning: str) -> None:
    """2.5% are promised; at 1,000 rounds three standard errors are 1.5 points."""
    random = np.random.default_rng(raters + candidates)
    nulls = (draw(random, raters, [0.0] * candidates, leaning) for _ in range(1_000))
    assert sum(bool(find_beating(scores, DESIGN)) for scores in nulls) / 1_000 <= 0.025 + 0.015


def test_a_false_order_or_an_interval_that_misses_is_as_rare_as_promised() -> None:
    """5% are promised, for both directions of all claims; at 100 rounds three standard errors are 6.5 points."""
    random = np.random.default_rng(0)
    wrong = 0
    for _ in range(100):
        ranking = rank(draw(random, 20, [0.0, 0.0, 0.0]), DESIGN)
        missed = any(not place.low <= 0.5 <= place.high for place in ranking.places)
        wrong += missed or any((place.best_rank, place.worst_rank) != (1, 4) for place in ranking.places)
    assert wrong / 100 <= 0.05 + 0.065


def test_the_best_candidate_wins_and_the_worst_is_last() -> None:
    random = np.random.default_rng(3)
    rankings = [rank(draw(random, 40, [0.3, 0.0, -0.3]), DESIGN) for _ in range(30)]
    assert np.mean([ranking.winner == "c0" for ranking in rankings]) >= 0.9
    best = [next(place for place in ranking.places if place.candidate == "c0") for ranking in rankings]
    assert np.mean([place.worst_rank <= 2 for place in best]) >= 0.8
    last = [next(place for place in ranking.places if place.candidate == "c2") for ranking in rankings]
    assert np.mean([place.best_rank >= 3 for place in last]) >= 0.8


def test_who_beats_the_champion_without_being_the_best_does_not_go_on() -> None:
    scores = {"good": np.full(30, 0.8), "better": np.full(30, 0.95), "same": np.full(30, 0.5)}
    ranking = rank(scores, DESIGN)
    assert (ranking.winner, [place.candidate for place in ranking.places]) == ("better", ["better", "good", "same"])
    assert [place.beats_champion for place in ranking.places] == [True, True, False]
    assert describe(ranking)["places"][0]["worst_rank"] <= 2


def test_a_ranking_of_nobody_or_of_other_units_is_refused() -> None:
    for scores in ({}, {"a": np.zeros(3), "b": np.zeros(4)}):
        with pytest.raises(ValueError, match="the same units"):
            rank(scores, DESIGN)
