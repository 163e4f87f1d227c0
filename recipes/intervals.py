"""Intervals for shares and for their differences on the same prompts."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

RESAMPLES = 10_000


def estimate_share(hits: Sequence[bool]) -> tuple[float, float, float]:
    """Share, and its Wilson 95% interval."""
    interval = binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    return sum(hits) / len(hits), float(interval.low), float(interval.high)


def estimate_rise(before: Sequence[bool], after: Sequence[bool]) -> tuple[float, float, float]:
    """Return the difference of two shares measured on the same prompts, and its paired bootstrap 95% interval."""
    return estimate_mean([float(late) - float(early) for early, late in zip(before, after, strict=True)])


def estimate_mean(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean, and its bootstrap 95% interval."""
    sample = np.asarray(values, dtype=float)
    draws = np.random.default_rng(0).choice(sample, size=(RESAMPLES, len(sample)))
    low, high = np.quantile(draws.mean(axis=1), [0.025, 0.975])
    return float(sample.mean()), float(low), float(high)
