"""What the curator's API takes and says."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class PairView(View):
    pair_id: str
    prompt_hash: str
    rule: str
    rule_version: int
    chosen: str
    rejected: str
    chosen_interaction_id: UUID | None
    rejected_interaction_id: UUID
    chosen_version: str | None
    rejected_version: str
    evidence: list[UUID]
    epsilon: float
    state: str
    reason: str | None
    created_at: datetime


class PairInSplit(PairView):
    split: str


class PairList(BaseModel):
    pairs: list[PairInSplit]
    next_cursor: str | None
    """Given as `after`, the following page; None on the last one."""


class DatasetView(View):
    dataset_sha256: str
    uri: str
    parent_sha256: str | None
    manifest: dict[str, Any]
    created_at: datetime


class DatasetSummary(View):
    """A dataset without the lists of ids in its manifest."""

    dataset_sha256: str
    uri: str
    parent_sha256: str | None
    counts: dict[str, int]
    created_at: datetime


class DatasetList(BaseModel):
    datasets: list[DatasetSummary]


class RequestView(View):
    request_id: UUID
    dataset_sha256: str
    parent_version: str
    reasons: list[dict[str, Any]]
    recipe: str | None
    requested_by: str
    state: str
    outcome: str | None
    candidate_version: str | None
    requested_at: datetime
    deadline_at: datetime
    closed_at: datetime | None


class RequestList(BaseModel):
    requests: list[RequestView]


class RetrainBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=500, description="why, for the record")


class SwitchView(BaseModel):
    paused: bool


class LineageView(View):
    """Everything reachable forward and backward; `pairs` are ids of pairs and labels."""

    kind: str
    id: str
    pairs: list[str]
    datasets: list[str]
    versions: list[str]
    interactions: list[UUID]
    events: list[UUID]
    served: list[UUID]
    served_count: int
