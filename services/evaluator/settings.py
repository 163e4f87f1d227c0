"""Settings of the evaluator, `HELIOTROPE_EVALUATOR_*`, beside the shared ones."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class EvaluatorSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_EVALUATOR_", extra="ignore", frozen=True)

    gate_prompts: int = Field(default=60, ge=1, le=5_000, description="gate prompts judged in one evaluation, at most")
    gate_uses_per_renewal: int = Field(
        default=20, ge=1, description="evaluations after which a gate cell goes on with newly asked prompts only"
    )
    seed: int = Field(default=0, ge=0, description="draws the prompts, the sampling and the order of comparisons")
    sampling: Literal["model", "greedy"] = Field(
        default="model", description="model: as the checkpoint's generation_config says; greedy: the likeliest token"
    )
    max_new_tokens: int = Field(
        default=256, ge=1, le=4_096, description="length of an answer, at most; what users get, or answers are cut"
    )
    frozen_suite: bool = Field(
        default=True, description="both models answer the frozen suite of 84 prompts, too: what may not be forgotten"
    )
    held_out_pairs: int = Field(
        default=50, ge=0, le=10_000, description="preference pairs of gate prompts that both models look at; 0: none"
    )
    tasks: Path | None = Field(
        default=None, description="folder of lm-eval's task files that both models answer, too (heliotrope[lm-eval])"
    )
    task_documents: int = Field(
        default=200, ge=0, le=100_000, description="of each task the first so many documents; 0: all"
    )
    batch_size: int = Field(default=16, ge=1, le=512, description="answers generated at once")
    dtype: Literal["bfloat16", "float32"] = Field(default="bfloat16", description="number format of the weights")
    generation_deadline_seconds: float = Field(default=3_600, gt=0, description="without answers by then: inconclusive")
    heartbeat_expiry_seconds: float = Field(
        default=30, gt=5, description="work without a heartbeat this long starts again"
    )
    votes_deadline_seconds: float = Field(default=86_400, gt=0, description="voting closes this long after it opened")
    policy: Path | None = Field(
        default=None, description="YAML file that says which gates block and with which thresholds; none: the defaults"
    )
    false_promotions_per_quarter: float = Field(
        default=0.5, gt=0, description="candidates no better than the champion that may pass in 91 days, in expectation"
    )
    audit_days: float = Field(
        default=30, ge=0, description="the champion is judged again, against the one before it, so often; 0: never"
    )
    lease_seconds: float = Field(
        default=60, gt=0, description="a comparison shown to one person is kept for them this long"
    )
    leases_per_key: int = Field(
        default=4, ge=1, description="comparisons that one key keeps at once, however many share it"
    )
    announce_again_seconds: float = Field(default=30, gt=0, description="without a rollout by then: announced again")
    announcements: int = Field(default=20, ge=1, description="how often a result is announced, at most")
