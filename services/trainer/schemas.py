"""What the trainer's API says of a run."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class RunView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    run_id: UUID
    request_id: UUID
    requested_by: str
    state: str
    reason: str | None
    dataset_sha256: str
    parent_version: str
    recipe_name: str
    recipe: dict[str, Any]
    recipe_sha256: str
    progress: dict[str, Any]
    remote: dict[str, Any] | None
    worker: str | None
    fencing_token: int
    heartbeat_at: datetime | None
    candidate_version: str | None
    weights_sha256: str | None
    mlflow_run_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime


class RunList(BaseModel):
    runs: list[RunView]
