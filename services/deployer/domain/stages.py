"""What to do with a canary stage, and why: roll back, advance, or hold."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from services.deployer.domain.evidence import Arm, Counts, Evidence, estimate_missing_votes


@dataclass(frozen=True)
class StageThresholds:
    """How sure one has to be. `alpha_rollback` is already one guardrail's share."""

    alpha_rollback: float
    alpha_advance: float
    delta: float
    minimum_seconds: float
    minimum_votes: int
    """Votes that each stage must hear for itself, of each arm that has traffic."""
    breaker_errors: int
    breaker_share: float
    breaker_window: int


@dataclass(frozen=True)
class StageFacts:
    """What happened so far: evidence over all stages, time and votes of this one."""

    evidence: Evidence
    seconds: float
    stage_votes: Mapping[Arm, int]
    canary_served: int
    """Of the canary's latest answers, at most `breaker_window`."""
    canary_errors: int
    """How many of those failed."""


@dataclass(frozen=True)
class Decision:
    action: Literal["roll_back", "advance", "hold"]
    summary: str
    missing_votes: int | None = None


def assess_stage(facts: StageFacts, thresholds: StageThresholds) -> Decision:
    """Return the decision of the first of these that holds.

    - too many of the canary's latest answers failed (a hard breaker): roll back
    - the rollback e-value reached 1/alpha: roll back
    - the stage is younger than its minimum: hold
    - too few votes of an arm in this stage: hold
    - the advance e-value has not reached 1/alpha: hold
    - else advance
    """
    evidence = facts.evidence
    if breaks(facts, thresholds):
        return Decision("roll_back", f"{facts.canary_errors} of the last {facts.canary_served} canary answers failed")
    if evidence.log_rollback >= math.log(1 / thresholds.alpha_rollback):
        return Decision(
            "roll_back",
            f"the canary is worse: e-value {_show(evidence.log_rollback)} reached {1 / thresholds.alpha_rollback:.0f}"
            f" ({_describe(evidence)})",
        )
    estimate = estimate_missing_votes(evidence, delta=thresholds.delta, alpha=thresholds.alpha_advance)
    short = {arm: thresholds.minimum_votes - votes for arm, votes in facts.stage_votes.items()}
    missing = max(estimate, sum(max(votes, 0) for votes in short.values())) if estimate is not None else None
    if facts.seconds < thresholds.minimum_seconds:
        return Decision("hold", f"{thresholds.minimum_seconds - facts.seconds:.0f} s until the stage may end", missing)
    if wanted := [f"{votes} more {arm}" for arm, votes in short.items() if votes > 0]:
        return Decision("hold", f"{' and '.join(wanted)} votes needed in this stage ({_describe(evidence)})", missing)
    if evidence.log_advance < math.log(1 / thresholds.alpha_advance):
        wait = f"about {missing} more votes needed" if missing is not None else "the canary looks worse"
        return Decision("hold", f"{wait}: e-value {_show(evidence.log_advance)} ({_describe(evidence)})", missing)
    return Decision(
        "advance",
        f"not worse by {thresholds.delta:.0%} or more: e-value {_show(evidence.log_advance)} ({_describe(evidence)})",
        0,
    )


def breaks(facts: StageFacts, thresholds: StageThresholds) -> bool:
    """Tell whether the canary's errors trip the hard breaker."""
    return (
        facts.canary_errors >= thresholds.breaker_errors
        and facts.canary_errors > thresholds.breaker_share * facts.canary_served
    )


def _describe(evidence: Evidence) -> str:
    return f"canary {_rate(evidence.canary)}, champion {_rate(evidence.champion)}"


def _rate(counts: Counts) -> str:
    return f"{counts.ups}/{counts.votes} up"


def _show(log_value: float) -> str:
    return f"{math.exp(min(log_value, 700)):.3g}"
