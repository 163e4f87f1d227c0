"""Draws each Grafana dashboard from its own queries, as Grafana lays its panels out: for readers without a Grafana."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

GRID_COLUMNS = 24
INCHES = 0.58
"""Of a picture for each of Grafana's grid columns."""
MOST_LINES = 12


@dataclass(frozen=True)
class Series:
    """One line: its labels, seconds since 1970, and values."""

    labels: Mapping[str, str]
    times: Sequence[float]
    values: Sequence[float]


Query = Callable[[str], Sequence[Series]]


def draw_dashboards(dashboards: Path, query: Query, since: float, folder: Path) -> list[Path]:
    """Draw every dashboard of `dashboards`, one PNG each into `folder`, over minutes from `since`; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _draw(json.loads(path.read_text()), query, since, folder / f"{path.stem}.png")
        for path in sorted(dashboards.glob("*.json"))
    ]


def _draw(board: Mapping[str, Any], query: Query, since: float, path: Path) -> Path:
    panels = board["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(GRID_COLUMNS * INCHES, rows * INCHES * 0.62), layout="constrained")
    grid = figure.add_gridspec(rows, GRID_COLUMNS)
    for panel in panels:
        place = panel["gridPos"]
        rectangle = grid[place["y"] : place["y"] + place["h"], place["x"] : place["x"] + place["w"]]
        _draw_panel(figure.add_subplot(rectangle), panel, query, since)
    figure.suptitle(f"{board['title']} (minutes)", fontsize=13, x=0.01, ha="left")
    figure.savefig(path, dpi=80)
    return path


def _draw_panel(axes: Axes, panel: Mapping[str, Any], query: Query, since: float) -> None:
    lines = [(series, target["legendFormat"]) for target in panel["targets"] for series in query(target["expr"])]
    for series, template in lines[:MOST_LINES]:
        minutes = [(time - since) / 60 for time in series.times]
        axes.plot(minutes, list(series.values), linewidth=1.2, label=_fill(template, series.labels))
    axes.set_title(panel["title"], fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    axes.set_xlim(left=0)
    values = [value for series, _ in lines for value in series.values if isfinite(value)]
    axes.set_ylim(bottom=1.05 * min([0, *values]), top=None if any(values) else 1)
    if any(_fill(template, series.labels) for series, template in lines):
        axes.legend(fontsize=6, loc="upper left", ncols=2, framealpha=0.6)


def _fill(template: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), template)
