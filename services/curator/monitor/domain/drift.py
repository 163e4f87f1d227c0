"""Opinion drift: the champion's positive rate has fallen below what it was when its users first judged it.

A mixture e-detector (Shin, Ramdas & Rinaldo 2022, "E-detectors", arXiv:2203.03532; Shiryaev-Roberts form). For each
alternative rate q_j = p0 * share_j, after every vote x,

    M_j <- (M_j + 1) * L_j(x)      L_j(up) = q_j / p0      L_j(down) = (1 - q_j) / (1 - p0)

and the alarm comes when the mean of the M_j reaches A.

The claim: the average number of votes until an alarm is at least A, for every true positive rate >= p0 (the mean of
L_j is then at most 1, so mean(M) - n is a supermartingale), provided that votes are independent. Votes of one user
are not: five votes per session at correlation .2 bring 2,000 down to about 430. Hence one vote per user and period,
and anonymous votes are not used. p0 is itself an estimate, so its lower confidence bound stands in for it; it comes
from fresh votes after the promotion, since the rate that won a promotion is selected upwards.

The price, simulated at A = 2,000 and a fall from .80 to .72: found after 170 votes (median) when p0 is .80 exactly, and
after 420 when p0 is the bound from 300 votes, about .76.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal
from uuid import UUID

import numpy as np
import numpy.typing as npt
from scipy import stats

SHARES = np.array([0.95, 0.9, 0.8, 0.65])
CONFIDENCE = 0.95
RECENT = 200
LARGEST = 1e300

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ChampionVote:
    """A thumb, or a rating that is clearly one or the other."""

    event_id: UUID
    user: str | None
    at: datetime
    up: bool


@dataclass(frozen=True)
class OpinionRules:
    run_length: int
    """A: votes between two false alarms, on average and at least."""
    warm_up: int
    """First votes on a new champion, from which its rate is measured."""
    period: timedelta
    """A user counts once in each."""
    margin: float
    """A fall that is not worth retraining for, taken off the lower bound."""


@dataclass(frozen=True)
class Opinion:
    """What the votes say. `value` is the mean of the M_j, or the largest it was once it reached the threshold."""

    state: Literal["warming_up", "watching", "alarm", "unmeasurable"]
    summary: str
    votes: int
    """Votes that count: one per user and period, warm-up included."""
    value: float = 0.0
    baseline_rate: float | None = None
    floor: float | None = None
    """p0."""
    recent_rate: float | None = None
    recent_votes: int = 0


def keep_first_votes(votes: Iterable[ChampionVote], period: timedelta) -> list[ChampionVote]:
    """Keep each user's first vote of each period, by time, then event id; anonymous votes are left out.

    Periods are counted from the epoch. A later change of mind or retraction does not undo the vote: which votes count
    must not depend on what came after them.
    """
    seen: set[tuple[str, int]] = set()
    kept = []
    for vote in sorted(votes, key=lambda vote: (vote.at, vote.event_id)):
        if vote.user is None:
            continue
        key = (vote.user, int(vote.at.timestamp() // period.total_seconds()))
        if key not in seen:
            seen.add(key)
            kept.append(vote)
    return kept


def calculate_lower_bound(positives: int, n: int) -> float:
    """Calculate the one-sided 95% lower bound of a rate (Clopper & Pearson 1934)."""
    if positives == 0:
        return 0.0
    return float(stats.beta.ppf(1 - CONFIDENCE, positives, n - positives + 1))


def advance(values: FloatArray, up: BoolArray, floor: float) -> FloatArray:
    """Update the M_j, shape (..., 4), by one more vote of each stream, shape (...)."""
    rates = floor * SHARES
    factors = np.where(up[..., None], SHARES, (1 - rates) / (1 - floor))
    return np.minimum((values + 1) * factors, LARGEST)


def assess_opinion(votes: Sequence[ChampionVote], rules: OpinionRules, restarted_at: datetime | None = None) -> Opinion:
    """Judge the votes on one champion.

    - before `warm_up` counted votes: warming up
    - a rate so low that nothing lies below its bound less the margin: unmeasurable
    - else watch the votes after the warm-up, and after `restarted_at` (the last request that an alarm led to)
    - once the threshold was reached: alarm, until restarted
    """
    counted = keep_first_votes(votes, rules.period)
    if len(counted) < rules.warm_up:
        summary = f"measuring the new champion: {len(counted)} of {rules.warm_up} votes"
        return Opinion("warming_up", summary, len(counted))
    positives = sum(vote.up for vote in counted[: rules.warm_up])
    rate = positives / rules.warm_up
    floor = calculate_lower_bound(positives, rules.warm_up) - rules.margin
    if floor <= 0:
        summary = f"the champion began at {rate:.0%} of {rules.warm_up} votes: too low to notice a fall"
        return Opinion("unmeasurable", summary, len(counted), baseline_rate=rate)
    watched = [vote for vote in islice(counted, rules.warm_up, None) if restarted_at is None or vote.at > restarted_at]
    value, alarm = _watch(watched, floor, rules.run_length)
    recent = watched[-RECENT:]
    recent_rate = sum(vote.up for vote in recent) / len(recent) if recent else None
    held = "" if recent_rate is None else f"{recent_rate:.0%} of the last {len(recent)} votes are positive, "
    summary = f"{held}after {rate:.0%} at first (at least {floor:.0%} expected); evidence of a fall {value:,.1f}"
    return Opinion(
        "alarm" if alarm else "watching",
        f"{summary} (alarm at {rules.run_length:,})",
        len(counted),
        value,
        rate,
        floor,
        recent_rate,
        len(recent),
    )


def _watch(votes: Sequence[ChampionVote], floor: float, run_length: int) -> tuple[float, bool]:
    """Run the detector; return (mean of the M_j now, or its peak once it alarmed; whether it alarmed)."""
    values, mean, peak = np.zeros(len(SHARES)), 0.0, 0.0
    for vote in votes:
        values = advance(values, np.asarray(vote.up), floor)
        mean = float(values.mean())
        peak = max(peak, mean)
    return (peak, True) if peak >= run_length else (mean, False)
