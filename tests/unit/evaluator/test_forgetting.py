"""Forgetting: the test of a task keeps its level exactly, and sees a task that is gone."""

import pytest
from scipy import stats

from services.evaluator.domain.forgetting import LEVEL, calculate_p_value
from services.evaluator.domain.measures.suite import list_items

TASKS = {item.task for item in list_items()}


def sum_chances(n: int, level: float, lost: float, gained: float) -> float:
    """Return the chance of a p-value at the level or below, over all outcomes of `n` items."""
    return sum(
        float(stats.binom.pmf(first, n, lost) * stats.binom.pmf(second, n - first, gained / (1 - lost)))
        for first in range(n + 1)
        for second in range(n - first + 1)
        if calculate_p_value(first, second, n) <= level
    )


@pytest.mark.parametrize("n", [8, 14, 30])
@pytest.mark.parametrize("share", [0.013, 0.071, 0.2, 0.3337, 0.48])
def test_a_task_that_was_not_forgotten_is_called_so_as_seldom_as_said(n: int, share: float) -> None:
    """By enumeration, at shares of changed items that are not among those that the largest p-value is taken over."""
    for level in (LEVEL / len(TASKS), 0.05):
        assert sum_chances(n, level, share, share) <= level * 1.01


def test_a_task_of_which_next_to_nothing_is_left_is_found_in_95_of_100() -> None:
    """The champion solves 80% of its items, the candidate 5%, of six tasks one is forgotten."""
    counts = {task: sum(item.task == task for item in list_items()) for task in TASKS}
    assert set(counts.values()) == {14}
    assert sum_chances(14, LEVEL / len(TASKS), 0.8 * 0.95, 0.2 * 0.05) >= 0.95


@pytest.mark.parametrize(("lost", "gained"), [(6, 0), (9, 1), (12, 3)])
def test_it_says_no_less_than_the_conditional_test(lost: int, gained: int) -> None:
    conditional = stats.binomtest(lost, lost + gained, alternative="greater").pvalue
    assert 0 < calculate_p_value(lost, gained, 14 + gained) <= conditional
    assert calculate_p_value(gained, lost, 14 + gained) == calculate_p_value(0, 0, 14) == 1.0
