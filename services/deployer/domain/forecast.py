"""How long a stage will take to decide, in quantiles, from the traffic and from what users said so far.

The logarithm of the advance e-value is taken for a Brownian motion with a drift, whose first passage is inverse
Gaussian; the effect is known by its mean and its standard error, over which the forecast averages.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from services.deployer.domain.evidence import LOSSES

QUANTILES = (0.2, 0.5, 0.8)
NODES = 21
NEVER = 1e12


@dataclass(frozen=True)
class Traffic:
    """What is known of the users: how many come anew each second, and what they say."""

    users_per_second: float
    response_rate: float
    variance: float
    """Of outcomes, silence included."""


@dataclass(frozen=True)
class Effect:
    """Canary's mean outcome less the champion's, as far as it is known."""

    mean: float = 0.0
    error: float = 0.0


def forecast_stage(
    traffic: Traffic, effect: Effect, *, share: float, alpha: float, delta: float, known: float = 1.0
) -> list[float | None]:
    """Return in how many seconds the stage decides, for each of `QUANTILES`; None: that late it never does.

    Args:
        share: the canary's share of users, in (0, 1].
        alpha: of leaving the stage.
        known: the advance e-value reached so far.
    """
    if alpha >= 1 or share >= 1:
        return [0.0] * len(QUANTILES)
    if traffic.users_per_second <= 0:
        return [None] * len(QUANTILES)
    needed = math.log(1 / alpha) + (math.log(len(LOSSES)) if known == 1 else 0) - math.log(max(known, 1e-6))
    growths = [_calculate_growth(traffic, each, share, delta) for each in _list_effects(effect)]
    blocks = [_find_quantile(growths, max(needed, 0.0), quantile) for quantile in QUANTILES]
    per_second = traffic.users_per_second * min(share, 1 - share)
    return [None if count is None else count / per_second for count in blocks]


def _list_effects(effect: Effect) -> list[float]:
    if effect.error <= 0:
        return [effect.mean]
    spread = NormalDist(effect.mean, effect.error)
    return [spread.inv_cdf((node + 0.5) / NODES) for node in range(NODES)]


def _calculate_growth(traffic: Traffic, effect: float, share: float, delta: float) -> float:
    """Return the growth of the log e-value for each user of the smaller arm, under the best bet."""
    distance = max(effect + delta * traffic.response_rate, 0.0)
    smaller = min(share, 1 - share)
    return distance**2 / (2 * max(traffic.variance, 1e-6) * (1 + smaller / (1 - smaller)))


def _find_quantile(growths: Sequence[float], needed: float, quantile: float) -> float | None:
    """Return after how many users of the smaller arm that share of cases has decided; None for never."""
    low, high = 0.0, NEVER
    if _calculate_share_decided(growths, needed, high) < quantile:
        return None
    for _ in range(80):
        middle = math.sqrt(low * high) if low > 1 else (low + high) / 2
        decided = _calculate_share_decided(growths, needed, middle)
        low, high = (middle, high) if decided < quantile else (low, middle)
    return high


def _calculate_share_decided(growths: Sequence[float], needed: float, users: float) -> float:
    if needed <= 0:
        return 1.0
    return sum(_calculate_passage(growth, needed, users) for growth in growths) / len(growths)


def _calculate_passage(growth: float, needed: float, users: float) -> float:
    """Return the probability that a motion of this drift, and twice its variance, has reached `needed` by then."""
    if growth <= 0 or users <= 0:
        return 0.0
    spread = math.sqrt(2 * growth * users)
    above = _cumulate((growth * users - needed) / spread)
    return above + math.exp(min(needed, 500)) * _cumulate(-(growth * users + needed) / spread)


def _cumulate(deviation: float) -> float:
    return 0.5 * math.erfc(-deviation / math.sqrt(2))


def add_up(stages: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Add up the quantiles of stages one after the other, as if a slow one were followed by slow ones."""
    sums: list[float | None] = []
    for column in zip(*stages, strict=True):
        known = [seconds for seconds in column if seconds is not None]
        sums.append(sum(known) if len(known) == len(column) else None)
    return sums
