"""Has the candidate forgotten what the champion could do?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats

from services.evaluator.domain.intervals import Z_POWER, Z, calculate_paired_interval
from services.evaluator.domain.measures.suite import SuiteItem, find_task
from services.evaluator.domain.rules import ForgettingRule
from shared.events import GateResult

LEVEL = 0.05
NUISANCE = np.linspace(0.005, 1.0, 200)
"""Shares of items that change, over which the largest p-value is taken."""
ROUNDING = 1e-9


@dataclass(frozen=True)
class TaskScore:
    """How often each of two models solved one task's items, and how often only one of them did."""

    task: str
    n: int
    candidate: int
    champion: int
    lost: int
    gained: int

    @property
    def p_value(self) -> float:
        """Return the chance of losses that speak as strongly, if none was forgotten; see `calculate_p_value`."""
        return calculate_p_value(self.lost, self.gained, self.n)


@lru_cache(maxsize=4096)
def calculate_p_value(lost: int, gained: int, n: int) -> float:
    """Return the p-value of McNemar's exact test, one-sided, unconditional (Suissa and Shuster, Biometrics 47, 1991).

    It is the largest over all shares of items that change. Given how many did change, as in the conditional test, six
    losses of twelve say .0156; of all that could have come about they are .0064 at most, and as exact.
    """
    if lost <= gained:
        return 1.0
    changed = np.arange(1, n + 1)
    least = np.ceil((changed + (lost - gained) / math.sqrt(lost + gained) * np.sqrt(changed)) / 2 - ROUNDING)
    tails = stats.binom.sf(least - 1, changed, 0.5)
    chances = stats.binom.pmf(changed[None, :], n, NUISANCE[:, None])
    return float((chances @ tails).max())


def find_solved(
    items: Sequence[SuiteItem], candidate: Mapping[str, str], champion: Mapping[str, str]
) -> dict[str, tuple[bool, bool]]:
    """Tell by item whether (candidate, champion) solved it; items that one of them did not answer are left out."""
    return {
        item.name: (item.check(candidate[item.name]), item.check(champion[item.name]))
        for item in items
        if item.name in candidate and item.name in champion
    }


def count_solved(solved_items: Mapping[str, Sequence[bool]]) -> list[TaskScore]:
    """Count by task what (candidate, champion) solved of each item, whose name holds its task."""
    results: dict[str, list[Sequence[bool]]] = {}
    for name, solved in solved_items.items():
        results.setdefault(find_task(name), []).append(solved)
    return [
        TaskScore(
            task,
            len(solved),
            sum(ours for ours, _ in solved),
            sum(theirs for _, theirs in solved),
            sum(theirs and not ours for ours, theirs in solved),
            sum(ours and not theirs for ours, theirs in solved),
        )
        for task, solved in results.items()
    ]


def find_forgotten(scores: Sequence[TaskScore]) -> list[TaskScore]:
    """Return the tasks whose loss stands after Holm's correction (Scandinavian Journal of Statistics 6, 1979)."""
    ordered = sorted(scores, key=lambda score: score.p_value)
    for rank, score in enumerate(ordered):
        if score.p_value > LEVEL / (len(ordered) - rank):
            return ordered[:rank]
    return ordered


def assess_tasks(said: Mapping[str, Any], rule: ForgettingRule) -> GateResult:
    """Assess a team's own tasks as `assess_forgetting` does; inconclusive with `cause: error` if they did not run."""
    if (failure := said.get("failure")) is not None:
        summary = f"cause: error; the tasks could not be run: {failure}"
        return GateResult(name="tasks", verdict="inconclusive", summary=summary, n=0, cause="error")
    return assess_forgetting(count_solved(said["solved"]), rule, "tasks")


def assess_forgetting(scores: Sequence[TaskScore], rule: ForgettingRule, name: str = "forgetting") -> GateResult:
    """Fail when a task is forgotten; pass when the loss over all tasks is surely within the margin."""
    n = sum(score.n for score in scores)
    if not n:
        return GateResult(name=name, verdict="inconclusive", summary="nothing was answered", n=0)
    lost, gained = sum(score.lost for score in scores), sum(score.gained for score in scores)
    low, high = calculate_paired_interval(lost, gained, n)
    forgotten = find_forgotten(scores)
    told = ", ".join(f"{score.task} {score.candidate} of {score.n} (champion {score.champion})" for score in scores)
    if forgotten:
        told += f"; forgotten: {', '.join(score.task for score in forgotten)}"
    return GateResult(
        name=name,
        verdict="fail" if forgotten else "pass" if high <= rule.margin else "inconclusive",
        summary=f"{told} (exact McNemar with Holm, {LEVEL:.0%}); harmless is a loss of {rule.margin:.0%} over all",
        effect=(lost - gained) / n,
        low=low,
        high=high,
        n=n,
        minimum_detectable_effect=min(1.0, rule.margin + (Z + Z_POWER) * (high - low) / (2 * Z)),
        ceiling=rule.margin,
    )
