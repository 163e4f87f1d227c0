"""What may be said of a model that feedback was trained into: better, worse, no evidence, or nothing at all."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from services.evaluator.domain.votes.betting import (
    LEVEL,
    WEALTH_NEEDED,
    Design,
    calculate_interval,
    calculate_units_needed,
    calculate_wealth,
)

Verdict = Literal["better", "worse", "no_evidence", "cannot_say"]
Kind = Literal["judge", "reward_model", "rating"]
DESIGN = Design(effect=0.2, variance=0.1)
"""A win rate of 70% is what bets expect, of regions whose win rates spread by a third."""
NO_EFFECT = 0.5
LEAST_ACCURACY = 0.6
"""The lower bound of a reward model's accuracy on held-out pairs must be above it, as in the evaluator's gates."""
LEAST_AGREEMENT = 0.5
"""The lower bound of a judge's agreement with the file's own choices must be above it: below, it speaks for nobody
here."""
STRONG_BIAS = 0.25
"""Of a judge's decisions, so much more than half go to one seat: three quarters do."""
LEAST_UNITS = 7
"""Regions of prompts that it takes at the least: fewer cannot decide by these bets, however alike they are."""


@dataclass(frozen=True)
class Score:
    """How one look came out, 0 to 1; looks of one group are one piece of evidence."""

    group: str
    value: float


@dataclass(frozen=True)
class Estimate:
    """A mean in [0, 1] with its 95% interval, which holds whatever the scores' distribution."""

    effect: float
    low: float
    high: float
    units: int
    looks: int


@dataclass(frozen=True)
class Measure:
    """What said which answers are better: its name for people, and what it came to.

    `trust` is the judge's agreement with what the file's users said, or the reward model's accuracy on held-out pairs;
    None where there was nothing to hold it against, or it is the user's own rating.
    """

    kind: Kind
    name: str
    estimate: Estimate | None
    trust: Estimate | None = None
    failure: str | None = None
    seat_bias: float | None = None
    """Of a judge: how much oftener than every other time it prefers whichever answer stands first."""


@dataclass(frozen=True)
class Decision:
    verdict: Verdict
    because: str
    more_units: int | None = None
    """How many more regions of prompts would decide if they came out like these."""


def compare(one: float, other: float) -> float:
    """Return 1 where the one is more, 0 where the other is, a half where they are equal."""
    return 0.5 if one == other else float(one > other)


def estimate(scores: Sequence[Score]) -> Estimate | None:
    """Estimate the mean over groups; None of no scores. Bets on group after group, in an order that nobody chose."""
    groups: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        groups[score.group].append(score.value)
    if not groups:
        return None
    means = np.array([float(np.mean(groups[name])) for name in sorted(groups, key=_draw)])
    low, high = calculate_interval(means, DESIGN)
    return Estimate(float(means.mean()), low, high, len(means), len(scores))


def estimate_in_order(values: Sequence[float]) -> Estimate | None:
    """Estimate the mean of looks that somebody took one after the other, each a group: he may stop whenever he likes.

    None of no values.
    """
    if not values:
        return None
    low, high = calculate_interval(np.array(values, dtype=float), DESIGN)
    return Estimate(float(np.mean(values)), low, high, len(values), len(values))


def _draw(name: str) -> bytes:
    return hashlib.sha256(f"unit:{name}".encode()).digest()


def decide(measure: Measure | None) -> Decision:
    """Decide by the first of these that holds.

    - no measure, or one that failed: nothing can be said
    - a reward model whose accuracy is not surely above 0.6: nothing can be said
    - a judge that nothing could be held against: nothing can be said
    - a judge that does not surely agree with the file's own choices: no evidence, whatever it prefers
    - the whole interval above one half: better; below: worse; else no evidence
    """
    if (early := decide_early(measure)) is not None:
        return early
    assert measure is not None
    if measure.estimate is None:
        return Decision("cannot_say", "there was nothing to compare")
    found = measure.estimate
    if found.low > NO_EFFECT:
        return Decision("better", "the whole interval lies above one half")
    if found.high < NO_EFFECT:
        return Decision("worse", "the whole interval lies below one half")
    return Decision("no_evidence", "the interval holds one half", count_more(found))


def decide_early(measure: Measure | None) -> Decision | None:
    """Decide what no comparison of answers would change: nobody measures, or nobody believes who does; else None."""
    if measure is None:
        return Decision("cannot_say", "nothing was there to tell good answers from bad ones")
    if measure.failure is not None:
        return Decision("cannot_say", measure.failure)
    return _distrust(measure)


def _distrust(measure: Measure) -> Decision | None:
    """Say why a measure is not believed; None if it is."""
    trust = measure.trust
    if measure.kind == "reward_model" and (trust is None or trust.low <= LEAST_ACCURACY):
        told = "it could not be tried" if trust is None else f"its accuracy may be as low as {trust.low:.0%}"
        return Decision("cannot_say", f"the reward model is not good enough: {told}")
    if measure.kind == "judge" and trust is None:
        return Decision(
            "cannot_say", "the file holds neither pairs nor enough liked and disliked answers to hold the judge against"
        )
    if measure.kind == "judge" and trust is not None and trust.low <= LEAST_AGREEMENT:
        told = "it is not sure that the judge prefers what the file's own users preferred"
        return Decision("no_evidence", told + _tell_seat(measure.seat_bias))
    return None


def _tell_seat(bias: float | None) -> str:
    if bias is None or abs(bias) < STRONG_BIAS:
        return ""
    seat = "first" if bias > 0 else "second"
    return (
        f"; in {0.5 + abs(bias):.0%} of its decisions it prefers whichever answer stands {seat}, so it hardly compares"
    )


def count_more(found: Estimate) -> int | None:
    """Count how many more regions would decide if they came out like these; None: no number would."""
    effect = abs(found.effect - NO_EFFECT)
    if found.units < 2 or effect == 0:
        return None
    return calculate_units_needed(effect, min(DESIGN.variance, 0.25 - effect**2) or 1e-4, 1.0, LEVEL)


def has_decided(values: Sequence[float]) -> bool:
    """Tell whether a person's looks so far refute that both models are alike."""
    scores = np.array(values, dtype=float)
    wealth = [calculate_wealth(one, NO_EFFECT, DESIGN).max(initial=0) for one in (scores, 1 - scores)]
    return bool(max(wealth) >= WEALTH_NEEDED)
