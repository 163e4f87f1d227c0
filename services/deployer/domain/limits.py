"""What a rollout is held to: stages, error rates, guardrails. Written into its row when it opens, kept to its end."""

import math
from typing import Literal

import msgspec

from services.deployer.domain.evidence import Schedule, weigh_place

BREAKER_LEVEL = 1e-4
BREAKER_SHARE = 0.1
"""What the breaker gets of alpha in a rollout that opens now."""
Action = Literal["roll_back", "hold"]


class Guardrail(msgspec.Struct, frozen=True, kw_only=True):
    """One test of its own: what it does when it finds harm, and its share of the alpha of that action."""

    name: str
    action: Action
    share: float


SHADOW_USERS = 20
"""Who must have asked before a shadow ends: nobody alone says that a candidate is good enough for users."""

GUARDRAILS = (
    Guardrail(name="outcome", action="roll_back", share=0.5),
    Guardrail(name="errors", action="roll_back", share=0.2),
    Guardrail(name="latency", action="roll_back", share=0.2),
    Guardrail(name="harmful_complaints", action="roll_back", share=0.1),
    Guardrail(name="response_rate", action="hold", share=0.5),
    Guardrail(name="sample_ratio", action="hold", share=0.5),
)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one rollout."""

    stages: list[float]
    holdback_percent: float
    alpha: float
    alpha_advance: float
    delta: float
    minimum_seconds: float
    minimum_votes: int
    """Users of each arm with traffic who must have said something in each stage."""
    exposure_seconds: float
    """What a user did within this time of their first answer in a stage is their outcome there."""
    silence: float
    """Outcome of a user who said nothing."""
    deadline_seconds: float
    """Of each stage: undecided by then, the rollout is ended."""
    breaker_errors: int
    breaker_share: float
    breaker_window: int
    breaker_alpha_share: float = 0.0
    """What the breaker's looks share of alpha; 0, as in rollouts of before: each errs at `BREAKER_LEVEL`, unpaid."""
    approvals: int = 1
    """2: four eyes."""
    shadow_percent: float = 0.0
    """Of the champion's answers that are asked of the candidate before users are; 0: no shadow."""
    shadow_prompts: int = 200
    """Compared answers after which the shadow ends."""
    shadow_length_factor: float = 2.0
    """Answers that are mostly so many times longer, or shorter, are for a person to judge."""
    starts: int = 0
    """Start points of the detectors in each stage, the holdback's included; 0: without end, ever lighter."""
    spacing: int = 64
    """Blocks from one start point to the next."""
    guardrails: tuple[Guardrail, ...] = GUARDRAILS

    @property
    def stage_weight(self) -> float:
        """Return what evidence that begins with a stage weighs: all stages and the holdback add up to 1."""
        return 1 / (len(self.stages) + 1)

    @property
    def sample_ratio_weight(self) -> float:
        """Return what the sample ratio of a stage weighs, which begins anew in each; in rollouts of before: all."""
        return self.stage_weight if self.breaker_alpha_share else 1.0

    @property
    def schedule(self) -> Schedule:
        """Return the start points of a stage's detectors: those of all stages, and of the holdback, add up to 1."""
        return Schedule(self.stage_weight, self.starts, self.spacing)

    @property
    def shadow_prompts_of_one(self) -> int:
        """Return how many prompts of one group of users count."""
        return math.ceil(self.shadow_prompts / SHADOW_USERS)

    def calculate_alpha(self, guardrail: Guardrail) -> float:
        """Return a guardrail's part of alpha, which those of the same action (and the breaker, to roll back) share."""
        whole = sum(other.share for other in self.guardrails if other.action == guardrail.action)
        left = 1 - self.breaker_alpha_share if guardrail.action == "roll_back" else 1.0
        return self.alpha * left * guardrail.share / whole

    def calculate_breaker_level(self, look: int) -> float:
        """Return how unlikely the counts of a look must be if both arms fail alike.

        Looks are counted from 0 through all stages, and anew in the holdback: each has half of the breaker's share.
        """
        half = self.alpha * self.breaker_alpha_share / 2
        return half * weigh_place(look) if half else BREAKER_LEVEL

    def calculate_advance_alpha(self, stage: int) -> float:
        """Return how sure one must be to leave a stage: the full alpha_advance before all users get the canary.

        A smaller stage risks less and needs less, in proportion; 1 asks for no evidence, as at 100%.
        """
        percent = self.stages[stage]
        largest = max((other for other in self.stages if other < 100), default=percent)
        return 1.0 if percent >= 100 else min(1.0, self.alpha_advance * largest / percent)

    def calculate_canary_share(self, stage: int) -> float:
        """Return the canary's share of the users at a stage, in [0, 1]; after the last one, the promoted version's."""
        percent = self.stages[stage] if stage < len(self.stages) else 100.0
        return min(percent, 100 - self.holdback_percent) / 100
