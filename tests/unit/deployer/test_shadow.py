"""A candidate in its shadow: what ends it, what holds it, and how often that is wrong."""

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from services.deployer.domain.shadow import (
    Comparison,
    MirroredAnswer,
    assess_shadow,
    read_shadow,
    weigh_differences,
)
from tests.unit.deployer.limits import make_limits

LIMITS = make_limits(shadow_percent=10.0, deadline_seconds=14 * 86_400)
FINE = MirroredAnswer(failed=False, refused=False, words=40, seconds=1.0)
SAME = Comparison(FINE, FINE, 0)


def spread(comparisons: list[Comparison]) -> list[Comparison]:
    """Let each be of a user of its own."""
    return [replace(comparison, group=number) for number, comparison in enumerate(comparisons)]


def decide(comparisons: list[Comparison], days: float = 0) -> tuple[str, str]:
    """Decide by comparisons of as many users."""
    return decide_of(spread(comparisons), days)


def decide_of(comparisons: list[Comparison], days: float = 0) -> tuple[str, str]:
    decision = assess_shadow(read_shadow(comparisons, LIMITS), comparisons, timedelta(days=days), LIMITS)
    return decision.action, decision.summary


def candidates(**changes: object) -> Comparison:
    return Comparison(FINE, replace(FINE, **changes), 0)  # type: ignore[arg-type]


def test_nothing_found_in_enough_prompts_lets_the_first_users_come():
    assert decide([SAME] * 199) == (
        "hold",
        "1 more prompts needed in the shadow: of each user 10 count, and 199 asked so far",
    )
    assert decide([SAME] * 200)[0] == "advance"


@pytest.mark.parametrize(
    ("comparison", "name"),
    [
        (candidates(failed=True), "failures"),
        (candidates(refused=True), "refusals"),
        (candidates(seconds=3.0), "latency"),
        (Comparison(FINE, FINE, 0, 0.0), "judge"),
    ],
)
def test_a_candidate_that_is_worse_in_one_way_is_ended_for_it(comparison: Comparison, name: str):
    action, summary = decide([*[SAME] * 60, *[comparison, SAME] * 60])
    assert (action, f"worse in its shadow: {name}" in summary) == ("abort", True), summary


@pytest.mark.parametrize(("words", "name"), [(200, "longer"), (5, "shorter")])
def test_answers_of_another_length_are_for_a_person_to_judge_until_the_deadline(words: int, name: str):
    comparisons = [candidates(words=words)] * 250
    assert decide(comparisons)[0] == "hold"
    assert f"held in its shadow: {name}" in decide(comparisons)[1]
    action, summary = decide(comparisons, days=14)
    assert action == "abort"
    assert summary.startswith("undecided after 14 days in its shadow: held in its shadow")


def test_prompts_that_do_not_come_end_the_shadow_with_the_reason():
    assert decide([SAME] * 20, days=14) == (
        "abort",
        "undecided after 14 days in its shadow: 180 more prompts needed in the shadow: of each user 10 count, and 20"
        " asked so far",
    )


def test_an_outage_of_both_ends_nothing():
    both = replace(FINE, failed=True)
    assert decide([SAME] * 50 + [Comparison(both, both, 0)] * 100 + [SAME] * 50)[0] == "advance"


def test_what_is_slow_is_told_by_the_champions_first_answers_which_are_not_tested():
    assert decide([candidates(seconds=9.0)] * 50)[0] == "hold"


def draw(rng: Random) -> Comparison:
    """Two answers of one quality, to prompts that are easy or hard for both; or hard for one of them, in turn."""
    hard, odd = rng.random() < 0.3, rng.random() < 0.3
    fails = [rng.random() < (0.2 if hard else 0.02) for _ in range(2)]
    if odd and fails[0] != fails[1] and rng.random() < 0.5:
        fails.reverse()
    refuses = rng.random() < 0.3
    sides = [
        MirroredAnswer(fails[side], refuses == bool(side), rng.randint(10, 40), rng.expovariate(1.0)) for side in (0, 1)
    ]
    rng.shuffle(sides)
    return Comparison(sides[0], sides[1], 0, rng.choice([0.0, 0.25, 0.5, 0.75, 1.0]))


def test_a_candidate_as_good_as_the_champion_is_ended_no_more_often_than_alpha():
    """Each refuses where the other does not: the two answers to a prompt are as dependent as can be."""
    rng, runs = Random(41), 400
    ended = sum(decide([draw(rng) for _ in range(200)])[0] == "abort" for _ in range(runs))
    assert ended / runs <= LIMITS.alpha + 2.6 * (LIMITS.alpha * (1 - LIMITS.alpha) / runs) ** 0.5


def test_one_that_refuses_a_tenth_more_is_ended_in_most_runs():
    rng, runs = Random(42), 100
    refusing = [[candidates(refused=True) if rng.random() < 0.1 else SAME for _ in range(200)] for _ in range(runs)]
    assert sum(decide(comparisons)[0] == "abort" for comparisons in refusing) >= 0.8 * runs


def test_prompts_of_a_few_users_end_no_shadow_however_many_they_are():
    """A user whose every prompt only the candidate fails on weighs as one; nine of them are too few, twelve are not."""
    failing = [replace(candidates(failed=True), group=number % 9) for number in range(2_000)]
    assert decide_of(failing)[0] == "advance"
    assert decide([SAME] * 20 + [candidates(failed=True)] * 12)[0] == "abort"


def test_users_who_differ_end_a_shadow_no_more_often_than_alpha_however_much_each_asks():
    """On average nobody is worse served; half of the users get better answers by the candidate, half worse ones.

    Counted by prompts a tenth and more of such shadows were ended.
    """
    rng, runs, users = Random(43), 400, 60
    ended = 0
    for _ in range(runs):
        likes = [rng.choice([0.1, 0.9]) for _ in range(users)]
        asked = [user for user in range(users) for _ in range(rng.choice([1, 10]))]
        rng.shuffle(asked)
        comparisons = [Comparison(FINE, FINE, user, float(rng.random() < likes[user])) for user in asked]
        ended += decide_of(comparisons)[0] == "abort"
    assert ended / runs <= LIMITS.alpha + 2.6 * (LIMITS.alpha * (1 - LIMITS.alpha) / runs) ** 0.5


def test_an_e_value_needs_differences_in_one_direction():
    assert weigh_differences([0.0] * 100) == 1.0
    assert weigh_differences([1.0] * 100) == 1.0
    assert weigh_differences([-1.0] * 10) > 80
