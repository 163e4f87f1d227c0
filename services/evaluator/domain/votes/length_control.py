"""What the win rate would be if both answers were of one length.

After "Length-Controlled AlpacaEval" (Dubois et al., COLM 2024): a logistic regression of the score on the difference
in length, read at a difference of none. Errors are clustered by pile, as the win rate's.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from services.evaluator.domain.intervals import CONFIDENCE
from services.evaluator.domain.votes.ballots import Ballot
from shared.answers import count_words
from shared.events import GateResult

LEAST_CLUSTERS = 5
STEPS = 50
EXTREME = 6.0
"""A coefficient beyond this tells apart what the data do not."""
LEAST_SUPPORT = 0.05
"""Answers that must lie on each side of equal length."""

Values = NDArray[np.float64]


def calculate_differences(candidate: Sequence[str], champion: Sequence[str]) -> Values:
    """Return how much longer each answer is, in standard deviations, tamed by the hyperbolic tangent."""
    ours, theirs = (np.array([count_words(answer) for answer in side], dtype=float) for side in (candidate, champion))
    spread = float((ours - theirs).std()) or 1.0
    differences: Values = np.tanh((ours - theirs) / spread)
    return differences


def fit(scores: Values, differences: Values, clusters: Values) -> tuple[float, float] | None:
    """Fit the regression; return the intercept and its clustered standard error, or None where they are not to be had.

    That is on separation (lengths alone tell who wins, or one side is nearly always the longer) and in few clusters.
    """
    names = np.unique(clusters)
    above, below = (differences > 0).mean(), (differences < 0).mean()
    lengths_differ = bool(np.any(differences != 0))
    if len(names) < LEAST_CLUSTERS or (lengths_differ and min(above, below) < LEAST_SUPPORT):
        return None
    design = np.column_stack([np.ones_like(differences), differences])[:, : 1 + lengths_differ]
    weights = _solve(design, scores)
    if weights is None or np.abs(weights).max() > EXTREME:
        return None
    fitted = expit(design @ weights)
    bread = np.linalg.inv((design * (fitted * (1 - fitted))[:, None]).T @ design)
    sums = np.array([((scores - fitted)[clusters == name, None] * design[clusters == name]).sum(0) for name in names])
    meat = sums.T @ sums * len(names) / (len(names) - 1)
    return float(weights[0]), math.sqrt(float((bread @ meat @ bread)[0, 0]))


def _solve(design: Values, scores: Values) -> Values | None:
    """Newton's method; None when it leads nowhere."""
    weights: Values = np.zeros(design.shape[1])
    for _ in range(STEPS):
        fitted = expit(design @ weights)
        information = (design * (fitted * (1 - fitted))[:, None]).T @ design
        if np.linalg.cond(information) > 1e8:
            return None
        step = np.linalg.solve(information, design.T @ (scores - fitted))
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            return weights
    return None


def assess_length_controlled(
    ballots: Sequence[Ballot], candidate: Mapping[str, str], champion: Mapping[str, str]
) -> GateResult:
    """Pass when the whole interval is above one half, fail when it is below; refuse where lengths tell who wins."""
    cast = [ballot for ballot in ballots if ballot.score is not None and ballot.prompt_hash in candidate]
    name = "length_controlled_win_rate"
    fitted = None
    if cast:
        hashes = [ballot.prompt_hash for ballot in cast]
        differences = calculate_differences([candidate[key] for key in hashes], [champion[key] for key in hashes])
        units = [str(ballot.prompt_hash if ballot.pile is None else ballot.pile) for ballot in cast]
        clusters = np.unique(units, return_inverse=True)[1].astype(float)
        fitted = fit(np.array([ballot.score for ballot in cast], dtype=float), differences, clusters)
    if fitted is None:
        return GateResult(
            name=name,
            verdict="inconclusive",
            summary="lengths and votes cannot be told apart: too few votes, or one side is nearly always the longer",
            n=len(cast),
        )
    middle, error = fitted
    half = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(set(clusters)) - 1))
    effect, low, high = (float(expit(value)) for value in (middle, middle - half, middle + half))
    return GateResult(
        name=name,
        verdict="pass" if low > 0.5 else "fail" if high < 0.5 else "inconclusive",
        summary=f"at equal lengths the candidate would win {effect:.1%} (95% interval {low:.1%} to {high:.1%})",
        effect=effect,
        low=low,
        high=high,
        n=len(cast),
        minimum_detectable_effect=min(0.5, (high - low) / 2 * 1.43),
        floor=0.5,
    )
