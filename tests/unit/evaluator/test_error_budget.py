"""Over all retrainings of a quarter no more null candidates pass than are allowed, in expectation."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.evaluator.domain.error_budget import LEAST_LEVEL, QUARTER, Spending, calculate_budget
from services.evaluator.domain.policy import Policy, dump_policy, read_policy
from services.evaluator.domain.votes.win_rate import VotingPlan

START = datetime(2026, 1, 1, tzinfo=UTC)


def retrain(random: np.random.Generator, candidates: int, allowed: float, *, stubborn: bool) -> list[Spending]:
    """Train null candidates over a quarter; who is stubborn trains once more, a day later, as soon as one fails."""
    tested: list[Spending] = []
    at = START
    for _ in range(candidates):
        at += timedelta(days=1) if stubborn else QUARTER / (candidates + 1)
        level = calculate_budget(tested, at, allowed, 0.025).next_level
        tested.append(Spending(at, level, bool(random.random() < level)))
        if stubborn and tested[-1].passed:
            break
    return tested


@pytest.mark.parametrize("stubborn", [False, True])
@pytest.mark.parametrize(("candidates", "allowed"), [(3, 0.05), (12, 0.1), (80, 0.25), (80, 0.5)])
def test_false_promotions_stay_within_the_budget(candidates: int, allowed: float, stubborn: bool) -> None:
    random = np.random.default_rng(candidates)
    runs = [retrain(random, candidates, allowed, stubborn=stubborn) for _ in range(1_500)]
    mean = np.mean([sum(each.passed for each in run) for run in runs])
    assert mean <= allowed + candidates * LEAST_LEVEL + 3 * np.sqrt(allowed / len(runs))
    assert max(sum(each.level for each in run) for run in runs) <= allowed + candidates * LEAST_LEVEL


def test_every_quarter_keeps_the_budget_whatever_the_order_in_which_levels_are_given() -> None:
    """A slow evaluation is given its level after others that were opened later, and may not spend theirs again."""
    random, days = np.random.default_rng(5), 300
    opened = [START + timedelta(days=float(day)) for day in np.sort(random.uniform(0, days, 400))]
    tested: list[Spending] = []
    for number in np.argsort(np.arange(400) + random.uniform(0, 60, 400)):
        level = calculate_budget(tested, opened[number], 0.1, 0.025).next_level
        tested.append(Spending(opened[number], level, False))
    for begin in opened:
        inside = [each.level for each in tested if begin <= each.at < begin + QUARTER]
        assert sum(inside) <= 0.1 + len(inside) * LEAST_LEVEL


def test_without_a_budget_the_same_retrainings_go_beyond_it() -> None:
    """What the budget is for: eighty candidates at 2.5% each are two false promotions."""
    random = np.random.default_rng(1)
    assert np.mean(random.random((1_500, 80)) < 0.025) * 80 > 1.5


def test_the_first_candidates_have_the_full_level_and_what_is_older_than_a_quarter_is_forgotten() -> None:
    tested = [Spending(START, 0.025, True)] * 16
    assert calculate_budget(tested, START, 0.5, 0.025).next_level == pytest.approx(0.025)
    many = [*tested, Spending(START, 0.1, False)]
    assert calculate_budget(many, START, 0.5, 0.025).next_level == LEAST_LEVEL
    later = calculate_budget(many, START + QUARTER, 0.5, 0.025)
    assert (later.next_level, later.tests, later.spent) == (0.025, 0, 0)


def test_an_evaluation_is_judged_at_the_level_that_was_left_for_it() -> None:
    stored = {"policy": dump_policy(Policy()), "error_budget": {"next_level": 0.001}}
    assert read_policy(stored).win_rate.level == 0.001
    assert VotingPlan(level=0.001).least_to_pass == 11
    assert read_policy({"policy": dump_policy(Policy())}) == Policy()
