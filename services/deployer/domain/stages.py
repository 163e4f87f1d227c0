"""What to do with a canary stage, and why: roll back, hold, advance, or end it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from services.deployer.domain.arms import Arm
from services.deployer.domain.breaker import NOTHING_SEEN, Breaker, breaks, describe_breaker
from services.deployer.domain.guardrails import Reading
from services.deployer.domain.limits import Limits


@dataclass(frozen=True)
class StageFacts:
    """What happened in this stage."""

    readings: Sequence[Reading]
    advance: float
    """The largest e-value so far against "worse by delta or more"."""
    advance_alpha: float
    seconds: float
    said: Mapping[Arm, int]
    """Users who said something, of each arm that has traffic."""
    breaker: Breaker = NOTHING_SEEN
    missing_users: int | None = None
    """How many more users would decide at today's effect; None: none would."""


@dataclass(frozen=True)
class Decision:
    action: Literal["roll_back", "advance", "hold", "abort"]
    summary: str
    missing_users: int | None = None


def assess_stage(facts: StageFacts, limits: Limits) -> Decision:
    """Return the decision of the first of these that holds.

    - too many of the canary's users failed, and not of the champion's (a hard breaker): roll back
    - a guardrail that rolls back found harm: roll back
    - the stage is past its deadline: end the rollout
    - a guardrail that holds found something: hold
    - the stage is younger than its minimum: hold
    - too few users of an arm said anything: hold
    - the evidence that the canary is not worse by delta or more does not suffice: hold
    - else advance
    """
    if breaks(facts.breaker, limits):
        return Decision("roll_back", describe_breaker(facts.breaker))
    breached = [reading for reading in facts.readings if reading.is_breached]
    if harm := [reading for reading in breached if reading.action == "roll_back"]:
        return Decision("roll_back", f"the canary is worse: {'; '.join(describe(reading) for reading in harm)}")
    held = _find_hindrance(facts, limits, [reading for reading in breached if reading.action == "hold"])
    if held is None:
        return Decision("advance", f"not worse by {limits.delta:.0%} or more: e-value {facts.advance:.3g}", 0)
    if facts.seconds >= limits.deadline_seconds:
        days = limits.deadline_seconds / 86_400
        return Decision("abort", f"undecided after {days:.3g} days in one stage: {held}")
    return Decision("hold", held, facts.missing_users)


def _find_hindrance(facts: StageFacts, limits: Limits, holding: Sequence[Reading]) -> str | None:
    """Return what keeps the stage from advancing; None for nothing."""
    if holding:
        return f"held: {'; '.join(describe(reading) for reading in holding)}"
    if facts.seconds < limits.minimum_seconds:
        return f"{limits.minimum_seconds - facts.seconds:.0f} s until the stage may end"
    short = {arm: limits.minimum_votes - users for arm, users in facts.said.items()}
    if wanted := [f"{users} more {arm}" for arm, users in short.items() if users > 0]:
        return f"{' and '.join(wanted)} votes needed in this stage"
    if facts.advance_alpha < 1 and facts.advance < 1 / facts.advance_alpha:
        wait = "the canary looks worse" if facts.missing_users is None else f"about {facts.missing_users} more users"
        return f"{wait}: e-value {facts.advance:.3g} of {1 / facts.advance_alpha:.3g}"
    return None


def describe(reading: Reading) -> str:
    """Say in one line where a guardrail stands."""
    seen = f"canary {_show(reading.canary)}, champion {_show(reading.champion)}"
    if reading.name == "sample_ratio":
        seen = f"{_show(reading.canary)} of the users are the canary's, {_show(reading.champion)} were meant to be"
    return f"{reading.name.replace('_', ' ')}: {seen}; e-value {reading.e_value:.3g} of {reading.acts_at:.3g}"


def _show(mean: float | None) -> str:
    return "unknown" if mean is None or math.isnan(mean) else f"{mean:.1%}"
