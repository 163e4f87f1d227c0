"""`make bench-scenarios`: placebo, harm and falling approval with ten seeds each, on the tiny model.

Not a benchmark of speed: it counts how often the loop did what it promises, and keeps every run's figures.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from local.demo.apis import DemoFailed
from local.demo.plan import PLANS
from local.demo.run import run_demo
from local.demo.screen import Screen
from local.errors import StackFailed
from local.results import RESULTS, Goal, Row, write_result

NAMES = ("placebo", "harm", "falling")
PORT_BASE = 28_400
RUNS = RESULTS / "scenarios-runs.json"


def play(name: str, seed: int) -> dict[str, Any]:
    """Return one run's figures; `kept` says whether the loop did what it promises."""
    with tempfile.TemporaryDirectory(prefix="heliotrope-") as folder:
        Path(folder).chmod(0o755)
        try:
            with Path(folder, "screen.txt").open("w") as told:
                screen = Screen(Console(file=told, width=200))
                report = asyncio.run(run_demo(PLANS["tiny"], Path(folder, "demo"), PORT_BASE, seed, screen, name))
        except (DemoFailed, StackFailed) as error:
            return {"scenario": name, "seed": seed, "kept": False, "summary": str(error)}
    shown: dict[str, Any] = report[name] if name in report else {"summary": report["summary"]}
    if name == "placebo":
        shown["win_rate"] = report["held_out_win_rate"]
    return {"scenario": name, "seed": seed, "kept": True, "minutes": report["seconds"]["total"] / 60, **shown}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = range(parser.parse_args().seeds)
    runs = []
    for seed in seeds:
        for name in NAMES:
            runs.append(play(name, seed))
            print(f"{len(runs)} of {len(NAMES) * len(seeds)}: {name}, seed {seed}: {describe(runs[-1])}", flush=True)
    summarise(runs)


def describe(run: dict[str, Any]) -> str:
    """Return one line that says what happened."""
    if not run["kept"]:
        return f"NOT KEPT: {run['summary']}"
    if run["scenario"] == "harm":
        return f"rolled back after {run['canary_answers']} canary answers, {run['bad_answers']} bad; {run['summary']}"
    if run["scenario"] == "falling":
        votes, seconds = run["votes_to_alarm"], run["seconds_to_alarm"]
        return f"alarm after {votes} votes ({seconds:.0f} s), request after {run['seconds']:.0f} s; {run['reason']}"
    return str(run["summary"])


def summarise(runs: list[dict[str, Any]]) -> None:
    """Print the table and the goals, and write both files of results."""
    kept = {name: [run for run in runs if run["scenario"] == name and run["kept"]] for name in NAMES}
    rows = []
    for name, field, unit in (
        ("harm", "canary_answers", "answers"),
        ("harm", "bad_answers", "answers"),
        ("harm", "seconds", "s"),
        ("falling", "votes_to_alarm", "votes"),
        ("falling", "seconds_to_alarm", "s"),
        ("falling", "seconds", "s"),
        ("falling", "pairs_then", "pairs"),
    ):
        if values := [float(run[field]) for run in kept[name]]:
            rows.append(Row.of(f"{name}: {field.replace('_', ' ')}", unit, values))
    goals = [
        Goal(f"{name}: share of runs that ended as promised", len(kept[name]) / total, 1.0, "at_least")
        for name in NAMES
        if (total := sum(run["scenario"] == name for run in runs))
    ]
    minutes = [run["minutes"] for run in runs if run["kept"]]
    settings = {"model": "tiny", "seeds": len({run["seed"] for run in runs}), "runs": len(runs)}
    if minutes:
        settings["median_minutes"] = round(statistics.median(minutes), 2)
    write_result("scenarios", rows, goals, settings)
    RUNS.write_text(json.dumps(runs, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
