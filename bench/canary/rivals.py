"""The rules beside ours: fixed thresholds, a z-test looked at again and again, mSPRT, and the first edition's."""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from bench.canary.worlds import Bools, Floats, Heard, Ints

LOOK = 100
"""Users between two looks."""


@dataclass
class Counting:
    """Keeps votes of both arms, [arm, run], over the whole rollout or anew in each stage."""

    runs: int
    alpha: float = 0.05
    delta: float = 0.05
    votes: Floats = field(init=False)
    ups: Floats = field(init=False)
    stage_votes: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.votes, self.ups = np.zeros((2, self.runs)), np.zeros((2, self.runs))
        self.stage_votes = np.zeros((2, self.runs))
        self.looked = np.zeros(self.runs, int)

    def begin_stage(self, which: Ints) -> None:
        self.stage_votes[:, which] = 0

    def hear(self, which: Ints, heard: Heard) -> None:
        self.votes[:, which] += heard.ups + heard.downs
        self.stage_votes[:, which] += heard.ups + heard.downs
        self.ups[:, which] += heard.ups

    def _looks(self, which: Ints) -> Bools:
        """Tell which runs have reached their next look."""
        number = (self.votes[:, which].sum(axis=0) // LOOK).astype(int)
        looks: Bools = number > self.looked[which]
        self.looked[which] = number
        return looks

    def _compare(self, which: Ints) -> tuple[Floats, Floats]:
        """Return the canary's rate less the champion's, and its variance."""
        votes = np.maximum(self.votes[:, which], 1)
        rates = (self.ups[:, which] + 0.5) / (votes + 1)
        return rates[1] - rates[0], (rates * (1 - rates) / votes).sum(axis=0)


@dataclass
class FixedThresholds(Counting):
    """Argo Rollouts and Flagger: the canary's rate since the last look against a number; 3 failures roll back."""

    name: str = "fixed thresholds"
    least: float = 0.75
    failures_allowed: int = 2
    looks_a_stage: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.window, self.failures = np.zeros((2, self.runs)), np.zeros(self.runs, int)
        self.passed = np.zeros(self.runs, int)

    def begin_stage(self, which: Ints) -> None:
        super().begin_stage(which)
        self.failures[which] = self.passed[which] = 0
        self.window[:, which] = 0

    def hear(self, which: Ints, heard: Heard) -> None:
        super().hear(which, heard)
        self.window[0, which] += heard.ups[1] + heard.downs[1]
        self.window[1, which] += heard.ups[1]

    def decide(self, which: Ints, stages: Ints) -> tuple[Bools, Bools]:
        votes, ups = self.window[:, which]
        looks = votes >= 20
        failed = looks & (ups < self.least * votes)
        self.failures[which] += failed
        self.passed[which] += looks & ~failed
        self.window[:, which[looks]] = 0
        return self.failures[which] > self.failures_allowed, self.passed[which] >= self.looks_a_stage


@dataclass
class PeekingTest(Counting):
    """A one-sided z-test at the 5% level on all votes so far, every 100 votes."""

    name: str = "peeking z-test"

    def decide(self, which: Ints, stages: Ints) -> tuple[Bools, Bools]:
        looks = self._looks(which) & np.all(self.votes[:, which] >= 10, axis=0)
        difference, variance = self._compare(which)
        error = np.sqrt(np.maximum(variance, 1e-9))
        harmed = looks & (ndtr(difference / error) < self.alpha)
        fine = looks & (ndtr((difference + self.delta) / error) > 1 - self.alpha)
        return harmed, fine & np.all(self.stage_votes[:, which] >= 5, axis=0)


@dataclass
class MixtureSprt(Counting):
    """The mixture sequential probability ratio test of Johari and others on the difference of rates, one-sided."""

    name: str = "mSPRT"
    prior: float = 0.01
    """Variance of the effect under the alternative."""

    def _log_ratio(self, difference: Floats, variance: Floats) -> Floats:
        return 0.5 * np.log(variance / (variance + self.prior)) + (self.prior * difference**2) / (
            2 * variance * (variance + self.prior)
        )

    def decide(self, which: Ints, stages: Ints) -> tuple[Bools, Bools]:
        looks = self._looks(which) & np.all(self.votes[:, which] >= 10, axis=0)
        difference, variance = self._compare(which)
        variance, bound = np.maximum(variance, 1e-9), np.log(1 / self.alpha)
        harmed = looks & (difference < 0) & (self._log_ratio(difference, variance) >= bound)
        above = difference + self.delta
        fine = looks & (above > 0) & (self._log_ratio(above, variance) >= bound)
        return harmed, fine & np.all(self.stage_votes[:, which] >= 5, axis=0)


@dataclass
class FirstEdition(Counting):
    """Release 0.1.0: two e-processes on first thumbs, carried on from stage to stage."""

    name: str = "first edition"
    log: Floats = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.log = np.zeros((2, self.runs))

    def hear(self, which: Ints, heard: Heard) -> None:
        votes = heard.ups + heard.downs
        rates = (self.ups[:, which] + 0.5) / (self.votes[:, which] + 1)
        sizes = np.maximum(votes, 1e-9)
        pooled = (sizes * rates).sum(axis=0) / sizes.sum(axis=0)
        harm = _log_ratio(rates, np.stack([pooled, pooled]), votes, heard.ups)
        gain = _log_ratio(rates, project(rates, sizes, self.delta), votes, heard.ups)
        whole = (votes > 0).all(axis=0)
        self.log[0, which] += np.where(whole & (rates[1] < rates[0]), harm, 0)
        self.log[1, which] += np.where(whole & (rates[1] > rates[0] - self.delta), gain, 0)
        super().hear(which, heard)

    def decide(self, which: Ints, stages: Ints) -> tuple[Bools, Bools]:
        reached = self.log[:, which] >= np.log(1 / self.alpha)
        return reached[0], reached[1] & np.all(self.stage_votes[:, which] >= 5, axis=0)


def _log_ratio(rates: Floats, doubted: Floats, votes: Ints, ups: Ints) -> Floats:
    doubted = np.clip(doubted, 1e-9, 1 - 1e-9)
    total: Floats = (ups * np.log(rates / doubted) + (votes - ups) * np.log((1 - rates) / (1 - doubted))).sum(axis=0)
    return total


def project(rates: Floats, sizes: Floats, delta: float) -> Floats:
    """Return the nearest point, in KL divergence, where the canary is worse by delta, by bisection."""
    low, high = np.full(rates.shape[1], delta), np.ones(rates.shape[1])
    for _ in range(14):
        champion = (low + high) / 2
        canary = champion - delta
        slope = sizes[0] * (champion - rates[0]) / (champion * (1 - champion))
        slope = slope + sizes[1] * (canary - rates[1]) / (canary * (1 - canary))
        low, high = np.where(slope < 0, champion, low), np.where(slope < 0, high, champion)
    return np.stack([low, low - delta])
