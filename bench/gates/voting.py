"""The win rate's promises over many simulated votes: level, coverage, power, and how many votes it takes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from services.evaluator.domain.votes.betting import LEVEL, WEALTH_NEEDED, Design, calculate_wealth
from services.evaluator.domain.votes.win_rate import VotingPlan, find_futility

SPREAD = 0.15
PROMPT_SPREAD = 0.2

Scores = NDArray[np.float64]


def draw_scores(
    random: Any, rounds: int, raters: int, votes: int, effect: float, leaning: str = "normal", spread: float = SPREAD
) -> tuple[Scores, float]:
    """Draw raters' scores on piles of their own; return them and the true rate (chances end at 0 and 1)."""
    shape = (rounds, raters)
    if leaning == "normal":
        lean = random.normal(0, spread, shape)
    elif leaning == "two camps":
        lean = spread * random.choice([-1.0, 1.0], shape)
    else:
        lean = np.where(random.random(shape) < 0.2, -2 * spread, spread / 2)
    taste = PROMPT_SPREAD * random.choice([-1.0, 1.0], (*shape, votes // 2))
    room = min(0.5 + effect, 0.5 - effect)
    chance = 0.5 + effect + np.clip(lean[..., None] + taste, -room, room)
    if leaning == "few zealots":  # the cut tail is put back on the other side
        chance = chance - (chance.mean() - 0.5 - effect)
    chance = np.clip(chance, 0, 1)
    return random.binomial(2, chance).mean(axis=-1) / 2, float(chance.mean())


def measure_level(random: Any, rounds: int, raters: int, leaning: str) -> tuple[float, float]:
    """Return how often a null candidate passes at any time: by our bets, and by Student's test at the end."""
    scores, truth = draw_scores(random, rounds, raters, 6, 0.0, leaning, spread=0.2)
    ours = calculate_wealth(scores - (truth - 0.5), 0.5, VotingPlan().find_design(6)).max(axis=-1) >= WEALTH_NEEDED
    return float(ours.mean()), float(_passes_student(scores - (truth - 0.5)).mean())


def measure_coverage(random: Any, rounds: int, raters: int, prompts: int) -> float:
    """Return how often the interval covers the true rate of .6."""
    votes = 2 * max(1, prompts // raters)
    scores, truth = draw_scores(random, rounds, raters, votes, 0.1, spread=0.2)
    design = VotingPlan().find_design(votes)
    low = calculate_wealth(scores, truth, design).max(axis=-1) >= WEALTH_NEEDED
    high = calculate_wealth(1 - scores, 1 - truth, design).max(axis=-1) >= WEALTH_NEEDED
    return 1 - float((low | high).mean())


def measure_power(random: Any, rounds: int, raters: int, effect: float) -> float:
    """Return how often a candidate that is better by so much passes, six votes a rater."""
    scores, _ = draw_scores(random, rounds, raters, 6, effect)
    return float((calculate_wealth(scores, 0.5, VotingPlan().find_design(6)).max(axis=-1) >= WEALTH_NEEDED).mean())


def find_visible(random: Any, rounds: int, raters: int) -> float | None:
    """Return the smallest effect, in steps of a point, that passes four times in five."""
    for effect in np.arange(0.02, 0.46, 0.01):
        if measure_power(random, rounds, raters, float(effect)) >= 0.8:
            return float(effect)
    return None


def measure_panel(
    random: Any, rounds: int, leanings: NDArray[np.float64], prompts: int, effect: float = 0.0, size: int = 1
) -> float:
    """Return how often raters of these leanings (rounds or 1, raters) pass a candidate as a panel that decides.

    They judge `prompts` in both orders, in regions of `size` prompts that each rater likes alike.
    """
    raters = leanings.shape[1]
    taste = SPREAD * random.choice([-1.0, 1.0], (rounds, max(1, prompts // raters // size), raters))
    chance = np.clip(0.5 + effect + leanings[:, None, :] + taste, 0, 1)
    scores = random.binomial(2 * size, chance).mean(axis=-1) / (2 * size)
    design = VotingPlan(estimand="panel", raters=raters).find_design(2 * size)
    return float((calculate_wealth(scores, 0.5, design).max(axis=-1) >= WEALTH_NEEDED).mean())


def render_panel_table(random: Any, rounds: int) -> str:
    """Render what a panel passes, by its raters and prompts, as Markdown."""
    lines = [
        "| raters | prompts | no preference of theirs | no preference of users' | power at 60% | at 70% | at 80% |",
        "|" + "---|" * 7,
    ]
    for raters in (3, 5, 10):
        for prompts in (60, 120, 240):
            own = np.resize([0.2, -0.2], raters)[None, :]
            shares = [measure_panel(random, rounds, own - own.mean(), prompts)]
            shares.append(measure_panel(random, rounds, random.normal(0, SPREAD, (rounds, raters)), prompts))
            shares += [
                measure_panel(random, rounds, np.zeros((1, raters)), prompts, effect) for effect in (0.1, 0.2, 0.3)
            ]
            told = " | ".join(f"{share:.1%}" for share in shares)
            lines.append(f"| {raters} | {prompts} | {told} |")
    return "\n".join(lines)


def render_power_table(random: Any, rounds: int) -> str:
    """Render power and smallest visible win rate by the number of raters, six votes each, as Markdown."""
    lines = [
        "| raters | power at 60% | at 70% | at 80% | at 90% | smallest win rate seen four times in five |",
        "|" + "---|" * 6,
    ]
    for raters in (3, 5, 10, 20, 30):
        powers = [measure_power(random, rounds, raters, rate - 0.5) for rate in (0.6, 0.7, 0.8, 0.9)]
        visible = find_visible(random, rounds, raters)
        told = "none" if visible is None else f"{0.5 + visible:.0%}"
        lines.append(f"| {raters} | {' | '.join(f'{power:.0%}' for power in powers)} | {told} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Cost:
    """Mean raters that sequential voting takes, as a share of a fixed-n test's of like power."""

    effect: float
    power: float
    under_effect: float
    under_none: float
    null_passed: float


def measure_cost(random: Any, rounds: int, raters: int) -> Cost | None:
    """Compare with Student's test on so many raters, at the effect that it shows with 80% power.

    Sequential voting may take more raters in the end: as few more as its own 80% need.
    """
    effect = _find_student_effect(random, rounds, raters)
    for most in range(raters, 4 * raters, max(1, raters // 5)):
        plan = VotingPlan(raters=most, effect=effect)
        passed, used = _vote(random, rounds, plan, effect)
        if passed >= 0.8:
            null_passed, null_used = _vote(random, rounds, plan, 0.0)
            return Cost(effect, passed, used / raters, null_used / raters, null_passed)
    return None


def _vote(random: Any, rounds: int, plan: VotingPlan, effect: float) -> tuple[float, float]:
    scores, _ = draw_scores(random, rounds, plan.raters, 6, effect)
    design: Design = plan.find_design(6)
    wealth, against = calculate_wealth(scores, 0.5, design), calculate_wealth(1 - scores, 0.5, design)
    bounds = np.array([find_futility(plan, done) for done in range(1, plan.raters + 1)])
    bounds[: plan.least_raters - 1] = 0
    won = _find_first(wealth >= WEALTH_NEEDED)
    over = np.minimum(_find_first((wealth < bounds) | (against >= WEALTH_NEEDED)), plan.raters)
    return float((won <= over).mean()), float(np.minimum(won, over).mean())


def _find_first(reached: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of raters at which it was reached; a million for never."""
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, 1_000_000)


def _find_student_effect(random: Any, rounds: int, raters: int) -> float:
    low, high = 0.01, 0.45
    for _ in range(8):
        middle = (low + high) / 2
        seen = _passes_student(draw_scores(random, rounds, raters, 6, middle)[0]).mean() >= 0.8
        low, high = (low, middle) if seen else (middle, high)
    return high


def _passes_student(scores: Scores) -> NDArray[np.bool_]:
    raters = scores.shape[1]
    error = scores.std(axis=1, ddof=1) / np.sqrt(raters) + 1e-12
    return np.asarray((scores.mean(axis=1) - 0.5) / error > stats.t.ppf(1 - LEVEL, raters - 1))
