"""Bodies of the deployer's API."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.events import USER_GROUPS
from shared.tables.deployer import ApprovalPolicyRow, Rollout


class ApproveBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    approval_hash: str = Field(pattern="^[0-9a-f]{64}$", description="the rollout's `approval_hash`, as you saw it")


class AssertionView(BaseModel):
    assertion: str
    account_id: str
    name: str
    role: str
    expires_in_seconds: float


class CommandBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(
        min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$", description="one line, for the audit log"
    )


class RollbackBody(CommandBody):
    version: str | None = Field(
        default=None, min_length=1, max_length=100, description="an earlier champion; without it, the one before this"
    )
    unchecked: bool = Field(default=False, description="go back even if its model server does not answer by it now")


class RolloutView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    rollout_id: UUID
    request_id: UUID
    candidate_version: str
    champion_version: str
    state: str
    paused_from: str | None
    stage: int | None
    stage_started_at: datetime | None
    shadow_started_at: datetime | None
    stages: list[dict[str, Any]]
    evidence: dict[str, Any]
    limits: dict[str, Any] | None
    approval_hash: str
    approved_by: str | None
    approved_at: datetime | None
    summary: str
    created_at: datetime
    closed_at: datetime | None
    evaluation: dict[str, Any]

    @classmethod
    def of(cls, rollout: Rollout) -> "RolloutView":
        return cls.model_validate(rollout)


class RolloutList(BaseModel):
    """`frozen_until`: nothing moves forward before; null while rollouts may."""

    rollouts: list[RolloutView]
    frozen_until: datetime | None = None


class MirroredAnswerBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    failed: bool = Field(description="it did not come whole, or was empty")
    refused: bool
    words: int = Field(ge=0, le=10_000_000)
    seconds: float = Field(ge=0, le=86_400)


class ComparisonBody(BaseModel):
    """What champion and candidate made of one prompt, in numbers."""

    model_config = ConfigDict(extra="forbid")

    comparison_id: UUID
    rollout_id: UUID
    champion: MirroredAnswerBody
    candidate: MirroredAnswerBody
    user_group: int | None = Field(
        default=None,
        ge=0,
        lt=USER_GROUPS,
        description="which of a thousand groups of users asked; without it, as from gateways of before, nothing counts",
    )
    preference: float | None = Field(default=None, ge=0, le=1, description="a judge's: 1 for the candidate")


class PolicyBody(CommandBody):
    """What may be approved without a person: see docs/rollouts.md."""

    gate: str = Field(default="win_rate", min_length=1, max_length=100, description="the gate whose effect counts")
    least_effect: float = Field(ge=-1, le=1, description="the gate's interval must lie above this")
    per_week: int = Field(ge=1, le=50, description="approvals of any kind in seven days, this one included")
    veto_seconds: float = Field(ge=0, le=7 * 86_400, description="from the notice to the approval")
    needs_confirmation: bool = Field(
        default=True, description="whether the champion's holdback must have confirmed its promotion"
    )


class PolicyView(BaseModel):
    """The newest policy; `not_in_force`: why it approves nothing, null if it does."""

    version: int = 0
    policy: dict[str, Any] | None = None
    set_by: str | None = None
    at: datetime | None = None
    reason: str | None = None
    not_in_force: str | None

    @classmethod
    def of(cls, row: ApprovalPolicyRow | None, flaw: str | None) -> "PolicyView":
        if row is None:
            return cls(not_in_force=flaw)
        told = {name: getattr(row, name) for name in ("version", "policy", "set_by", "at", "reason")}
        return cls(**told, not_in_force=flaw)


class NoticeView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    notice_id: UUID
    target: str
    kind: str
    rollout_id: UUID
    body: dict[str, Any]
    created_at: datetime
    attempts: int
    next_attempt_at: datetime
    last_result: str | None
    delivered_at: datetime | None
    given_up_at: datetime | None


class NoticeList(BaseModel):
    notices: list[NoticeView]


class AuditLine(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    sequence: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str


class AuditLog(BaseModel):
    """`broken_at` is the first entry of the page that does not fit; null while the chain holds.

    `earlier`: what to pass as `before` for the page before this one; null when this one begins the log.
    """

    entries: list[AuditLine]
    verified: bool
    broken_at: int | None
    earlier: int | None
