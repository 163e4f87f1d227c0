"""The two e-processes, against known truth.

Claims: whatever the true rates and however often one looks, a canary that is not worse is rolled back with probability
at most alpha, and one that is worse by delta or more advances with probability at most alpha.
"""

import itertools
import math

import numpy as np
import pytest

from services.deployer.domain.evidence import (
    Block,
    Counts,
    Vote,
    calculate_advance_factor,
    calculate_evidence,
    calculate_rollback_factor,
    derive_blocks,
    estimate_missing_votes,
)

ALPHA = 0.05
DELTA = 0.05
GRID = np.linspace(0.02, 0.98, 13)


def expected_factor(factor, rates, truth, sizes):
    """Exact expectation of a block's factor under true rates, by enumeration over how many said yes."""
    total = 0.0
    for ups in itertools.product(range(sizes[0] + 1), range(sizes[1] + 1)):
        probability = math.prod(
            math.comb(size, up) * rate**up * (1 - rate) ** (size - up)
            for size, up, rate in zip(sizes, ups, truth, strict=True)
        )
        total += probability * math.exp(factor(rates, Block(Counts(sizes[0], ups[0]), Counts(sizes[1], ups[1]))))
    return total


@pytest.mark.parametrize("sizes", [(1, 1), (3, 1), (1, 2)])
def test_a_rollback_factor_is_worth_at_most_one_wherever_the_canary_is_not_worse(sizes):
    for rates in itertools.product((0.2, 0.5, 0.8), repeat=2):
        for champion, canary in itertools.product(GRID, repeat=2):
            if canary >= champion:
                assert expected_factor(calculate_rollback_factor, rates, (champion, canary), sizes) <= 1 + 1e-9


@pytest.mark.parametrize("sizes", [(1, 1), (3, 1), (1, 2)])
def test_an_advance_factor_is_worth_at_most_one_wherever_the_canary_is_worse_by_delta(sizes):
    def factor(rates, block):
        return calculate_advance_factor(rates, block, DELTA)

    for rates in itertools.product((0.2, 0.5, 0.8), repeat=2):
        for champion, canary in itertools.product(GRID, repeat=2):
            if canary <= champion - DELTA:
                assert expected_factor(factor, rates, (champion, canary), sizes) <= 1 + 1e-9


def simulate(champion: float, canary: float, *, seed: int, votes: int = 400, share: float = 0.25):
    """Largest log e-values that were ever seen in one rollout, looking after every vote."""
    rng = np.random.default_rng(seed)
    arms = rng.random(votes) < share
    ups = rng.random(votes) < np.where(arms, canary, champion)
    stream = [Vote("canary" if arm else "champion", bool(up)) for arm, up in zip(arms, ups, strict=True)]
    rollback = advance = 0.0
    seen = [Counts(), Counts()]
    highest = [0.0, 0.0]
    for block in derive_blocks(stream):
        rates = (seen[0].estimate, seen[1].estimate)
        rollback += calculate_rollback_factor(rates, block)
        advance += calculate_advance_factor(rates, block, DELTA)
        seen = [seen[0].merge(block.champion), seen[1].merge(block.canary)]
        highest = [max(highest[0], rollback), max(highest[1], advance)]
    return highest


def share_reaching(champion: float, canary: float, which: int, runs: int, **options) -> float:
    bound = math.log(1 / ALPHA)
    return sum(simulate(champion, canary, seed=seed, **options)[which] >= bound for seed in range(runs)) / runs


@pytest.mark.parametrize(("champion", "canary"), [(0.8, 0.8), (0.5, 0.85), (0.3, 0.3)])
def test_a_canary_that_is_not_worse_is_rolled_back_at_most_at_level_alpha(champion, canary):
    assert share_reaching(champion, canary, 0, runs=300) <= ALPHA + 0.02


@pytest.mark.parametrize(("champion", "canary"), [(0.8, 0.75), (0.6, 0.5)])
def test_a_canary_that_is_worse_by_delta_advances_at_most_at_level_alpha(champion, canary):
    assert share_reaching(champion, canary, 1, runs=300) <= ALPHA + 0.02


def test_a_canary_that_got_much_better_never_comes_near_a_rollback():
    assert max(simulate(0.5, 0.85, seed=seed)[0] for seed in range(100)) < math.log(1 / ALPHA)


def test_real_harm_is_found():
    assert share_reaching(0.8, 0.5, 0, runs=100, votes=600) >= 0.95


def test_a_real_improvement_advances_within_a_hundred_and_fifty_votes():
    assert share_reaching(0.25, 0.7, 1, runs=100, votes=150) >= 0.9


def test_a_block_ends_when_both_arms_have_voted_whatever_they_said():
    arms = ("champion", "champion", "canary", "canary", "champion", "champion")
    for ups in itertools.product((True, False), repeat=6):
        blocks = derive_blocks(Vote(arm, up) for arm, up in zip(arms, ups, strict=True))
        assert [(block.champion.votes, block.canary.votes) for block in blocks] == [(2, 1), (1, 1)]


def test_evidence_is_the_same_however_the_votes_were_batched_into_stages():
    votes = [Vote("canary" if number % 4 == 0 else "champion", number % 3 == 0) for number in range(80)]
    once = calculate_evidence(votes, delta=DELTA)
    assert once == calculate_evidence(list(votes), delta=DELTA)
    assert (once.champion.votes, once.canary.votes) == (60, 20)


def test_missing_votes_are_few_when_the_canary_is_clearly_better_and_none_can_be_named_when_it_is_worse():
    better = calculate_evidence([Vote("canary", True), Vote("champion", False)] * 5, delta=DELTA)
    worse = calculate_evidence([Vote("canary", False), Vote("champion", True)] * 5, delta=DELTA)
    missing = estimate_missing_votes(better, delta=DELTA, alpha=ALPHA)
    assert missing is not None
    assert missing < 20
    assert estimate_missing_votes(worse, delta=DELTA, alpha=ALPHA) is None
