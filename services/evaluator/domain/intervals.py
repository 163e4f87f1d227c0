"""95% intervals for the gates, and the smallest effects that they can see."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
POWER = 0.8
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
Z_POWER = NormalDist().inv_cdf(POWER)

SCORE_STEPS = 40

Interval = tuple[float, float]


def calculate_share_interval(successes: float, n: int, tail: float = (1 - CONFIDENCE) / 2) -> Interval:
    """Return Clopper-Pearson's interval (Biometrika 26, 1934) for a share, `successes` possibly fractional.

    Each side errs with `tail` at most.

    For `n` independent means in [0, 1], such as the mean vote on each of `n` prompts, it is conservative: no such mean
    varies more than a single yes or no of the same expectation, whatever the correlation of the votes behind it.
    Wilson's interval is shorter, but dips below 95% when the votes on a prompt always agree (see the simulation in the
    tests).
    """
    if n == 0:
        return 0.0, 1.0
    low = float(stats.beta.ppf(tail, successes, n - successes + 1)) if successes > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, successes + 1, n - successes)) if successes < n else 1.0
    return low, high


def calculate_paired_interval(only_first: float, only_second: float, n: int) -> Interval:
    """Bound the difference of two shares on the same `n` units, from those where only one of them has the trait.

    The score interval (Tango, Statistics in Medicine 17, 1998) with Student's quantile in place of the normal one: each
    side errs in at most 2.5% from 20 units on (exact enumeration in the tests). Where a unit is several answers, what
    only one side has of it may be a fraction: that varies less than a whole unit would, so that it stays conservative.
    """
    if n < 2:
        return -1.0, 1.0
    quantile = find_quantile(n)
    low, high = (
        _find_score_bound(*counts, n, quantile) for counts in ((only_second, only_first), (only_first, only_second))
    )
    return -low, high


def find_quantile(n: int) -> float:
    """Return Student's quantile for a 95% interval of `n` units."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, max(1, n - 1)))


def _find_score_bound(first: float, second: float, n: int, quantile: float) -> float:
    """Return the largest difference that the score test does not refute."""
    low, high = (first - second) / n, 1.0
    for _ in range(SCORE_STEPS):
        middle = (low + high) / 2
        shared = 2 * n - first + second
        slope = shared * middle - first - second
        root = math.sqrt(max(0.0, slope**2 + 8 * n * second * middle * (1 - middle)))
        nuisance = (root - slope) / (4 * n)
        variance = n * (2 * nuisance + middle * (1 - middle))
        refuted = n * middle - (first - second) > quantile * math.sqrt(max(variance, 0.0))
        low, high = (low, middle) if refuted else (middle, high)
    return high


def calculate_ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Bound the ratio of two means over the same units (the ratio estimator of survey sampling: Cochran 1977, 6.4).

    Each side is the wider one of Student's intervals for the ratio and for its logarithm: sums of few skewed figures
    are too small more often than too large.
    """
    n = len(numerators)
    mean = sum(denominators) / n
    ratio = sum(numerators) / sum(denominators)
    residuals = [top - ratio * bottom for top, bottom in zip(numerators, denominators, strict=True)]
    half = find_quantile(n) * math.sqrt(sum(residual**2 for residual in residuals) / max(1, n - 1) / n) / mean
    growth = math.exp(min(half / ratio, 50.0)) if ratio > 0 else 1.0
    return min(ratio - half, ratio / growth), max(ratio + half, ratio * growth)


def calculate_mean_interval(values: NDArray[np.float64]) -> Interval:
    """Bound a mean by Student's interval."""
    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    half = find_quantile(n) * float(values.std(ddof=1)) / math.sqrt(n)
    return float(values.mean()) - half, float(values.mean()) + half
