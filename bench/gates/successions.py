"""False promotions of a quarter: null candidates before leaning raters, each at the level that the budget gives.

The levels follow from what was spent before and not from luck, and an expected number is the sum of chances. So each
candidate's chance to pass at its level is measured once, over many votings with the evaluator's own bets.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.gates.voting import draw_scores
from local.results import Goal, Row
from services.evaluator.domain.error_budget import LEAST_LEVEL, QUARTER, Spending, calculate_budget
from services.evaluator.domain.votes.betting import LEVEL, calculate_wealth
from services.evaluator.domain.votes.win_rate import VotingPlan

START = datetime(2026, 1, 1, tzinfo=UTC)
QUARTERS = 4
"""Simulated one after the other: every window of 91 days in them has to keep the budget."""
BATCH = 20_000
LEANINGS = ("normal", "two camps", "few zealots")


def measure_successions(random: Any, votings: int) -> tuple[list[Row], list[Goal]]:
    """Measure false promotions in the worst 91 days of a year of null candidates, with the budget and without.

    `votings` null candidates are voted on for each kind of leaning; the worst kind counts.
    """
    rows, goals = [], []
    wealth = {leaning: _win_most(random, votings, leaning) for leaning in LEANINGS}
    for candidates, allowed in ((12, 0.5), (80, 0.5), (80, 0.1)):
        at, levels = spend(candidates, allowed)
        expected, chances = max((_find_worst(at, levels, own) for own in wealth.values()), key=lambda each: each[0])
        name = f"{candidates} null candidates a quarter, budget {allowed}"
        goals.append(Goal(f"{name}: false promotions", expected, allowed + candidates * LEAST_LEVEL, "at_most"))
        rows.append(Row.of(f"{name}: false promotions, worst 91 days", "", [expected]))
        rows.append(Row.of(f"{name}: levels spent, most in 91 days", "", [chances]))
        plain = max(candidates * _find_chance(own, LEVEL) for own in wealth.values())
        rows.append(Row.of(f"{candidates} null candidates a quarter, no budget: false promotions", "", [plain]))
    return rows, goals


def spend(candidates: int, allowed: float) -> tuple[list[datetime], list[float]]:
    """Return when each candidate of a year was opened, and the level that it was given."""
    spent: list[Spending] = []
    for number in range(candidates * QUARTERS):
        at = START + QUARTER * number / candidates
        spent.append(Spending(at, calculate_budget(spent, at, allowed, LEVEL).next_level, False))
    return [each.at for each in spent], [each.level for each in spent]


def _find_worst(at: list[datetime], levels: list[float], wealth: NDArray[np.float64]) -> tuple[float, float]:
    """Return the expected false promotions and the levels of the worst 91 days that begin with a candidate."""
    chances = {level: _find_chance(wealth, level) for level in set(levels)}
    sums = []
    for begin in at:
        inside = [level for own, level in zip(at, levels, strict=True) if timedelta() <= own - begin < QUARTER]
        sums.append((sum(chances[level] for level in inside), sum(inside)))
    return max(expected for expected, _ in sums), max(spent for _, spent in sums)


def _find_chance(wealth: NDArray[np.float64], level: float) -> float:
    return float((wealth >= 1 / level).mean())


def _win_most(random: Any, votings: int, leaning: str) -> NDArray[np.float64]:
    """Return the most that bets on each null candidate were ever worth, twenty raters with six votes each."""
    plan, found = VotingPlan(), []
    for start in range(0, votings, BATCH):
        rounds = min(BATCH, votings - start)
        scores, truth = draw_scores(random, rounds, plan.raters, 6, 0.0, leaning, spread=0.2)
        found.append(calculate_wealth(scores - (truth - 0.5), 0.5, plan.find_design(6)).max(axis=-1))
    return np.concatenate(found)
