"""The two e-processes, against known truth.

Claims: whatever the true rates and however often one looks, a canary that is not worse is rolled back with probability
at most alpha, and one that is worse by delta or more advances with probability at most alpha.
"""

import itertools
import math

import numpy as np
import pytest

from services.deployer.domain.evidence import (
    Arm,
    ArmVote,
    Block,
    Counts,
    Evidence,
    calculate_advance_factor,
    calculate_rollback_factor,
    estimate_missing_votes,
    extend_evidence,
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


RUNS = 2_000
BOUND = math.log(1 / ALPHA)


class Simulation:
    """Many rollouts at once, looked at after every vote: the domain's arithmetic, written a second time for arrays."""

    def __init__(self, champion: float, canary: float, *, votes: int, runs: int = RUNS, share: float = 0.25) -> None:
        rng = np.random.default_rng(20261122)
        self.canary_votes = rng.random((votes, runs)) < share
        self.ups = rng.random((votes, runs)) < np.where(self.canary_votes, canary, champion)
        self.log = {"rollback": np.zeros(runs), "advance": np.zeros(runs)}
        self.highest = {name: np.zeros(runs) for name in self.log}
        self.first_reached = {name: np.full(runs, np.inf) for name in self.log}
        self._run()

    def _run(self) -> None:
        runs = np.arange(self.ups.shape[1])
        seen, block = np.zeros((2, 2, runs.size)), np.zeros((2, 2, runs.size))  # [votes or ups, arm, run]
        for number, (arms, ups) in enumerate(zip(self.canary_votes.astype(int), self.ups, strict=True), start=1):
            block[0, arms, runs] += 1
            block[1, arms, runs] += ups
            whole = (block[0] > 0).all(axis=0)
            rates = (seen[1] + 0.5)[:, whole] / (seen[0] + 1)[:, whole]
            sizes, yes = block[:, :, whole]
            pooled = (sizes * rates).sum(axis=0) / sizes.sum(axis=0)
            harm = log_ratio(rates, np.stack([pooled, pooled]), sizes, yes)
            gain = log_ratio(rates, project(rates, sizes), sizes, yes)
            self.log["rollback"][whole] += np.where(rates[1] < rates[0], harm, 0)
            self.log["advance"][whole] += np.where(rates[1] > rates[0] - DELTA, gain, 0)
            seen[:, :, whole] += block[:, :, whole]
            block[:, :, whole] = 0
            for name, log in self.log.items():
                self.highest[name] = np.maximum(self.highest[name], log)
                reached = (log >= BOUND) & np.isinf(self.first_reached[name])
                self.first_reached[name][reached] = number

    def share_reaching(self, name: str) -> float:
        return float((self.highest[name] >= BOUND).mean())

    def votes_of(self, run: int) -> list[ArmVote]:
        arms = np.where(self.canary_votes[:, run], "canary", "champion")
        return [ArmVote(arm, bool(up)) for arm, up in zip(arms, self.ups[:, run], strict=True)]


def log_ratio(rates, doubted, sizes, yes):
    return (yes * np.log(rates / doubted) + (sizes - yes) * np.log((1 - rates) / (1 - doubted))).sum(axis=0)


def project(rates, sizes):
    low, high = np.full(rates.shape[1], DELTA), np.ones(rates.shape[1])
    for _ in range(38):
        champion = (low + high) / 2
        canary = champion - DELTA
        slope = sizes[0] * (champion - rates[0]) / (champion * (1 - champion))
        slope = slope + sizes[1] * (canary - rates[1]) / (canary * (1 - canary))
        low, high = np.where(slope < 0, champion, low), np.where(slope < 0, high, champion)
    return np.stack([low, low - DELTA])


def test_the_simulation_does_what_the_domain_does():
    simulation = Simulation(0.7, 0.6, votes=300, runs=20)
    for run in range(20):
        evidence = extend_evidence(Evidence(), simulation.votes_of(run), delta=DELTA)
        assert evidence.log_rollback == pytest.approx(simulation.log["rollback"][run], abs=1e-6)
        assert evidence.log_advance == pytest.approx(simulation.log["advance"][run], abs=1e-6)


@pytest.mark.parametrize(("champion", "canary"), [(0.8, 0.8), (0.5, 0.5), (0.3, 0.35)])
def test_a_canary_that_is_not_worse_is_rolled_back_at_most_at_level_alpha(champion, canary):
    assert Simulation(champion, canary, votes=600).share_reaching("rollback") <= ALPHA


@pytest.mark.parametrize(("champion", "canary"), [(0.8, 0.75), (0.5, 0.45), (0.6, 0.4)])
def test_a_canary_that_is_worse_by_delta_advances_at_most_at_level_alpha(champion, canary):
    assert Simulation(champion, canary, votes=600).share_reaching("advance") <= ALPHA


def test_the_level_holds_with_few_canary_votes_and_with_few_champion_votes():
    for share in (0.02, 0.95):
        assert Simulation(0.8, 0.8, votes=400, share=share).share_reaching("rollback") <= ALPHA
        assert Simulation(0.8, 0.75, votes=400, share=share).share_reaching("advance") <= ALPHA


def test_a_canary_that_got_much_better_is_never_rolled_back():
    assert Simulation(0.5, 0.85, votes=400).share_reaching("rollback") == 0


def test_real_harm_is_found():
    assert Simulation(0.8, 0.6, votes=600).share_reaching("rollback") >= 0.85


def test_a_real_improvement_advances_quickly():
    simulation = Simulation(0.2, 0.7, votes=300)
    assert simulation.share_reaching("advance") >= 0.99
    assert np.median(simulation.first_reached["advance"]) <= 60


def test_a_block_ends_when_both_arms_have_voted_whatever_they_said():
    arms: tuple[Arm, ...] = ("champion", "champion", "canary", "canary", "champion", "champion")
    for ups in itertools.product((True, False), repeat=6):
        sizes, evidence = [], Evidence()
        for arm, up in zip(arms, ups, strict=True):
            evidence = extend_evidence(evidence, [ArmVote(arm, up)], delta=DELTA)
            sizes.append((evidence.weighed.champion.votes, evidence.weighed.canary.votes))
        assert sizes == [(0, 0), (0, 0), (2, 1), (2, 1), (3, 2), (3, 2)]
        assert (evidence.champion.votes, evidence.canary.votes) == (4, 2)


@pytest.mark.parametrize("batch", [1, 7, 80])
def test_evidence_is_the_same_however_the_votes_came_in_batches(batch):
    votes = [ArmVote("canary" if number % 4 == 0 else "champion", number % 3 == 0) for number in range(80)]
    evidence = Evidence()
    for start in range(0, len(votes), batch):
        evidence = extend_evidence(evidence, votes[start : start + batch], delta=DELTA)
    assert evidence == extend_evidence(Evidence(), votes, delta=DELTA)
    assert (evidence.champion, evidence.canary) == (Counts(60, 20), Counts(20, 7))


def test_missing_votes_are_few_when_the_canary_is_clearly_better_and_none_can_be_named_when_it_is_worse():
    better = extend_evidence(Evidence(), [ArmVote("canary", True), ArmVote("champion", False)] * 5, delta=DELTA)
    worse = extend_evidence(Evidence(), [ArmVote("canary", False), ArmVote("champion", True)] * 5, delta=DELTA)
    missing = estimate_missing_votes(better, delta=DELTA, alpha=ALPHA)
    assert missing is not None
    assert missing < 20
    assert estimate_missing_votes(worse, delta=DELTA, alpha=ALPHA) is None
