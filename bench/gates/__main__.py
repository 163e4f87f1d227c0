"""`make bench-gates`: known defects and harmless twins before the gates, and what the win rate promises.

Simulated: sixty prompts, twenty raters whose leanings spread by .15, who like the longer answer and the left seat a
little. Beside the gates: a z-test over all votes, and AlpacaEval's length control.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from random import Random

import numpy as np

from bench.gates.combining import measure_combining, measure_tournament
from bench.gates.peers import passes_length_control, passes_z_test
from bench.gates.successions import measure_successions
from bench.gates.voting import (
    find_visible,
    measure_cost,
    measure_coverage,
    measure_level,
    measure_panel,
    measure_power,
    render_panel_table,
    render_power_table,
)
from bench.gates.worlds import GROSS, KINDS, Kind, simulate
from local.results import Goal, Row, write_result
from services.evaluator.domain.gates import assess_all
from services.evaluator.domain.policy import Policy
from services.evaluator.domain.report import derive_verdict

SEEDS = 200
TUNING = 10_000
"""Seeds from here on were used to choose thresholds; those below it are reported."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--rounds", type=int, default=10_000, help="simulated votes for each figure of the win rate")
    parser.add_argument("--first-seed", type=int, default=0, help=f"{TUNING} and above are for tuning")
    parser.add_argument("--table", action="store_true", help="print the tables of docs/evaluation.md only")
    options = parser.parse_args()
    if options.table:
        for render in (render_power_table, render_panel_table):
            sys.stdout.write(render(_seed(0, "table"), min(options.rounds, 4_000)) + "\n\n")
        return
    rows, goals = [], []
    for kind in KINDS:
        shares = judge(kind, range(options.first_seed, options.first_seed + options.seeds))
        rows += [_row(f"{kind.name}: {what}", "% of candidates", 100 * share) for what, share in shares.items()]
        goals += list(_list_goals(kind, shares))
    few = max(40, options.rounds // 10)
    for more_rows, more_goals in (
        measure_promises(options.rounds),
        measure_costs(options.rounds),
        measure_combining(_seed(0, "combining"), 4 * few),
        measure_tournament(_seed(0, "tournament"), 2 * few),
        measure_successions(_seed(0, "successions"), 20 * options.rounds),
    ):
        rows += more_rows
        goals += more_goals
    write_result("gates", rows, goals, {"seeds": options.seeds, "rounds": options.rounds})


def judge(kind: Kind, seeds: range) -> dict[str, float]:
    """Return the shares of candidates of this kind that the gates pass and fail, and that the peers pass."""
    told: Counter[str] = Counter()
    for seed in seeds:
        evaluated = simulate(kind, Random(f"{seed}:{kind.name}"))
        gates = assess_all("2", evaluated.generation, evaluated.prompts, evaluated.ballots, Policy())
        told[derive_verdict(gates)] += 1
        told["z"] += passes_z_test(evaluated)
        told["length control"] += passes_length_control(evaluated)
    names = {
        "gates fail": "fail",
        "gates pass": "pass",
        "gates cannot say": "inconclusive",
        "z-test passes": "z",
        "length control passes": "length control",
    }
    return {name: told[key] / len(seeds) for name, key in names.items()}


def _list_goals(kind: Kind, shares: dict[str, float]) -> Iterator[Goal]:
    if kind in GROSS:
        yield Goal(f"{kind.name}: failed, %", 100 * shares["gates fail"], 95, "at_least")
    elif kind.is_harmless:
        yield Goal(f"{kind.name}: failed, %", 100 * shares["gates fail"], 5, "at_most")
        yield Goal(f"{kind.name}: cannot say, %", 100 * shares["gates cannot say"], 20, "at_most")
    else:
        yield Goal(f"{kind.name}: passed, %", 100 * shares["gates pass"], 2.5, "at_most")


def measure_promises(rounds: int) -> tuple[list[Row], list[Goal]]:
    """Measure level, coverage, power and the smallest visible effect."""
    rows, levels, covered = [], [], []
    for raters in (3, 5, 10, 30, 100):
        for leaning in ("normal", "two camps", "few zealots"):
            ours, student = measure_level(_seed(raters, leaning), rounds, raters, leaning)
            levels.append(ours)
            rows.append(_row(f"null passes: {raters} raters, {leaning}", "%", 100 * ours))
            rows.append(_row(f"null passes Student's test: {raters} raters, {leaning}", "%", 100 * student))
    for leanings in ([0.2, 0.0, -0.2], [0.4, -0.2, -0.2], [0.2, -0.2, 0.1, -0.1, 0.0], [0.0] * 10):
        for size in (1, 5):
            passed = measure_panel(_seed(len(leanings), str(leanings)), rounds, np.array([leanings]), 240, size=size)
            levels.append(passed)
            rows.append(_row(f"panel without a preference passes: {leanings}, regions of {size}", "%", 100 * passed))
    for raters in (3, 10, 100):
        for prompts in (30, 100, 1_000):
            coverage = measure_coverage(_seed(raters, str(prompts)), min(rounds, 2_000), raters, prompts)
            covered.append(coverage)
            rows.append(_row(f"covered: {raters} raters, {prompts} prompts", "%", 100 * coverage))
    for raters in (3, 5, 10, 20, 30):
        for rate in (0.6, 0.7, 0.8):
            power = measure_power(_seed(raters, str(rate)), min(rounds, 4_000), raters, rate - 0.5)
            rows.append(_row(f"power at {rate:.0%}: {raters} raters, six votes each", "%", 100 * power))
        visible = find_visible(_seed(raters, "visible"), min(rounds, 2_000), raters)
        rows.append(_row(f"smallest visible win rate: {raters} raters (100: none)", "%", 50 + 100 * (visible or 0.5)))
    goals = [
        Goal("a null candidate passes, % at most over all", 100 * max(levels), 2.5, "at_most"),
        Goal("coverage, % at least over all", 100 * min(covered), 93, "at_least"),
    ]
    return rows, goals


def measure_costs(rounds: int) -> tuple[list[Row], list[Goal]]:
    """Measure the votes that sequential voting takes, beside Student's test on a fixed number of raters."""
    rows, goals = [], []
    for raters in (10, 20, 30):
        cost = measure_cost(_seed(raters, "cost"), rounds, raters)
        if cost is None:
            continue
        rows.append(_row(f"effect that {raters} raters show with Student's test", "points", 100 * cost.effect))
        rows.append(_row(f"power of sequential voting there ({raters})", "%", 100 * cost.power))
        rows.append(_row(f"null passes there ({raters})", "%", 100 * cost.null_passed))
        goals.append(
            Goal(f"mean votes under the effect, of a fixed {raters} raters", cost.under_effect, 0.8, "at_most")
        )
        goals.append(Goal(f"mean votes under none, of a fixed {raters} raters", cost.under_none, 0.6, "at_most"))
    return rows, goals


def _seed(raters: int, what: str) -> np.random.Generator:
    return np.random.default_rng([raters, *what.encode()])


def _row(name: str, unit: str, value: float) -> Row:
    return Row.of(name, unit, [value])


if __name__ == "__main__":
    main()
