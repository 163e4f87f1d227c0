"""KL: how far a candidate has moved, and how strongly a policy is held to its reference."""

from collections.abc import Mapping
from typing import Literal

from services.trainer.domain.recipe.sections import Drift

Point = Literal["parent", "anchor"]


def assess_drift(measured: Mapping[Point, float], drift: Drift) -> str | None:
    """Say why the candidate has gone too far, if it has; a figure that is no number is too far."""
    ceilings: dict[Point, float | None] = {"parent": drift.max_parent_kl, "anchor": drift.max_anchor_kl}
    for point, kl in measured.items():
        ceiling = ceilings[point]
        if ceiling is not None and not kl <= ceiling:
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
