"""The noise curves as an SVG for the documentation."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from scipy import stats

COLOURS = {"raw": "#b0413e", "curated": "#2f6f4f", "oracle": "#4a4e69"}


def draw_curves(
    figures: Mapping[tuple[str, float], Mapping[str, Sequence[float]]], panels: Sequence[tuple[str, str]], path: Path
) -> None:
    """Draw one panel for each (kind of user, measure): means over the seeds, with 95% intervals."""
    matplotlib.rcParams["svg.hashsalt"] = "heliotrope"
    shape, axes = pyplot.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.6), squeeze=False)
    for axis, (kind, measure) in zip(axes[0], panels, strict=True):
        levels = sorted(level for name, level in figures if name == kind)
        for dataset, colour in COLOURS.items():
            values = [figures[kind, level][f"{measure}, {dataset}"] for level in levels]
            means = [statistics.fmean(seeds) for seeds in values]
            widths = [_calculate_half_width(seeds) for seeds in values]
            axis.errorbar(
                [100 * level for level in levels],
                [100 * mean for mean in means],
                yerr=[100 * width for width in widths],
                color=colour,
                label=dataset,
                capsize=3,
            )
        axis.set_xlabel("wrong votes, %")
        axis.set_title(f"{measure}, %\n{kind} users", fontsize=10)
        axis.grid(alpha=0.3)
    axes[0][0].legend()
    shape.tight_layout()
    shape.savefig(path, metadata={"Date": None})
    pyplot.close(shape)


def _calculate_half_width(seeds: Sequence[float]) -> float:
    """Of the 95% interval of the mean, by Student's t."""
    return float(stats.t.ppf(0.975, len(seeds) - 1)) * statistics.stdev(seeds) / float(len(seeds) ** 0.5)
