"""What the evaluator promises beside the win rate: judges with people, tournaments."""

from typing import Any

import numpy as np
from scipy import stats

from bench.gates.voting import draw_scores
from local.results import Goal, Row
from services.evaluator.domain.votes.prediction_powered import combine
from services.evaluator.domain.votes.tournament import find_beating
from services.evaluator.domain.votes.win_rate import VotingPlan

SPREAD = 0.12
WITHOUT_VOTES = 50
"""Units that only the judge saw, for each that people saw, too."""
LEANINGS = ("normal", "two camps", "few zealots")


def measure_combining(random: Any, rounds: int) -> tuple[list[Row], list[Goal]]:
    """Measure coverage, with leaning raters too, and the votes that are needed beside people alone."""
    rows, covered = _measure_leaning(random, rounds)
    goals = []
    for n in (30, 100, 1_000):
        for rho in (0.0, 0.4, 0.6, 0.8):
            coverage, need = _combine(random, rounds if n < 1_000 else rounds // 2, n, rho)
            covered.append(coverage)
            most = 1.05 if rho == 0 else 1.15 * (1 - rho**2)
            rows.append(Row.of(f"judge of rho {rho}, {n} units: covered", "%", [100 * coverage]))
            goals.append(Goal(f"judge of rho {rho}, {n} units: votes beside people alone", need, most, "at_most"))
    goals.append(Goal("judge and people: coverage, % at least over all", 100 * min(covered), 93, "at_least"))
    return rows, goals


def _measure_leaning(random: Any, rounds: int) -> tuple[list[Row], list[float]]:
    """Measure coverage where units are raters who lean, six votes each, and the judge is biased by a fifth."""
    rows, covered = [], []
    for units in (20, 30):
        for leaning in LEANINGS:
            for effect in (0.0, 0.2):
                share, passed = _lean(random, rounds, units, leaning, effect)
                covered.append(share)
                name = f"judge and {units} raters, {leaning}, true rate {0.5 + effect:.0%}"
                rows.append(Row.of(f"{name}: covered", "%", [100 * share]))
                if not effect:
                    rows.append(Row.of(f"{name}: null passes at the end", "%", [100 * passed]))
    return rows, covered


def _lean(random: Any, rounds: int, units: int, leaning: str, effect: float, rho: float = 0.6) -> tuple[float, float]:
    scores, truth = draw_scores(random, rounds, 5 * units, 6, effect, leaning, spread=0.2)
    standard = (scores - truth) / scores.std()
    judge = 0.7 + 0.1 * (rho * standard + np.sqrt(1 - rho**2) * random.normal(size=scores.shape))
    found = [
        combine(own[:units], said[:units], said[units:])
        for own, said in zip(scores, judge, strict=True)
        if own[:units].var() > 0
    ]
    covered = [each.low <= truth <= each.high for each in found]
    return float(np.mean(covered)), float(np.mean([each.low > truth for each in found]))


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
