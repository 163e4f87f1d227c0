"""What one gate says of a candidate; part of `EvaluationCompleted`."""

from typing import Literal

from shared.summaries import Summarised


class GateResult(Summarised, frozen=True, kw_only=True):
    """One gate's verdict with its effect and interval."""

    name: str
    verdict: Literal["pass", "fail", "inconclusive"]
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    minimum_detectable_effect: float | None = None
    more_needed: int | None = None
    """Units (raters, regions, prompts) more that would decide if they were like those before."""
    floor: float | None = None
    """The gate passes when the whole interval lies within floor and ceiling."""
    ceiling: float | None = None
    cause: Literal["error"] | None = None
    """Inconclusive because something broke, not because evidence is missing."""
    blocks: bool = True
    """False: a warning that stops nothing."""
