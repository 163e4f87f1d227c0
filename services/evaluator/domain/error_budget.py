"""Error over successive candidates: how many of those that pass are no better, in expectation, over all retrainings.

A quarter's budget is what may be promoted in error, in expectation. Each candidate spends its level of it, first the
full one and then a share of what is left (alpha spending; alpha investing, Foster and Stine, JRSS B 70, 2008, would
earn some back at each promotion and bound a ratio of errors in place of their number).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

QUARTER = timedelta(days=91)
SHARE = 0.25
"""Of what is left, at most so much is spent on one candidate, so that there is always something for the next."""
LEAST_LEVEL = 1e-4
"""Not less: some forty retrainings of a quarter come to this, and no number of raters says more."""


@dataclass(frozen=True)
class Spending:
    """One candidate that was judged at a level."""

    at: datetime
    """When its evaluation was opened."""
    level: float
    passed: bool


@dataclass(frozen=True)
class Budget:
    """Expected false promotions: what a quarter allows, what was spent of it, and what the next candidate may spend."""

    allowed: float
    spent: float
    tests: int
    promoted: int
    next_level: float


def calculate_budget(tested: Sequence[Spending], opened_at: datetime, allowed: float, level: float) -> Budget:
    """Return what is left of a quarter's budget for the next candidate, whose evaluation was opened then.

    Evaluations may be given their levels in another order than that in which they were opened: those opened later that
    have theirs count, too. So in any 91 days the levels sum to `allowed` at most, and `LEAST_LEVEL` for each candidate.

    The expected number of false promotions is at most the sum of the levels spent, whatever each candidate is worth and
    however its level depends on those before it: each null candidate passes with a chance of its level at most, given
    all that went before. So the level of the next one is the wanted `level`, or a quarter of what is left.
    """
    recent = [each for each in tested if opened_at - QUARTER < each.at]
    spent = sum(each.level for each in recent)
    left = max(0.0, allowed - spent)
    following = max(LEAST_LEVEL, min(level, SHARE * left))
    return Budget(allowed, spent, len(recent), sum(each.passed for each in recent), following)
