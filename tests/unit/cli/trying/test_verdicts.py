"""What may be said of a model: the decision, and the promise of its interval."""

import numpy as np
import pytest

from cli.trying.verdicts import LEAST_UNITS, Estimate, Measure, Score, decide, estimate, estimate_in_order, has_decided

WON = Estimate(0.8, 0.62, 0.95, 30, 60)
LOST = Estimate(0.2, 0.05, 0.38, 30, 60)
OPEN = Estimate(0.55, 0.4, 0.7, 30, 60)
GOOD, COIN = Estimate(0.9, 0.75, 0.98, 40, 60), Estimate(0.55, 0.4, 0.7, 40, 60)


@pytest.mark.parametrize(
    ("measure", "verdict"),
    [
        (None, "cannot_say"),
        (Measure("judge", "a judge", WON, GOOD), "better"),
        (Measure("judge", "a judge", LOST, GOOD), "worse"),
        (Measure("judge", "a judge", OPEN, GOOD), "no_evidence"),
        (Measure("judge", "a judge", WON, COIN), "no_evidence"),
        (Measure("judge", "a judge", LOST, COIN), "no_evidence"),
        (Measure("judge", "a judge", WON, None), "cannot_say"),
        (Measure("judge", "a judge", WON, GOOD, failure="it went away"), "cannot_say"),
        (Measure("judge", "a judge", None, GOOD), "cannot_say"),
        (Measure("reward_model", "a model", WON, GOOD), "better"),
        (Measure("reward_model", "a model", WON, Estimate(0.7, 0.6, 0.8, 40, 60)), "cannot_say"),
        (Measure("reward_model", "a model", WON, Estimate(0.7, 0.601, 0.8, 40, 60)), "better"),
        (Measure("reward_model", "a model", WON, None), "cannot_say"),
        (Measure("rating", "you", WON), "better"),
        (Measure("rating", "you", LOST), "worse"),
        (Measure("rating", "you", None), "cannot_say"),
    ],
    ids=[
        "no measure", "judge won", "judge lost", "judge open", "judge of another taste", "judge of another taste lost",
        "judge held against nothing", "judge that failed", "judge of nothing", "reward model won",
        "reward model at the bound", "reward model above the bound", "reward model untried", "rating won",
        "rating lost", "rating of nothing",
    ],
)  # fmt: skip
def test_the_verdict_follows_from_interval_and_trust(measure: Measure | None, verdict: str) -> None:
    assert decide(measure).verdict == verdict


def test_no_evidence_says_how_many_more_regions_would_decide() -> None:
    decision = decide(Measure("rating", "you", Estimate(0.65, 0.4, 0.85, 10, 10)))
    assert decision.verdict == "no_evidence"
    assert decision.more_units is not None
    assert decision.more_units > 1


def test_an_even_result_would_be_decided_by_no_number() -> None:
    assert decide(Measure("rating", "you", Estimate(0.5, 0.3, 0.7, 10, 10))).more_units is None


def test_looks_of_one_region_are_one_piece_of_evidence() -> None:
    one_region = estimate([Score("a", 1.0)] * 50)
    many = estimate([Score(f"{at}", 1.0) for at in range(50)])
    assert one_region is not None
    assert many is not None
    assert (one_region.units, one_region.looks, many.units) == (1, 50, 50)
    assert one_region.low < 0.5 < many.low


def test_regions_that_all_agree_decide_from_the_stated_number_on() -> None:
    low = [
        found.low
        for n in (LEAST_UNITS - 1, LEAST_UNITS)
        if (found := estimate([Score(f"{at}", 1.0) for at in range(n)]))
    ]
    assert low[0] <= 0.5 < low[1]


def test_nothing_is_estimated_of_nothing() -> None:
    assert estimate([]) is None
    assert estimate_in_order([]) is None


def test_a_model_that_is_no_better_is_called_better_or_worse_in_one_of_twenty_at_most() -> None:
    """Claim: with 16 regions whose win rates spread about one half, at most 5% of verdicts are wrong, either way.

    The simulation draws votes of 5 prompts a region that lean together, as near copies do.
    """
    rng = np.random.default_rng(20_261_128)
    wrong = 0
    for _ in range(400):
        leanings = rng.beta(2, 2, size=16)
        scores = [
            Score(f"{at}", float(rng.random() < leaning)) for at, leaning in enumerate(leanings) for _ in range(5)
        ]
        wrong += decide(Measure("rating", "you", estimate(scores))).verdict != "no_evidence"
    assert wrong <= 0.05 * 400


def test_somebody_who_looks_after_every_vote_is_fooled_in_one_of_twenty_at_most() -> None:
    """Claim: a person without a preference, who stops as soon as it is clear, is told of one in 5% at most."""
    rng = np.random.default_rng(20_261_129)
    fooled = 0
    for _ in range(300):
        votes = list(rng.choice([0.0, 0.5, 1.0], p=[0.4, 0.2, 0.4], size=60))
        fooled += has_decided([float(vote) for vote in votes])
    assert fooled <= 0.05 * 300


def test_a_person_who_always_prefers_one_side_has_decided_after_seven_looks() -> None:
    assert not has_decided([1.0] * (LEAST_UNITS - 1))
    assert has_decided([1.0] * LEAST_UNITS)
    assert has_decided([0.0] * LEAST_UNITS)
