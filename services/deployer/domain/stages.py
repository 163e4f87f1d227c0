"""What to do with a canary stage: roll back, advance, or hold, and why in words."""

import math
from dataclasses import dataclass
from typing import Literal

from services.deployer.domain.evidence import Counts, Evidence, estimate_missing_votes


@dataclass(frozen=True)
class Limits:
    """How sure one has to be. `alpha_rollback` is already one guardrail's share."""

    alpha_rollback: float
    alpha_advance: float
    delta: float
    minimum_seconds: float
    minimum_votes: int
    """Canary votes that each stage must see for itself."""
    breaker_errors: int
    breaker_share: float


@dataclass(frozen=True)
class StageFacts:
    """What happened so far: evidence over all stages; the rest since this stage began."""

    evidence: Evidence
    seconds: float
    stage_votes: int
    canary_served: int
    canary_errors: int


@dataclass(frozen=True)
class Decision:
    action: Literal["roll_back", "advance", "hold"]
    words: str
    missing_votes: int | None = None


def assess_stage(facts: StageFacts, limits: Limits) -> Decision:
    """The first of these that holds.

    - too many errors of the canary (a hard breaker): roll back
    - the rollback e-value reached 1/alpha: roll back
    - the stage is younger than its minimum: hold
    - too few canary votes in this stage: hold
    - the advance e-value has not reached 1/alpha: hold
    - else advance
    """
    evidence = facts.evidence
    if breaks(facts, limits):
        return Decision("roll_back", f"{facts.canary_errors} of {facts.canary_served} canary answers failed")
    if evidence.log_rollback >= math.log(1 / limits.alpha_rollback):
        return Decision(
            "roll_back",
            f"the canary is worse: e-value {_show(evidence.log_rollback)} reached {1 / limits.alpha_rollback:.0f}"
            f" ({_describe(evidence)})",
        )
    estimate = estimate_missing_votes(evidence, delta=limits.delta, alpha=limits.alpha_advance)
    missing = max(estimate, limits.minimum_votes - facts.stage_votes, 0) if estimate is not None else None
    if facts.seconds < limits.minimum_seconds:
        return Decision("hold", f"{limits.minimum_seconds - facts.seconds:.0f} s until the stage may end", missing)
    if facts.stage_votes < limits.minimum_votes:
        short = limits.minimum_votes - facts.stage_votes
        return Decision("hold", f"{short} more canary votes needed in this stage ({_describe(evidence)})", missing)
    if evidence.log_advance < math.log(1 / limits.alpha_advance):
        wait = f"about {missing} more votes needed" if missing is not None else "the canary looks worse"
        return Decision("hold", f"{wait}: e-value {_show(evidence.log_advance)} ({_describe(evidence)})", missing)
    return Decision(
        "advance",
        f"not worse by {limits.delta:.0%} or more: e-value {_show(evidence.log_advance)} ({_describe(evidence)})",
        0,
    )


def breaks(facts: StageFacts, limits: Limits) -> bool:
    """Whether the canary's errors trip the hard breaker."""
    return (
        facts.canary_errors >= limits.breaker_errors
        and facts.canary_errors > limits.breaker_share * facts.canary_served
    )


def _describe(evidence: Evidence) -> str:
    return f"canary {_rate(evidence.canary)}, champion {_rate(evidence.champion)}"


def _rate(counts: Counts) -> str:
    return f"{counts.ups}/{counts.votes} up"


def _show(log_value: float) -> str:
    return f"{math.exp(min(log_value, 700)):.3g}"
