"""Guards: what the logged metrics say about going on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """`continue`; `finish`: stop here and keep what was learned; `stop`: the run failed."""

    action: Literal["continue", "finish", "stop"]
    reason: str = ""


GO_ON = Verdict("continue")


def assess_metrics(
    history: Sequence[Metrics], *, max_gradient_norm: float, max_margin: float, patience: int
) -> Verdict:
    """Judge the newest entry of `history`, one entry for each logged step, oldest first.

    - a loss or gradient norm that is not finite: stop
    - a gradient norm (before clipping) above `max_gradient_norm`: stop
    - for `patience` entries every pair ranked right and the mean margin above `max_margin` nats: finish
    """
    if not history:
        return GO_ON
    newest = history[-1]
    for name in ("loss", "grad_norm"):
        if not math.isfinite(newest.get(name, 0.0)):
            return Verdict("stop", f"{name} is {newest[name]}")
    if (norm := newest.get("grad_norm", 0.0)) > max_gradient_norm:
        return Verdict("stop", f"gradient norm {norm:.4g} is above {max_gradient_norm:.4g}")
    recent = history[-patience:]
    if len(recent) == patience and all(_is_saturated(entry, max_margin) for entry in recent):
        margin = newest["rewards/margins"]
        return Verdict("finish", f"reward margin {margin:.3g} is above {max_margin:.3g} with every pair ranked right")
    return GO_ON


def _is_saturated(entry: Metrics, max_margin: float) -> bool:
    return entry.get("rewards/margins", 0.0) > max_margin and entry.get("rewards/accuracies", 0.0) >= 1.0
