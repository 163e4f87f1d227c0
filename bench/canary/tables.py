"""The tables of docs/rollouts.md, from the kept results: no figure of them is typed."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.canary.worlds import WORLDS, World
from local.results import RESULTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rollouts.md"
KEPT = RESULTS / "canary.json"
RULES = ("fixed thresholds", "peeking z-test", "mSPRT", "first edition", "ours")
BLOCK = re.compile(r"(<!-- canary: ([\w ]+) -->\n).*?(?=<!-- end -->)", re.DOTALL)
FEW = 0.02
"""Share of rollouts below which nothing is said of the median of those that were rolled back."""


def write_tables() -> None:
    """Put the kept results into the page."""
    PAGE.write_text(fill(PAGE.read_text(), json.loads(KEPT.read_text())))


def fill(page: str, content: Mapping[str, Any]) -> str:
    """Return the page with each table between its marks as the results have it."""
    rows = {row["name"]: row for row in content["rows"]}
    tables = {
        "harmless": render_harmless(rows),
        "harmful": render_harmful(rows),
        "end": render_ends(rows),
        "goals": render_goals(content["goals"]),
    }
    return BLOCK.sub(lambda found: found[1] + "\n".join(tables[found[2]]) + "\n", page)


def _begin(titles: Sequence[str]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield "|" + "---|" * len(titles)


def render_harmless(rows: Mapping[str, Any]) -> list[str]:
    """Return, by world and rule, the share of harmless candidates that were rolled back."""
    worlds = [world for world in WORLDS if world.kind == "null"]
    cells = [[_percent(rows, world, rule, "rolled back") for rule in RULES] for world in worlds]
    return [*_begin(["world", *RULES]), *_join(worlds, cells)]


def render_harmful(rows: Mapping[str, Any]) -> list[str]:
    """Return what harm cost, by world and rule: canary users until it was rolled back, and how often it was."""
    worlds = [world for world in WORLDS if world.kind == "harm"]
    return [
        *_begin(["world", *RULES]),
        *_join(worlds, [[_cost(rows, world, rule) for rule in RULES] for world in worlds]),
    ]


def _cost(rows: Mapping[str, Any], world: World, rule: str) -> str:
    found = rows[f"{world.name}: {rule}, rolled back"]["median"]
    row = rows.get(f"{world.name}: {rule}, canary users until rolled back (median)")
    if row is None or found < FEW:
        return f"{found:.0%}"
    return f"{row['median']:.0f} ({row['low']:.0f} to {row['high']:.0f}), {found:.0%}"


def render_ends(rows: Mapping[str, Any]) -> list[str]:
    """Return how the rollouts of all worlds ended under our rule."""
    states = ("promoted", "rolled back", "ended undecided")
    cells = [[_percent(rows, world, "ours", state) for state in states] for world in WORLDS]
    return [*_begin(["world", *states]), *_join(WORLDS, cells)]


def _percent(rows: Mapping[str, Any], world: World, rule: str, what: str) -> str:
    return f"{rows[f'{world.name}: {rule}, {what}']['median']:.1%}"


def _join(worlds: Sequence[World], cells: Sequence[Sequence[str]]) -> Iterator[str]:
    for world, each in zip(worlds, cells, strict=True):
        yield f"| {world.name} | {' | '.join(each)} |"


def render_goals(goals: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what was promised of our rule, and whether it was kept."""
    lines = [
        f"| {goal['name']} | {goal['sense'].replace('_', ' ')} {goal['goal']:g} | {goal['value']:.3g} |"
        f" {'met' if goal['met'] else '**missed**'} |"
        for goal in goals
    ]
    return [*_begin(["ours", "wanted", "measured", ""]), *lines]
