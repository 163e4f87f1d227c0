"""When to ask for a retraining."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from shared.events import Reason

MONTH = timedelta(days=30)


@dataclass(frozen=True)
class RetrainLimits:
    cooldown: timedelta
    """Time from one request's end to the next request."""
    monthly_budget: int
    """Requests within any 30 days."""
    minimum_pairs: int
    """Pairs that a dataset needs to be worth training on."""
    shadow: bool
    """Decide and say so, but ask for nothing."""


@dataclass(frozen=True)
class Situation:
    reasons: Sequence[Reason]
    champion_version: str | None
    paused: bool
    open_request: bool
    last_closed_at: datetime | None
    requests_this_month: int
    pairs: int
    """That a dataset frozen now would hold, at most."""
    new_pairs: int
    """Those of them that the last dataset does not hold."""


@dataclass(frozen=True)
class Decision:
    action: Literal["request", "shadow", "wait"]
    summary: str


def decide(situation: Situation, limits: RetrainLimits, now: datetime) -> Decision:
    """Ask only if none of these holds, else wait and say which:

    - there is no reason
    - the loop is paused
    - no champion is known to train from
    - a request is open
    - the last request closed less than the cooldown ago
    - the budget of the month is spent
    - there are too few pairs to train on
    - no pair is new since the last dataset: it would be the same training again
    """
    if not situation.reasons:
        return Decision("wait", "no reason to retrain")
    summary = "; ".join(reason.summary for reason in situation.reasons)
    if obstacle := _find_obstacle(situation, limits, now):
        return Decision("wait", f"{obstacle}, although: {summary}")
    if limits.shadow:
        return Decision("shadow", f"shadow mode, would have asked: {summary}")
    return Decision("request", summary)


def _find_obstacle(situation: Situation, limits: RetrainLimits, now: datetime) -> str | None:
    if situation.paused:
        return "the loop is paused"
    if situation.champion_version is None:
        return "no champion is known"
    if situation.open_request:
        return "a request is open"
    if (
        situation.last_closed_at is not None
        and (left := situation.last_closed_at + limits.cooldown - now) > timedelta()
    ):
        return f"the last request closed a moment ago, {left.total_seconds():.0f} s of cooldown are left"
    if situation.requests_this_month >= limits.monthly_budget:
        return f"the budget of {limits.monthly_budget} trainings in 30 days is spent"
    if situation.pairs < limits.minimum_pairs:
        return f"{situation.pairs} pairs are too few to train on (at least {limits.minimum_pairs})"
    if situation.new_pairs == 0:
        return "no pair is new since the last dataset"
    return None


def assess_schedule(last_requested_at: datetime | None, interval: timedelta, now: datetime) -> Reason | None:
    """Give a reason when the last request is as long ago as the interval, or there was none."""
    if last_requested_at is None:
        return Reason(kind="schedule", summary="scheduled retraining, the first one")
    waited = (now - last_requested_at).total_seconds()
    if waited < interval.total_seconds():
        return None
    summary = f"scheduled retraining: the last was asked for {waited / 3600:.1f} h ago"
    return Reason(kind="schedule", summary=summary, value=waited, threshold=interval.total_seconds())
