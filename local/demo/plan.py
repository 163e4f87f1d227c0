"""The demo's numbers: how many people, how long, and which settings of the services differ from their defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """One way to run the demo."""

    name: str
    recipe: str
    max_tokens: int
    concurrency: int
    """Chats at once, before and after the retraining."""
    most_chats: int
    """Chats after which the demo gives up waiting for a retrain request."""
    held_out_prompts: int
    rounds: int = 5
    """Turns of the loop, where a scenario takes several."""
    users: int = 60
    raters: int = 20
    canary_questions: int = 400
    """Different questions that newcomers bring while the canary runs; asked again when all have been."""
    service_settings: Mapping[str, str] = field(default_factory=dict)
    seconds_for: Mapping[str, float] = field(default_factory=dict)
    """Deadline of each stage in seconds; a stage that takes longer fails the demo."""


COMMON = {
    "HELIOTROPE_DEPLOYER_STAGES": "[25, 50, 100]",
    "HELIOTROPE_DEPLOYER_MINIMUM_STAGE_SECONDS": "5",
    "HELIOTROPE_DEPLOYER_MINIMUM_STAGE_VOTES": "3",
    "HELIOTROPE_DEPLOYER_HOLDBACK_PERCENT": "10",
    "HELIOTROPE_DEPLOYER_EXPOSURE_SECONDS": "3",  # a newcomer reacts at once, and has one chat
    "HELIOTROPE_DEPLOYER_OUTCOME_GRACE_SECONDS": "3",
    "HELIOTROPE_GATEWAY_USER_REQUESTS_PER_SECOND": "0",  # simulated users do not stop to read
    "HELIOTROPE_CURATOR_MONITOR_SECONDS": "2",
}
DEADLINES = {
    "listen": 1_800,
    "train": 1_800,
    "evaluate": 1_200,
    "approve": 60,
    "canary": 1_200,
    "holdback": 300,
    "measure": 1_200,
    "baseline": 1_200,
}

SMOLLM2 = Plan(
    name="smollm2",
    recipe="demo",
    max_tokens=48,
    concurrency=12,
    most_chats=600,
    held_out_prompts=60,
    service_settings=COMMON
    | {
        "HELIOTROPE_CURATOR_RECIPE": "demo",
        "HELIOTROPE_CURATOR_VOLUME_PAIRS": "90",
        "HELIOTROPE_EVALUATOR_GATE_PROMPTS": "50",  # one answer more that loops may pass
        "HELIOTROPE_EVALUATOR_MAX_NEW_TOKENS": "48",
        "HELIOTROPE_EVALUATOR_BATCH_SIZE": "40",
        "HELIOTROPE_EVALUATOR_FROZEN_SUITE": "false",  # it would double the time of the judging
    },
    seconds_for=DEADLINES,
)
TINY = Plan(
    name="tiny",
    recipe="demo_tiny",
    max_tokens=48,
    concurrency=16,
    most_chats=1_000,
    held_out_prompts=120,
    service_settings=COMMON
    | {
        "HELIOTROPE_CURATOR_RECIPE": "demo_tiny",
        "HELIOTROPE_CURATOR_VOLUME_PAIRS": "140",
        "HELIOTROPE_EVALUATOR_GATE_PROMPTS": "60",
        "HELIOTROPE_EVALUATOR_MAX_NEW_TOKENS": "48",
        "HELIOTROPE_EVALUATOR_BATCH_SIZE": "32",
        "HELIOTROPE_EVALUATOR_FROZEN_SUITE": "false",  # it would double the time of the judging
    },
    seconds_for=DEADLINES,
)
PLANS = {plan.name: plan for plan in (SMOLLM2, TINY)}
