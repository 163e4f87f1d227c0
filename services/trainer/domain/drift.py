"""How far a candidate has moved from its parent, and from the anchor that its whole line started from."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from services.trainer.domain.recipe_part import Part, PositiveFloat

Point = Literal["parent", "anchor"]


class Drift(Part, frozen=True, kw_only=True):
    """What a candidate's movement is measured on, and how far it may go; see `services.trainer.domain.drift`."""

    examples: Annotated[int, Meta(ge=0)] = 16
    """Validation prompts to measure on; 0: measure nothing."""
    max_parent_kl: PositiveFloat | None = None
    """Nats a token to the parent. None: any."""
    max_anchor_kl: PositiveFloat | None = None
    """Nats a token to the anchor: what may add up over generations. None: any."""


REASONS = {
    "drift.examples": "16 answers of 50 tokens are 800 positions: enough to see a drift, seconds of a CPU's time",
    "drift.max_parent_kl": "how far is too far depends on the model; look at a few runs first",
    "drift.max_anchor_kl": "see drift.max_parent_kl",
}


def assess_drift(measured: Mapping[Point, float], drift: Drift) -> str | None:
    """Why the candidate has gone too far, if it has; a figure that is no number is too far."""
    ceilings: dict[Point, float | None] = {"parent": drift.max_parent_kl, "anchor": drift.max_anchor_kl}
    for point, kl in measured.items():
        ceiling = ceilings[point]
        if ceiling is not None and not kl <= ceiling:
            return f"the candidate is {kl:.3g} nats a token from its {point}, above drift.max_{point}_kl {ceiling:g}"
    return None
