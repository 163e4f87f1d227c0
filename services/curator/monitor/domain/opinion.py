"""Opinion drift: the champion's positive rate has fallen below what it was once its users had got used to it.

Votes are counted in periods (a day): one vote per user and period, by time of reception, so that neither many votes
nor backdated ones weigh more. A reign goes through

- settling: a new model is liked for being new, and less so later. What wears off in this time is no fall. It goes on
  while the rate falls from one stretch to the next, period by period of the week, by more than chance.
- learning: whole periods until there are enough votes. Their rate, less what it may be wrong by and a margin, is the
  floor, fixed for the reign.
- watching: each period's likelihood ratio of alternatives q_j = floor * share_j against the floor, to the power 1/D,
  adds to the evidence (`evidence`).

D is how much more the rate of a period varies than independent votes would: 1 for those, more where the same users
vote in many periods (by their correlation, over a horizon of four weeks) and where whole periods differ, as days of a
week or days on which something happened (by their variance while learning, at its upper bound). The power makes the
mean of the ratio 1 again where a period's sum of votes is about normal.

The null that is tested: the rate of a period is the floor or more, with that spread around it. `unmeasurable` is said
where this cannot be told: too few users would have to speak for all, nothing lies below the floor, or
the rate has fallen ever since the promotion, as it does when novelty wears off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from services.curator.monitor.domain.evidence import FloatArray, accumulate

SHARES = np.array([0.95, 0.9, 0.8, 0.65])
DEVIATIONS = 1.0
"""Standard errors that the floor lies below the rate."""
FALLING = 1.0
"""Standard errors by which the rate must have fallen between two stretches for novelty to be wearing off still."""
VARIANCE_LEVEL = 0.2
"""Probability that the true variance between periods lies above its bound."""
HORIZON = 28
"""Periods over which the same users' votes are taken to add up."""
RECENT = 7

State = Literal["settling", "learning", "watching", "alarm", "unmeasurable"]


class VoteWindow(NamedTuple):
    """One period's counted votes."""

    began_at: datetime
    votes: int
    ups: int


class Repeats(NamedTuple):
    """So many users each cast `votes` counted votes while learning, `ups` of them positive."""

    votes: int
    ups: int
    users: int


@dataclass(frozen=True)
class OpinionRules:
    period: timedelta
    settling: int
    """Periods after a promotion before anything is learnt, at least; whole weeks, if the week matters. 0: none."""
    warm_up: int
    """Votes from which the rate is learnt, at least..."""
    warm_up_periods: int
    """...in so many whole periods, at least."""
    least_users: float
    """Users of equal weight who must have voted while learning."""
    margin: float
    """A fall that is not worth retraining for, taken off the floor."""

    @property
    def days(self) -> float:
        return self.period / timedelta(days=1)


@dataclass(frozen=True)
class Baseline:
    """What was learnt of a reign; `user_spread` and `period_variance` say how far periods spread around the rate."""

    rate: float
    floor: float
    users: float
    """Effective number: users of equal votes who would tell as much."""
    user_spread: float
    period_variance: float

    def dispersion(self, votes: float) -> float:
        """Return D of a period with so many votes."""
        return self.user_spread + votes * self.period_variance / (self.rate * (1 - self.rate))


@dataclass(frozen=True)
class Opinion:
    """What the votes say. `value` is the evidence of a fall, in days."""

    state: State
    summary: str
    votes: int
    value: float = 0.0
    baseline: Baseline | None = None
    recent_rate: float | None = None
    recent_votes: int = 0


def find_learning(windows: Sequence[VoteWindow], rules: OpinionRules) -> range | None:
    """Find the windows of a reign, by place, from which its rate is learnt; None while they have not all passed."""
    for start in range(rules.settling, len(windows), max(rules.settling, 1)):
        if (end := _find_end(windows, start, rules)) is None:
            return None
        if not is_falling(windows[start - rules.settling : start], windows[start:end]):
            return range(start, end)
    return None


def _find_end(windows: Sequence[VoteWindow], start: int, rules: OpinionRules) -> int | None:
    votes = 0
    for n, window in enumerate(windows[start:], start=1):
        votes += window.votes
        if votes >= rules.warm_up and n >= rules.warm_up_periods:
            return start + n
    return None


def is_falling(before: Sequence[VoteWindow], after: Sequence[VoteWindow]) -> bool:
    """Tell whether the rate fell from one stretch to the next, comparing each period with that of its place."""
    pairs = [(one, other) for one, other in zip(before, after, strict=False) if one.votes and other.votes]
    drops = np.array([one.ups / one.votes - other.ups / other.votes for one, other in pairs])
    if len(drops) < 2:
        return False
    return bool(drops.mean() > FALLING * drops.std(ddof=1) / np.sqrt(len(drops)))


def learn(windows: Sequence[VoteWindow], repeats: Sequence[Repeats], margin: float) -> Baseline | None:
    """Learn the floor from the windows of the learning time; None where all votes agree, or there are none."""
    n, k = np.array([[window.votes, window.ups] for window in windows if window.votes], dtype=float).reshape(-1, 2).T
    votes = n.sum()
    if not 0 < k.sum() < votes:
        return None
    rate = float(k.sum() / votes)
    unit = rate * (1 - rate)
    crowd = np.array(repeats, dtype=float).reshape(-1, 3)
    sums, squares = crowd[:, 0] @ crowd[:, 2], crowd[:, 0] ** 2 @ crowd[:, 2]
    correlation = _bound_correlation(crowd, rate)
    per_user = squares / sums - 1 if sums else 0.0
    variance = _bound_variance(n, k, rate)
    spread = 1 + correlation * per_user + variance * (n**2).sum() / votes / unit
    floor = rate - DEVIATIONS * float(np.sqrt(spread * unit / votes)) - margin
    over_horizon = per_user * max(1.0, HORIZON / len(windows))
    users = float(sums**2 / squares) if sums else 0.0
    return Baseline(rate, floor, users, float(1 + correlation * over_horizon), variance)


def _bound_correlation(crowd: FloatArray, rate: float) -> float:
    """Bound the correlation of one user's votes: over pairs of votes, one standard error up; (votes, ups, users)."""
    n, k, users = crowd.T
    pairs = n * (n - 1) @ users
    if not pairs:
        return 0.0
    products = (k - n * rate) ** 2 - k * (1 - rate) ** 2 - (n - k) * rate**2
    found = products @ users / pairs / (rate * (1 - rate))
    return float(np.clip(found, 0, 1) + 1 / np.sqrt(users[n > 1].sum()))


def _bound_variance(n: FloatArray, k: FloatArray, rate: float) -> float:
    """Bound the variance between periods beyond that of independent votes (Pearson's statistic)."""
    freedom = len(n) - 1
    if not freedom:
        return 0.0
    unit = rate * (1 - rate)
    found = (n * (k / n - rate) ** 2).sum() / unit / stats.chi2.ppf(VARIANCE_LEVEL, freedom)
    return float(max(0.0, found - 1) * unit / n.mean())


def weigh(votes: FloatArray, ups: FloatArray, floor: FloatArray, dispersion: FloatArray) -> FloatArray:
    """Weigh periods of independent streams, each argument of shape (...): e-values of the alternatives, (..., 4)."""
    rates = floor[..., None] * SHARES
    of_down = np.log((1 - rates) / (1 - floor[..., None]))
    ratios = ups[..., None] * np.log(SHARES) + (votes - ups)[..., None] * of_down
    e_values: FloatArray = np.exp(ratios / dispersion[..., None])
    return e_values


def assess_opinion(
    windows: Sequence[VoteWindow],
    repeats: Sequence[Repeats],
    rules: OpinionRules,
    threshold: float,
    restarted_at: datetime | None = None,
) -> Opinion:
    """Judge a reign by its closed windows, in order; evidence begins anew after `restarted_at`.

    `restarted_at` is the last request that an alarm led to. An alarm stands while the evidence does.
    """
    votes = sum(window.votes for window in windows)
    if (learning := find_learning(windows, rules)) is None:
        return _await(windows, rules, votes)
    baseline = learn(windows[learning.start : learning.stop], repeats, rules.margin)
    if baseline is None or baseline.floor <= 0:
        return Opinion("unmeasurable", "nothing lies below the champion's first votes: a fall cannot be seen", votes)
    if baseline.users < rules.least_users:
        summary = f"{baseline.users:.0f} users of equal weight cast the votes: too few to speak for all"
        return Opinion("unmeasurable", summary, votes, baseline=baseline)
    watched = [one for one in windows[learning.stop :] if restarted_at is None or one.began_at > restarted_at]
    return _watch(watched, baseline, rules, threshold, votes)


def _await(windows: Sequence[VoteWindow], rules: OpinionRules, votes: int) -> Opinion:
    if len(windows) < rules.settling:
        left = rules.settling - len(windows)
        return Opinion("settling", f"the champion is new: {left} periods until its rate is learnt", votes)
    if _find_end(windows, rules.settling, rules) is not None:
        summary = "the rate has fallen ever since the promotion: novelty that wears off looks the same"
        return Opinion("unmeasurable", summary, votes)
    learnt = sum(window.votes for window in windows[rules.settling :])
    periods = len(windows) - rules.settling
    summary = (
        f"learning the champion's rate: {learnt} of {rules.warm_up} votes, {periods} of {rules.warm_up_periods} periods"
    )
    return Opinion("learning", summary, votes)


def _watch(
    windows: Sequence[VoteWindow], baseline: Baseline, rules: OpinionRules, threshold: float, votes: int
) -> Opinion:
    evidence = np.zeros(len(SHARES))
    for window in windows:
        n, k = float(window.votes), float(window.ups)
        e_values = weigh(*np.array([n, k, baseline.floor, baseline.dispersion(n)]))
        evidence = accumulate(evidence, e_values, rules.days, threshold)
    value = float(evidence.mean())
    recent = [*windows[-RECENT:]]
    recent_votes = sum(window.votes for window in recent)
    rate = sum(window.ups for window in recent) / recent_votes if recent_votes else None
    held = "" if rate is None else f"{rate:.0%} of the last {recent_votes} votes are positive, "
    summary = (
        f"{held}after {baseline.rate:.0%} at first (at least {baseline.floor:.0%} expected); "
        f"evidence of a fall {value:,.1f} days (alarm at {threshold:,.0f})"
    )
    state: State = "alarm" if value >= threshold else "watching"
    return Opinion(state, summary, votes, value, baseline, rate, recent_votes)
