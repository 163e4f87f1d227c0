"""A judge on all prompts and people on some: the judge's scores shrink the interval as far as they agree with people.

Power-tuned prediction-powered inference for a mean (Angelopoulos, Duchi and Zrnic, "PPI++", 2023), which is the
regression estimator of survey sampling. A judge without use gets a weight near none and costs next to nothing; a judge
who is wrong about the level costs nothing either, since only its differences between units count.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from services.evaluator.domain.intervals import Z_POWER, Z
from services.evaluator.domain.rules import AnswerRule
from services.evaluator.domain.votes.ballots import Ballot, derive_units, find_unit
from services.evaluator.domain.votes.betting import LEVEL
from services.evaluator.domain.votes.judged import Judged
from services.evaluator.domain.votes.win_rate import VotingPlan
from shared.events import GateResult

NAME = "combined_win_rate"
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Combined:
    effect: float
    low: float
    high: float
    correlation: float
    gain: float
    """Variance beside people's alone."""


def combine(people: Values, judge: Values, rest: Values, level: float = LEVEL) -> Combined:
    """Bound the mean of people's scores: `people` and `judge` on the same n units, `rest` the judge's on m others.

    Student's interval with n - 2 degrees of freedom, as the weight is estimated too; each side errs with `level`.
    """
    n, m = len(people), len(rest)
    variance = float(people.var(ddof=1))
    apart = float(judge.var(ddof=1))
    together = float(np.cov(people, judge)[0, 1]) if apart > 0 else 0.0
    slope = together / apart if apart > 0 else 0.0
    weight = slope * m / (n + m)
    effect = float(people.mean()) - weight * (float(judge.mean()) - float(rest.mean() if m else judge.mean()))
    residual = float((people - people.mean() - slope * (judge - judge.mean())).var(ddof=2)) if n > 2 else variance
    explained = slope**2 * apart
    error = np.sqrt(max(residual, 0.0) / n + explained / (n + m)) if m and slope else np.sqrt(variance / n)
    half = float(stats.t.ppf(1 - level, max(1, n - 1 - bool(m and slope)))) * float(error)
    correlation = together / np.sqrt(variance * apart) if variance > 0 and apart > 0 else 0.0
    gain = float(error**2 * n / variance) if variance > 0 else 1.0
    return Combined(effect, effect - half, effect + half, float(correlation), gain)


def assess_combined(ballots: Sequence[Ballot], judged: Judged, plan: VotingPlan, rule: AnswerRule) -> GateResult:
    """Pass when the interval from people and judge together lies above one half, fail when below.

    Units are the win rate's: each rater's pile for the population, a round of a panel's. Fewer than the
    least number decide nothing, since Student's interval needs some to be right about raters of two camps. The plan's
    level, which the budget and the number of candidates make smaller, is this gate's too.
    """
    units = derive_units(ballots, plan.seats)
    predicted = _average(ballots, judged.scores, plan.seats)
    both = [name for name in units if name in predicted]
    rest = np.array([score for name, score in predicted.items() if name not in units])
    raters = {ballot.rater for ballot in ballots if ballot.vote is not None and ballot.rater is not None}
    people, judge = np.array([units[name].score for name in both]), np.array([predicted[name] for name in both])
    if len(both) < rule.least or len(raters) < plan.least_raters or float(people.var()) == 0:
        return _tell_too_few(len(both), len(raters), plan, rule)
    found = combine(people, judge, rest, plan.level)
    settled = sum(not ballot.is_asked for ballot in ballots) / len(ballots)
    effect, low, high = (settled / 2 + (1 - settled) * value for value in (found.effect, found.low, found.high))
    return GateResult(
        name=NAME,
        verdict="pass" if low > 0.5 else "fail" if high < 0.5 else "inconclusive",
        summary=(
            f"with the judge's scores of all prompts the candidate wins {effect:.1%} "
            f"({100 * (1 - 2 * plan.level):.4g}% interval {low:.1%} to {high:.1%}, {len(both)} units with votes, "
            f"{len(rest)} without); judge and people correlate by "
            f"{found.correlation:.2f}, which leaves {found.gain:.0%} of the variance of votes alone"
        ),
        effect=effect,
        low=low,
        high=high,
        n=len(both),
        minimum_detectable_effect=min(0.5, (Z + Z_POWER) / Z * (high - low) / 2),
        floor=0.5,
    )


def _average(ballots: Sequence[Ballot], scores: Mapping[str, float], seats: int | None) -> dict[object, float]:
    """Return the judge's mean score by unit, over the prompts that it judged there."""
    found: dict[object, dict[str, float]] = defaultdict(dict)
    for ballot in ballots:
        if ballot.is_asked and ballot.prompt_hash in scores:
            found[find_unit(ballot.unit, seats)][ballot.prompt_hash] = scores[ballot.prompt_hash]
    return {unit: sum(own.values()) / len(own) for unit, own in found.items()}


def _tell_too_few(n: int, raters: int, plan: VotingPlan, rule: AnswerRule) -> GateResult:
    return GateResult(
        name=NAME,
        verdict="inconclusive",
        summary=(
            f"{n} units have votes that differ, by {raters} raters; "
            f"at least {rule.least} and {plan.least_raters} are needed"
        ),
        n=n,
        more_needed=max(1, rule.least - n),
    )
