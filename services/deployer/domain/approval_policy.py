"""An approval policy: which candidates may go on to the canary without a person, and what stands in a candidate's way.

It is an admin's word given beforehand: signed for them, bound to the epoch of the database that it was given in, and
void once it has led to a rollback.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import msgspec

from shared.events import GateResult

WEEK_SECONDS = 7 * 86_400.0
_encoder = msgspec.json.Encoder(order="sorted")


class ApprovalPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold before an approval in a person's place."""

    gate: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "win_rate"
    """The gate whose effect counts."""
    least_effect: float
    """Its interval must lie above this."""
    per_week: Annotated[int, msgspec.Meta(ge=1, le=50)]
    """Approvals of any kind in seven days, this one included."""
    veto_seconds: Annotated[float, msgspec.Meta(ge=0, le=WEEK_SECONDS)]
    """From the notice to the approval; whoever rejects or pauses the rollout meanwhile has vetoed it."""
    needs_confirmation: bool = True
    """Whether the champion's own promotion must have been confirmed by its holdback."""


@dataclass(frozen=True)
class PolicyFacts:
    """What a policy is held against."""

    gates: Sequence[GateResult]
    approved_this_week: int
    unconfirmed_version: str | None = None
    """The champion, if a rollout promoted it and its holdback has not confirmed that yet."""
    alarms: Sequence[str] = field(default_factory=list)


def find_objections(policy: ApprovalPolicy, facts: PolicyFacts) -> list[str]:
    """Return why a person has to approve this candidate; empty if the policy may."""
    objections = [f"gate {gate.name}: {gate.verdict}" for gate in facts.gates if gate.blocks and gate.verdict != "pass"]
    objections += _find_weakness(policy, facts.gates)
    if facts.approved_this_week >= policy.per_week:
        objections.append(f"{facts.approved_this_week} were approved within a week, {policy.per_week} are allowed")
    if policy.needs_confirmation and facts.unconfirmed_version is not None:
        objections.append(f"the holdback has not confirmed version {facts.unconfirmed_version} yet")
    return objections + [f"alarm: {alarm}" for alarm in facts.alarms]


def _find_weakness(policy: ApprovalPolicy, gates: Sequence[GateResult]) -> list[str]:
    low = next((gate.low for gate in gates if gate.name == policy.gate), None)
    if low is None:
        return [f"no gate {policy.gate} with an interval"]
    return [] if low > policy.least_effect else [f"{policy.gate}: from {low:.3g}, not above {policy.least_effect:.3g}"]


def encode_signed(
    *, version: int, policy: dict[str, Any] | None, epoch: int, set_by_id: str, at: datetime, audited_as: int
) -> bytes:
    """Return what the signature of a policy covers."""
    content = {"version": version, "policy": policy, "epoch": epoch, "set_by_id": set_by_id}
    return _encoder.encode(content | {"at": at.timestamp(), "audited_as": audited_as})
