"""How far the candidate has moved from the champion: the KL divergence of its answers, in nats a token."""

from collections.abc import Sequence

import numpy as np

from services.evaluator.domain.intervals import Z_POWER, Z, calculate_mean_interval
from services.evaluator.domain.rules import CeilingRule
from shared.events import GateResult


def assess_kl(divergences: Sequence[float], rule: CeilingRule) -> GateResult:
    """Judge the divergence of each of the candidate's answers, by mean (with its interval) and 95% quantile."""
    n = len(divergences)
    if n < 2:
        return GateResult(
            name="kl_to_champion", verdict="inconclusive", summary="cause: error; not measured", n=n, cause="error"
        )
    values = np.array(divergences)
    low, high = calculate_mean_interval(values)
    most = float(np.quantile(values, 0.95))
    beyond, within = low > rule.mean, high <= rule.mean and most <= rule.p95 and n >= rule.least
    return GateResult(
        name="kl_to_champion",
        verdict="fail" if beyond else "pass" if within else "inconclusive",
        summary=(
            f"{values.mean():.3f} nats a token from the champion in {n} answers (interval {low:.3f} to {high:.3f}), "
            f"95% of answers within {most:.3f}; allowed are {rule.mean:g} and {rule.p95:g}"
        ),
        effect=float(values.mean()),
        low=low,
        high=high,
        n=n,
        minimum_detectable_effect=(Z + Z_POWER) * (high - low) / (2 * Z),
        ceiling=rule.mean,
    )
