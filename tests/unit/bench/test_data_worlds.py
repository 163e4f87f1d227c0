"""Is epsilon the share of wrong pairs, and are colluders told from the others? In worlds whose truth is known."""

import pytest

from bench.data.measures import Measured, Outcome, calculate_ece, measure, measure_ends
from bench.data.ours import curate_story
from bench.data.worlds import WORLDS, tell_apart

SEEDS = (901, 902)
"""Neither those that the rules were tuned on nor those that the benchmark reports."""


def run(world: str, seeds: tuple[int, ...] = SEEDS) -> list[Measured]:
    return [measure(story, curate_story(story)) for story in map(WORLDS[world], seeds)]


@pytest.mark.parametrize("world", ["mixed", "mixed, audited"])
def test_epsilon_is_the_share_of_wrong_pairs(world: str) -> None:
    measured = run(world)
    epsilon = [value for one in measured for value in one.epsilon]
    wrong = [value for one in measured for value in one.wrong]
    assert calculate_ece(epsilon, wrong) < 0.03


@pytest.mark.parametrize("world", ["colluding, meeting others", "colluding, prompts of their own"])
def test_colluders_weigh_next_to_nothing_and_cost_no_honest_user(world: str) -> None:
    for one in run(world, SEEDS[:1]):
        assert one.figures["colluding weight"] < 0.05
        assert one.figures["honest set aside"] <= 0.01


def test_the_error_of_calibration_sees_doubt_without_cause() -> None:
    assert calculate_ece([0.15] * 100, [False] * 100) == pytest.approx(0.15)
    assert calculate_ece([0.1] * 100, [number < 10 for number in range(100)]) == pytest.approx(0)


def test_a_group_with_words_of_its_own_is_measured() -> None:
    story = tell_apart(SEEDS[0], 0.2, honest=False)
    assert measure_ends(story)["raw, correct pairs"] < measure_ends(story)["oracle, correct pairs"]


def test_a_curator_that_keeps_nothing_teaches_nothing() -> None:
    story = WORLDS["imports"](SEEDS[0])
    kept_none = measure(story, Outcome([], frozenset(story.honest), frozenset())).figures
    assert kept_none == {"correct pairs": 0.5, "accuracy": 0.5, "honest set aside": 1.0, "calibration error": 0.0}
