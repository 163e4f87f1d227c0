"""KL: how far a candidate has moved, and how strongly a policy is held to its reference."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.trainer.domain.recipe.sections import Drift, Point


@dataclass(frozen=True)
class Movement:
    """How far a candidate has moved, in nats a token."""

    nats: Mapping[Point, float]
    unmeasured: str | None = None
    """Why a figure that the recipe has a ceiling for is not there."""


def explain_unmeasured(measured: Mapping[Point, float], drift: Drift, reason: str) -> str | None:
    """Say which figures that the recipe has a ceiling for are missing, and the reason; None: none."""
    missing = [f"drift.max_{point}_kl" for point in drift.ceilings if point not in measured]
    return f"{' and '.join(missing)} could not be checked: {reason}" if missing else None


def assess_drift(measured: Mapping[Point, float], drift: Drift) -> str | None:
    """Say why the candidate has gone too far, if it has; a figure that is no number is too far."""
    for point, ceiling in drift.ceilings.items():
        kl = measured.get(point)
        if kl is not None and not kl <= ceiling:
            return f"the candidate is {kl:.3g} nats a token from its {point}, above drift.max_{point}_kl {ceiling:g}"
    return None


def next_kl_coefficient(coefficient: float, kl: float, *, target: float, gain: float = 0.1) -> float:
    """Calculate the coefficient after a step with this KL (nats an answer): larger above the target, else smaller.

    Ziegler et al. 2019, section 2.2: the error relative to the target, clipped to 0.2, times the gain. So it moves by
    at most 2% a step at the default gain. A KL that is not finite leaves it as it is: a guard's affair.
    """
    error = kl / target - 1.0
    if not -float("inf") < error < float("inf"):
        return coefficient
    return coefficient * (1.0 + gain * max(-0.2, min(0.2, error)))
