"""What the guards say, and how they read what was logged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from services.trainer.domain.recipe.sections import Guards

Metrics = Mapping[str, float]

REWARD = ("reward", "objective/scores")
"""What a sampled answer's reward is called: by `rloo` and `grpo`, by `ppo`."""

ADJUSTED = "guards/adjust"
"""Marks the logged step after which the run was adjusted."""


@dataclass(frozen=True)
class Verdict:
    """What to do, and why.

    - `continue`
    - `adjust`: go on with half the learning rate and twice the price of KL
    - `roll back`: go on from the last good checkpoint with half the learning rate
    - `finish`: stop here and keep what was learned
    - `stop`: the run failed
    """

    action: Literal["continue", "adjust", "roll back", "finish", "stop"]
    reason: str = ""


GO_ON = Verdict("continue")
Rule = Callable[[Sequence[Metrics], Guards], Verdict | None]


def apply_rules(rules: Sequence[Rule], entries: Sequence[Metrics], guards: Guards) -> Verdict:
    """Return the first verdict that a rule finds."""
    return next((verdict for rule in rules if (verdict := rule(entries, guards))), GO_ON)


def holds_for(steps: Sequence[Metrics], holds: Callable[[Metrics], bool], patience: int) -> bool:
    """Tell whether it holds for each of the newest `patience` entries."""
    return len(steps) >= patience and all(holds(entry) for entry in steps[-patience:])


def compare_to_start(steps: Sequence[Metrics], names: Sequence[str], patience: int) -> tuple[float, float] | None:
    """Return the start and the smoothed value now; None while the two would overlap, or without these metrics."""
    if len(steps) < 2 * patience:
        return None
    start, now = (
        calculate_smoothed(steps[:patience], names, patience),
        calculate_smoothed(steps[-patience:], names, patience),
    )
    return None if start is None or now is None else (start, now)


def calculate_smoothed(entries: Sequence[Metrics], names: Sequence[str], count: int) -> float | None:
    """Calculate the mean of `count` entries; None where fewer have the metric."""
    values = [value for entry in entries if (value := read(entry, names)) is not None]
    return fmean(values) if len(values) == count else None


def read(entry: Metrics, names: Sequence[str]) -> float | None:
    """Read the metric by the first of its names that is there."""
    return next((entry[name] for name in names if name in entry), None)
