"""95% intervals for the gates, and the smallest effects that they can see."""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
POWER = 0.8
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
Z_POWER = NormalDist().inv_cdf(POWER)

Interval = tuple[float, float]


def calculate_share_interval(successes: float, n: int) -> Interval:
    """Return Clopper-Pearson's interval (Biometrika 26, 1934) for a share, `successes` possibly fractional.

    For `n` independent means in [0, 1], such as the mean vote on each of `n` prompts, it is conservative: no such mean
    varies more than a single yes or no of the same expectation, whatever the correlation of the votes behind it.
    Wilson's interval is shorter, but dips below 95% when the votes on a prompt always agree (see the simulation in the
    tests).
    """
    if n == 0:
        return 0.0, 1.0
    tail = (1 - CONFIDENCE) / 2
    low = float(stats.beta.ppf(tail, successes, n - successes + 1)) if successes > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, successes + 1, n - successes)) if successes < n else 1.0
    return low, high


def calculate_paired_interval(only_first: int, only_second: int, n: int) -> Interval:
    """Bound the difference of two shares on the same `n` items, from the items where only one of them has the trait.

    Wald's interval with half an item added to each cell (Agresti and Min, Statistics in Medicine 24, 2005).
    """
    first, second, total = only_first + 0.5, only_second + 0.5, n + 2
    difference = (first - second) / total
    error = math.sqrt(first + second - (first - second) ** 2 / total) / total
    return max(-1.0, difference - Z * error), min(1.0, difference + Z * error)


def calculate_ratio_interval(numerators: list[float], denominators: list[float]) -> Interval:
    """Bound the ratio of two means over the same items (the ratio estimator of survey sampling: Cochran 1977, 6.4)."""
    n = len(numerators)
    mean = sum(denominators) / n
    ratio = sum(numerators) / sum(denominators)
    residuals = [top - ratio * bottom for top, bottom in zip(numerators, denominators, strict=True)]
    error = math.sqrt(sum(residual**2 for residual in residuals) / max(1, n - 1) / n) / mean
    return ratio - Z * error, ratio + Z * error


def calculate_mean_interval(values: NDArray[np.float64]) -> Interval:
    """Bound a mean by Student's interval."""
    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    return float(values.mean()) - half, float(values.mean()) + half
