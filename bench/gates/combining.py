"""What the evaluator promises beside the win rate: judges with people, tournaments, successive candidates."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from scipy import stats

from bench.gates.voting import draw_scores
from local.results import Goal, Row
from services.evaluator.domain.error_budget import LEAST_LEVEL, QUARTER, Spending, calculate_budget
from services.evaluator.domain.votes.betting import LEVEL
from services.evaluator.domain.votes.prediction_powered import combine
from services.evaluator.domain.votes.tournament import find_beating
from services.evaluator.domain.votes.win_rate import VotingPlan

SPREAD = 0.12
WITHOUT_VOTES = 50
"""Units that only the judge saw, for each that people saw, too."""
START = datetime(2026, 1, 1, tzinfo=UTC)


def measure_combining(random: Any, rounds: int) -> tuple[list[Row], list[Goal]]:
    """Measure coverage, and the votes that are needed beside people alone."""
    rows, goals, covered = [], [], []
    for n in (30, 100, 1_000):
        for rho in (0.0, 0.4, 0.6, 0.8):
            coverage, need = _combine(random, rounds if n < 1_000 else rounds // 4, n, rho)
            covered.append(coverage)
            most = 1.05 if rho == 0 else 1.15 * (1 - rho**2)
            rows.append(Row.of(f"judge of rho {rho}, {n} units: covered", "%", [100 * coverage]))
            goals.append(Goal(f"judge of rho {rho}, {n} units: votes beside people alone", need, most, "at_most"))
    goals.append(Goal("judge and people: coverage, % at least over all", 100 * min(covered), 93, "at_least"))
    return rows, goals


def _combine(random: Any, rounds: int, n: int, rho: float) -> tuple[float, float]:
    covered, ours, alone = 0, 0.0, 0.0
    for _ in range(rounds):
        shared, own = random.normal(size=(2, n * (1 + WITHOUT_VOTES)))
        people = 0.5 + SPREAD * (rho * shared[:n] + np.sqrt(1 - rho**2) * own[:n])
        judge = 1 / (1 + np.exp(-shared)) + 0.2
        found = combine(people, judge[:n], judge[n:])
        covered += found.low <= 0.5 <= found.high
        ours += found.high - found.low
        alone += 2 * stats.t.ppf(0.975, n - 1) * people.std(ddof=1) / np.sqrt(n)
    return covered / rounds, float((ours / alone) ** 2)


def measure_tournament(random: Any, rounds: int) -> tuple[list[Row], list[Goal]]:
    """Measure how often one of several null candidates may go on, and how often one that is better does."""
    rows, false = [], []
    for raters, candidates in ((10, 2), (20, 3), (20, 5), (40, 5)):
        for leaning in ("normal", "two camps"):
            share = _play(random, rounds, raters, [0.0] * candidates, leaning)
            false.append(share)
            name = f"one of {candidates} null candidates may go on: {raters} raters, {leaning}"
            rows.append(Row.of(name, "%", [100 * share]))
    for raters in (20, 40):
        share = _play(random, rounds // 2, raters, [0.25, 0.0, 0.0], "normal")
        rows.append(Row.of(f"one of three wins 75%: found by {raters} raters", "%", [100 * share]))
    return rows, [Goal("a null candidate of several may go on, % at most over all", 100 * max(false), 2.5, "at_most")]


def _play(random: Any, rounds: int, raters: int, effects: list[float], leaning: str) -> float:
    design, found = VotingPlan().find_design(6), 0
    for _ in range(rounds):
        scores = {}
        for number, effect in enumerate(effects):
            drawn, mean = draw_scores(random, 1, raters, 6, effect, leaning, spread=0.2)
            scores[str(number)] = drawn[0] - (mean - 0.5 - effect)
        found += bool(find_beating(scores, design))
    return found / rounds


def measure_successions(random: Any, rounds: int) -> tuple[list[Row], list[Goal]]:
    """Measure false promotions in a quarter of null candidates, with the budget and without."""
    rows, goals = [], []
    for candidates, allowed in ((12, 0.5), (80, 0.5), (80, 0.1)):
        passed = np.mean([_retrain(random, candidates, allowed) for _ in range(rounds)])
        name = f"{candidates} null candidates a quarter, budget {allowed}: false promotions"
        goals.append(Goal(name, float(passed), allowed + candidates * LEAST_LEVEL, "at_most"))
        rows.append(
            Row.of(f"{candidates} null candidates a quarter, no budget: false promotions", "", [LEVEL * candidates])
        )
    return rows, goals


def _retrain(random: Any, candidates: int, allowed: float) -> int:
    spent: list[Spending] = []
    for number in range(candidates):
        at = START + QUARTER * (number + 1) / (candidates + 1)
        level = calculate_budget(spent, at, allowed, LEVEL).next_level
        spent.append(Spending(at, level, bool(random.random() < level)))
    return sum(each.passed for each in spent)
