"""Evidence about a bounded mean that stays valid whenever one looks: bets against it, unit by unit.

Wealth starts at 1. If the mean is at most `mean`, each bet loses on average, so that wealth reaches `1/level` with a
chance of `level` at most, at any time and whatever the scores' distribution (Ville 1939; Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", JRSS B 86, 2024). The only assumption is that no unit's
score leans, given those before it: so a unit is whoever's scores may lean together.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.025
"""Of each side: a 95% interval, and a promise that at most one null candidate in forty passes."""
WEALTH_NEEDED = 1 / LEVEL
"""At the default level; where a level is given, its inverse."""
BOLDEST = 0.9
"""The largest part of the wealth that one unit can lose."""
GRID = np.linspace(0.0, 1.0, 1001)
POWER_Z = 1.4
"""The quantile of 80%, .84, and what it costs to learn how to bet: by simulation (`make bench-gates`)."""

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """What bets expect before they have seen anything, worth `weight` units: it decides power, never the level."""

    effect: float
    variance: float
    weight: float = 10.0


def calculate_wealth(scores: Scores, mean: Scores | float, design: Design) -> Scores:
    """Return the wealth after each unit of bets that the true mean is above `mean`.

    Scores lie in [0, 1] along the last axis; `mean` broadcasts to the axes before it. Each bet is Kelly's for the mean
    and variance seen so far, shrunk to the design's.
    """
    means = np.asarray(mean, dtype=float)
    shape = np.broadcast_shapes(scores.shape[:-1], means.shape)
    gains, squares = np.full(shape, design.weight * design.effect), np.full(shape, _weigh(design))
    boldest = BOLDEST / np.maximum(means, 1e-9)
    wealth, path = np.ones(shape), []
    for unit in range(scores.shape[-1]):
        gain = scores[..., unit] - means
        wealth = wealth * (1 + np.clip(gains / squares, 0, boldest) * gain)
        gains, squares = gains + gain, squares + gain**2
        path.append(wealth)
    return np.stack(path, axis=-1) if path else np.ones((*shape, 0))


def _weigh(design: Design) -> float:
    return design.weight * (design.variance + design.effect**2)


def calculate_interval(scores: Scores, design: Design, level: float = LEVEL) -> tuple[float, float]:
    """Return the confidence sequence for the mean of one row of scores: the means that no bet has refuted; each side
    errs with a chance of `level` at most."""
    if not scores.size:
        return 0.0, 1.0
    return _find_bound(scores, design, level), 1 - _find_bound(1 - scores, design, level)


def _find_bound(scores: Scores, design: Design, level: float) -> float:
    """Return the smallest mean at which wealth never reached what refutes it."""
    standing = calculate_wealth(scores[None, :], GRID, design).max(axis=-1) < 1 / level
    return float(GRID[standing][0]) if standing.any() else 1.0


def calculate_growth(effect: float, variance: float) -> tuple[float, float]:
    """Return mean and spread of the logarithm of wealth per unit, betting as well as one can at 1/2."""
    bet = min(BOLDEST / 0.5, effect / (variance + effect**2))
    won = 1 + bet * effect
    return math.log(won) - bet**2 * variance / (2 * won**2), bet * math.sqrt(variance) / won


def calculate_minimum_effect(units: int, variance: float, level: float = LEVEL) -> float | None:
    """Return the smallest distance from 1/2 that so many units show with 80% power; None: no distance."""
    needed = -math.log(level)
    for effect in np.arange(0.005, 0.5001, 0.005):
        # a mean near 1 leaves little room to vary
        growth, spread = calculate_growth(float(effect), min(variance, 0.25 - effect**2))
        if units * growth - POWER_Z * spread * math.sqrt(units) >= needed:
            return float(effect)
    return None


def calculate_units_needed(effect: float, variance: float, wealth: float, level: float = LEVEL) -> int | None:
    """Return how many units more would decide if they went on like those before; None: no number would."""
    if effect <= 0:
        return None
    growth, _ = calculate_growth(effect, variance)
    return max(1, math.ceil((-math.log(level) - math.log(max(wealth, 1e-300))) / growth)) if growth > 0 else None
