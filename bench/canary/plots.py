"""A picture of what each rule does: false rollbacks, and what harm costs."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot

from bench.canary.simulation import ROLLED_BACK, Result
from bench.canary.worlds import WORLDS

Played = Mapping[tuple[str, str], list[Result]]


def draw_delays(played: Played, path: Path) -> None:
    """Draw the shares of false rollbacks by world, and the canary users that found harm took, one mark a rule."""
    matplotlib.rcParams["svg.hashsalt"] = "heliotrope"
    shape, axes = pyplot.subplots(1, 2, figsize=(13, 5))
    rules = list(dict.fromkeys(rule for rule, _ in played))
    for axis, kind in zip(axes, ("null", "harm"), strict=True):
        names = [world.name for world in WORLDS if world.kind == kind]
        for place, rule in enumerate(rules):
            values = [_measure(played[rule, name], kind) for name in names]
            axis.plot(values, np.arange(len(names)) + 0.12 * (place - 2), "o", label=rule, markersize=5)
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        axis.grid(alpha=0.3)
    axes[0].axvline(0.05, color="grey", linestyle="--")
    axes[0].set_xlabel("share of harmless rollouts rolled back (dashed: alpha)")
    axes[1].set_xscale("log")
    axes[1].set_xlabel("canary users until the rollback (median of those rolled back)")
    axes[1].legend(fontsize="small")
    shape.tight_layout()
    shape.savefig(path, metadata={"Date": None})
    pyplot.close(shape)


def _measure(results: list[Result], kind: str) -> float:
    if kind == "null":
        return float(np.mean([result.share(ROLLED_BACK) for result in results]))
    found = np.concatenate([result.list_costs() for result in results])
    return float(np.median(found)) if found.size else float("nan")
