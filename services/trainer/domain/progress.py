"""How far a run is, when it will be done, and what was done to it on the way."""

import math
from collections.abc import Sequence

from services.trainer.domain.guards.verdict import Metrics

NOTES = 20
NOTE_CHARACTERS = 300
REFUSED_SHARE = "refused_share"
"""Metric: share of the dataset's rows that could not be trained on."""
REFUSED_ROWS = "refused_rows"
"""In a run's progress: those rows by reason."""

UNMEASURED_KL = "unmeasured_kl"
"""In a finished run's progress: why a KL that the recipe has a ceiling for is not known; None: it is, or has none."""


def add_note(notes: Sequence[str], note: str) -> list[str]:
    """Keep the newest `NOTES` of them, each cut to `NOTE_CHARACTERS` and told once."""
    note = note[:NOTE_CHARACTERS]
    return [*(earlier for earlier in notes if earlier != note), note][-NOTES:]


def calculate_seconds_left(step: int, total: int, *, first_step: int, seconds: float) -> float | None:
    """Calculate the time for the remaining steps at the pace since `first_step`; None before the first step."""
    done = step - first_step
    if done <= 0:
        return None
    return (total - step) * seconds / done


def derive_figures(metrics: Metrics) -> dict[str, float | None]:
    """Derive what a run's row shows of a logged step, whatever the method calls it. JSON knows no NaN: None."""
    kl = metrics.get("kl", metrics.get("objective/kl"))
    reward = metrics.get("reward", metrics.get("objective/scores"))
    return {
        "loss": _finite(metrics["loss"]),
        "margin": _finite(metrics.get("rewards/margins")),
        "kl": _finite(kl),
        "reward": _finite(reward),
        "peak_memory_gib": metrics.get("peak_memory_bytes", 0.0) / 2**30 or None,
    }


def name_refusal(reason: str) -> str:
    """Name the metric that counts the rows refused for this reason."""
    return f"{REFUSED_ROWS}/{reason}"


def read_refusals(metrics: Metrics) -> dict[str, int]:
    """Read the metrics that `name_refusal` names, by reason."""
    prefix = name_refusal("")
    return {name.removeprefix(prefix): int(value) for name, value in metrics.items() if name.startswith(prefix)}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
