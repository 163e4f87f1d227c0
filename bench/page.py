"""`make bench-page`: writes docs/benchmarks.md from the kept results."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.results import RESULTS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

Written by `make bench-page` from `bench/results/`; do not edit. `make bench-<name>` measures anew. Figures that depend
on the machine are ratios taken in one run, alternating with a peer or a ceiling; every row gives the median and the
range of its runs. A goal that was not reached stands here as missed.
"""


def render(results: Path = RESULTS) -> str:
    """Return the whole page; files that are no result of a benchmark (without `goals`) are left out."""
    contents = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    kept = [content for content in contents if isinstance(content, dict) and "goals" in content and "rows" in content]
    return "\n".join([INTRODUCTION, *(line for content in kept for line in _render(content))])


def _render(content: dict[str, Any]) -> Iterator[str]:
    machine = content["machine"]
    yield f"## {content['name']}\n"
    commit = str(content.get("commit", ""))[:12]
    load = machine.get("load_average_before")
    busy = f", load average {load[0]:.1f} before it began" if load else ""
    device = content.get("settings", {}).get("device")
    on = f"{device}, " if device else ""
    python = f"Python {machine.get('python')}"
    yield f"{content['at'][:10]}, {on}commit {commit}, {machine.get('cpus')} CPUs, {python}{busy}.\n"
    if content["goals"]:
        yield "| goal | wanted | measured | |\n|---|---|---|---|"
        for goal in content["goals"]:
            sense = goal["sense"].replace("_", " ")
            verdict = "met" if goal["met"] else "**missed**"
            yield f"| {_cell(goal['name'])} | {sense} {goal['goal']:g} | {goal['value']:.3g} | {verdict} |"
        yield ""
    yield "| figure | median | range | unit | runs |\n|---|---|---|---|---|"
    for row in content["rows"]:
        median, low, high = (f"{row[name]:,.4g}" for name in ("median", "low", "high"))
        yield f"| {_cell(row['name'])} | {median} | {low} to {high} | {_cell(row['unit'])} | {row['runs']} |"
    yield ""


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def main() -> None:
    PAGE.write_text(render())


if __name__ == "__main__":
    main()
