"""What a benchmark or a recipe leaves behind: a table on the terminal and a JSON file that is kept."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parents[1] / "bench" / "results"
LOAD_BEFORE = os.getloadavg()
"""What else the machine had to do (1, 5 and 15 minutes) when the command began."""


@dataclass(frozen=True)
class Goal:
    """A figure that was promised."""

    name: str
    value: float
    goal: float
    sense: Literal["at_least", "at_most"]

    @property
    def met(self) -> bool:
        return self.value >= self.goal if self.sense == "at_least" else self.value <= self.goal


@dataclass(frozen=True)
class Row:
    """One measured figure with its spread over the runs."""

    name: str
    unit: str
    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, name: str, unit: str, values: Sequence[float]) -> "Row":
        return cls(name, unit, statistics.median(values), min(values), max(values), len(values))


def write_result(
    name: str, rows: Sequence[Row], goals: Sequence[Goal], settings: Mapping[str, object], folder: Path = RESULTS
) -> Path:
    """Print the table and write `results/<name>.json`, or into another folder."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    content = {
        "name": name,
        "at": datetime.now(UTC).isoformat(),
        "commit": commit,
        "machine": {
            "cpus": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
            "load_average_before": LOAD_BEFORE,
        },
        "settings": dict(settings),
        "rows": [asdict(row) for row in rows],
        "goals": [asdict(goal) | {"met": goal.met} for goal in goals],
    }
    table = Table("figure", "median", "low", "high", "unit", "runs", title=name)
    for row in rows:
        table.add_row(row.name, f"{row.median:,.2f}", f"{row.low:,.2f}", f"{row.high:,.2f}", row.unit, str(row.runs))
    console = Console()
    console.print(table)
    for goal in goals:
        verdict = "met" if goal.met else "MISSED"
        console.print(f"goal: {goal.name} {goal.sense.replace('_', ' ')} {goal.goal:g}: {goal.value:.3g}, {verdict}")
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path
