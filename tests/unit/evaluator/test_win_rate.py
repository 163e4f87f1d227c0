"""Win rate, its interval, and the simulation behind the interval's promise."""

from collections.abc import Sequence

import numpy as np
import pytest

from services.evaluator.domain.intervals import calculate_paired_interval, calculate_share_interval
from services.evaluator.domain.win_rate import Ballot, Vote, assess_win_rate, calculate_left_share, derive_prompt_scores


def ballots(scores: Sequence[tuple[Vote | None, Vote | None]]) -> list[Ballot]:
    """For each prompt the votes at its two looks; the candidate is left at the first, right at the second."""
    return [
        ballot
        for number, (first, second) in enumerate(scores)
        for ballot in (Ballot(f"prompt-{number}", True, first), Ballot(f"prompt-{number}", False, second))
    ]


def test_a_prompt_scores_the_mean_of_its_votes_with_ties_half() -> None:
    cast = ballots([("left", "right"), ("left", "left"), ("tie", "right"), ("right", None), (None, None)])
    assert derive_prompt_scores(cast) == {"prompt-0": 1.0, "prompt-1": 0.5, "prompt-2": 0.75, "prompt-3": 0.0}


def test_who_always_votes_left_says_nothing_about_the_candidate() -> None:
    votes: list[tuple[Vote, Vote]] = [("left", "left")] * 40
    cast = ballots(votes)
    gate = assess_win_rate(cast, 0.8)
    assert gate.effect == 0.5
    assert gate.verdict == "inconclusive"
    assert calculate_left_share(cast) == 1.0


@pytest.mark.parametrize(
    ("wins", "verdict"), [(60, "pass"), (39, "pass"), (38, "inconclusive"), (22, "inconclusive"), (21, "fail")]
)
def test_the_whole_interval_must_lie_above_one_half_to_pass(wins: int, verdict: str) -> None:
    won: list[tuple[Vote, Vote]] = [("left", "right")] * wins
    lost: list[tuple[Vote, Vote]] = [("right", "left")] * (60 - wins)
    gate = assess_win_rate(ballots(won + lost), 1.0)
    assert gate.verdict == verdict
    assert gate.n == 60
    assert gate.low is not None
    assert gate.high is not None
    assert gate.low <= wins / 60 <= gate.high
    assert gate.minimum_detectable_effect == pytest.approx(0.181, abs=0.001)


def test_too_few_votes_are_inconclusive_and_say_how_many_came() -> None:
    votes: list[tuple[Vote | None, Vote | None]] = [("left", "right")] * 30
    gate = assess_win_rate(ballots(votes + [(None, None)] * 30), 0.8)
    assert gate.verdict == "inconclusive"
    assert gate.effect is None
    assert gate.summary == "60 of 120 votes were cast before the deadline; 80% are needed"


def test_no_comparison_at_all_is_inconclusive() -> None:
    assert assess_win_rate([], 0.0).verdict == "inconclusive"


@pytest.mark.parametrize("prompts", [20, 60, 120])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rate", [0.3, 0.5, 0.75, 0.9])
def test_the_interval_covers_the_true_rate_95_times_in_100_with_two_correlated_votes(
    prompts: int, correlation: float, rate: float
) -> None:
    """The promise is at least 95% for any correlation; 5,000 rounds leave an error of 0.3 points."""
    random = np.random.default_rng([prompts, int(correlation * 10), int(rate * 100)])
    rounds = 5_000
    if correlation == 1.0:
        taste = (random.random((rounds, prompts)) < rate).astype(float)
    elif correlation == 0.0:
        taste = np.full((rounds, prompts), rate)
    else:
        spread = (1 - correlation) / correlation
        taste = random.beta(rate * spread, (1 - rate) * spread, (rounds, prompts))
    votes = random.random((rounds, prompts, 2)) < taste[..., None]
    totals, counts = np.unique(votes.mean(axis=2).sum(axis=1), return_counts=True)
    intervals = [calculate_share_interval(float(total), prompts) for total in totals]
    covered = sum(int(count) for (low, high), count in zip(intervals, counts, strict=True) if low <= rate <= high)
    assert covered / rounds >= 0.95 - 0.006


def test_a_paired_interval_narrows_with_n_and_follows_the_discordant_items() -> None:
    low, high = calculate_paired_interval(9, 0, 60)
    assert 0.05 < low < 0.15 < high
    assert calculate_paired_interval(0, 0, 60) == pytest.approx((-0.0316, 0.0316), abs=0.001)
