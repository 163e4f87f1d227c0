"""What the rounds of `bench.train` say: each variant's speed and memory, and the ratios with their intervals."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy import stats

from local.results import Goal, Row

VARIANTS = ("plain", "tuned", "padded", "ours")
ACCURACY = 0.65
"""Share of the validation pairs ranked right whose time is told."""

Figures = dict[str, Any]


def sum_up(
    runs: Mapping[str, Sequence[Figures]], learning: Mapping[str, Sequence[tuple[int, float]]], tokens: int
) -> tuple[list[Row], list[Goal]]:
    rows = list(_list_rows(runs, learning, tokens))
    seconds = {variant: [run["seconds"] for run in runs[variant]] for variant in VARIANTS}
    overhead = estimate_ratio(seconds["padded"], seconds["tuned"])
    gain = estimate_ratio(seconds["plain"], seconds["ours"])
    count = len(seconds["ours"])
    rows += [
        Row("time at equal settings, ours (padded) over tuned", "ratio", *overhead, count),
        Row("tokens/s, ours over plain", "ratio", *gain, count),
    ]
    goals = [
        Goal("overhead at equal settings, upper end of the interval, %", 100 * (overhead[2] - 1), 5, "at_most"),
        Goal("tokens/s over the plain script", gain[0], 1.5, "at_least"),
    ]
    return rows, goals


def _list_rows(
    runs: Mapping[str, Sequence[Figures]], learning: Mapping[str, Sequence[tuple[int, float]]], tokens: int
) -> Iterator[Row]:
    for variant in VARIANTS:
        own = runs[variant]
        yield Row.of(f"{variant}: speed", "tokens/s", [tokens / run["seconds"] for run in own])
        yield Row.of(f"{variant}: with saving", "s", [run["total_seconds"] for run in own])
        yield Row.of(f"{variant}: peak memory", "MiB", [run["peak_mib"] for run in own])
        step = next((step for step, accuracy in learning[variant] if accuracy >= ACCURACY), None)
        if step is not None:
            name = f"{variant}: time to {ACCURACY:.0%} of validation pairs ranked right (step {step})"
            yield Row.of(name, "s", [run["steps"][step - 1] for run in own])


def estimate_ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean of paired ratios and its 95% interval, by Student's t on their logarithms; two pairs or
    more.
    """
    logs = [math.log(one / other) for one, other in zip(above, below, strict=True)]
    mean = statistics.fmean(logs)
    margin = stats.t.ppf(0.975, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - margin), math.exp(mean + margin)
