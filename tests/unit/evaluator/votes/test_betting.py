"""The promises of the win rate, by simulation: level, coverage and power with raters who lean."""

from typing import Any

import numpy as np
import pytest

from services.evaluator.domain.intervals import (
    calculate_mean_interval,
    calculate_paired_interval,
    calculate_share_interval,
)
from services.evaluator.domain.votes.betting import (
    LEVEL,
    WEALTH_NEEDED,
    Design,
    calculate_interval,
    calculate_minimum_effect,
    calculate_wealth,
)
from services.evaluator.domain.votes.win_rate import VotingPlan

ROUNDS = 4_000
SLACK = 0.006
"""Two and a half standard errors of a share of 2.5% in 4,000 rounds."""
LEANINGS = ("normal", "two camps", "few zealots")


def draw_scores(random: Any, raters: int, votes: int, rate: float, leaning: str, rounds: int = ROUNDS) -> Any:
    """Raters' scores, each on a pile of prompts of their own: leaning, taste in prompts, two correlated looks."""
    shape = (rounds, raters)
    lean = {
        "normal": lambda: random.normal(0, 0.2, shape),
        "two camps": lambda: 0.2 * random.choice([-1.0, 1.0], shape),
        "few zealots": lambda: np.where(random.random(shape) < 0.2, -0.4, 0.1),
    }[leaning]()
    prompts = 0.2 * random.choice([-1.0, 1.0], (*shape, votes // 2))
    chance = rate + lean[..., None] + prompts
    # what is clipped above is clipped below as often, so that the mean stays the rate
    room = np.minimum(rate, 1 - rate)
    chance = rate + np.clip(chance - rate, -room, room) if leaning == "few zealots" else np.clip(chance, 0, 1)
    return random.binomial(2, chance).mean(axis=-1) / 2, chance


@pytest.mark.parametrize("leaning", LEANINGS)
@pytest.mark.parametrize("raters", [3, 6, 10, 30, 100])
def test_at_most_one_null_candidate_in_forty_passes_however_raters_lean_and_whenever_one_looks(
    raters: int, leaning: str
) -> None:
    random = np.random.default_rng([raters, LEANINGS.index(leaning)])
    for votes in (2, 10):
        scores, _ = draw_scores(random, raters, votes, 0.5, leaning)
        passed = calculate_wealth(scores, 0.5, VotingPlan().find_design(votes)).max(axis=-1) >= WEALTH_NEEDED
        assert passed.mean() <= LEVEL + SLACK


@pytest.mark.parametrize("raters", [3, 10, 100])
@pytest.mark.parametrize("prompts", [30, 100, 1_000])
@pytest.mark.parametrize("rate", [0.5, 0.7])
def test_the_interval_covers_at_least_what_it_promises(raters: int, prompts: int, rate: float) -> None:
    random = np.random.default_rng([raters, prompts, int(rate * 10)])
    votes = 2 * max(1, prompts // raters)
    design = VotingPlan().find_design(votes)
    scores, chance = draw_scores(random, raters, votes, rate, "normal", rounds=600)
    truth = float(chance.mean())  # clipping at 0 and 1 moves the mean a little
    low = calculate_wealth(scores, truth, design).max(axis=-1) >= WEALTH_NEEDED
    high = calculate_wealth(1 - scores, 1 - truth, design).max(axis=-1) >= WEALTH_NEEDED
    assert 1 - (low | high).mean() >= 0.95 - 0.02


def test_the_interval_is_what_the_bets_have_not_refuted() -> None:
    scores = np.array([0.8, 0.9, 0.6, 1.0, 0.7, 0.9, 0.8, 1.0])
    design = Design(0.15, 0.05)
    low, high = calculate_interval(scores, design)
    assert calculate_wealth(scores, low - 0.001, design).max() >= WEALTH_NEEDED
    assert calculate_wealth(scores, low, design).max() < WEALTH_NEEDED
    assert low < scores.mean() < high
    assert calculate_interval(np.array([]), design) == (0.0, 1.0)


@pytest.mark.parametrize("raters", [10, 30])
def test_the_smallest_visible_effect_is_seen_four_times_in_five(raters: int) -> None:
    random = np.random.default_rng(raters)
    votes = 10
    null, _ = draw_scores(random, raters, votes, 0.5, "normal", rounds=400)
    effect = calculate_minimum_effect(raters, float(null.var(axis=1, ddof=1).mean()))
    assert effect is not None
    scores, _ = draw_scores(random, raters, votes, 0.5 + effect, "normal")
    seen = calculate_wealth(scores, 0.5, VotingPlan().find_design(votes)).max(axis=-1) >= WEALTH_NEEDED
    assert 0.7 <= seen.mean() <= 0.97


def test_three_or_five_raters_can_show_nothing() -> None:
    assert [calculate_minimum_effect(raters, 0.0001) for raters in (3, 5)] == [None, None]


@pytest.mark.parametrize(("rate", "n"), [(0.5, 20), (0.9, 60), (0.02, 100)])
def test_a_share_is_within_its_interval_95_times_in_100(rate: float, n: int) -> None:
    counts = np.random.default_rng(n).binomial(n, rate, 2_000)
    intervals = {int(count): calculate_share_interval(float(count), n) for count in np.unique(counts)}
    covered = np.mean([intervals[int(count)][0] <= rate <= intervals[int(count)][1] for count in counts])
    assert covered >= 0.95 - 0.01


def test_a_paired_interval_narrows_with_n_and_follows_the_discordant_items() -> None:
    low, high = calculate_paired_interval(9, 0, 60)
    assert 0.05 < low < 0.15 < high
    assert calculate_paired_interval(0, 0, 60) == pytest.approx((-0.0626, 0.0626), abs=0.001)


def test_one_value_bounds_no_mean() -> None:
    assert calculate_mean_interval(np.array([1.0])) == (-np.inf, np.inf)
    assert calculate_mean_interval(np.array([1.0, 1.0, 1.0])) == (1.0, 1.0)
