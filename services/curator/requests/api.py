"""Requests to retrain over HTTP: listing them, opening one, and pausing the loop."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, field_validator

from services.curator.cells.ports import Embedder
from services.curator.config.http import READERS, Admin, Limit, View
from services.curator.config.settings import RECIPE, CuratorSettings
from services.curator.requests import repository as requests
from services.curator.requests.handlers import request_retrain
from shared.acts import record_act
from shared.auth import Caller
from shared.db import SessionFactory
from shared.events import Reason
from shared.settings import Settings
from shared.tables.erasures import Act


class RequestView(View):
    request_id: UUID
    dataset_sha256: str
    parent_version: str
    reasons: list[dict[str, Any]]
    recipe: str | None
    recipes: list[str] | None
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
    force: bool = Field(False, description="also where a model was trained on the same rows already")
    recipes: list[Annotated[str, Field(pattern=f"^{RECIPE}$")]] = Field(
        [], max_length=8, description="in place of those of the settings; of several, at most one candidate goes on"
    )

    @field_validator("recipes")
    @classmethod
    def _name_each_once(cls, recipes: list[str]) -> list[str]:
        if len(set(recipes)) < len(recipes):
            raise ValueError("names a recipe twice")
        return recipes


class SwitchView(BaseModel):
    paused: bool


def create_requests_router(sessions: SessionFactory) -> APIRouter:
    """Make the routes of what ops and admins may read."""
    router = APIRouter(prefix="/v1", tags=["curation"], dependencies=READERS)

    @router.get("/requests")
    def list_requests(limit: Limit = 100) -> RequestList:
        """List the newest first."""
        with sessions() as session:
            rows = requests.list_requests(session, limit)
            return RequestList(requests=[RequestView.model_validate(row) for row in rows])

    return router


def create_loop_router(
    sessions: SessionFactory,
    settings: Settings,
    curator: CuratorSettings,
    embedder: Embedder,
    clock: Callable[[], datetime],
) -> APIRouter:
    """Make the routes of what only admins may do."""
    router = APIRouter(prefix="/v1", tags=["loop"])

    @router.post("/retrain", status_code=202)
    def retrain(caller: Admin, body: RetrainBody | None = None) -> RequestView:
        """Freeze a dataset and ask for retraining on it; 409 if a model was trained on the same rows already."""
        said = f": {body.reason}" if body and body.reason else ""
        reason = Reason(kind="manual", summary=f"asked for by {caller.name}{said}")
        with sessions() as session, session.begin():
            row = request_retrain(
                session,
                settings=settings,
                curator=curator,
                embedder=embedder,
                reasons=[reason],
                now=clock(),
                requested_by=f"key:{caller.name}",
                force=bool(body and body.force),
                recipes=body.recipes if body else (),
            )
            detail = {"dataset_sha256": row.dataset_sha256, "reason": body.reason if body else ""}
            record_act(session, Act, caller, "retrain", str(row.request_id), detail)
            return RequestView.model_validate(row)

    @router.post("/pause")
    def pause(caller: Admin) -> SwitchView:
        """Request no retraining until the loop is resumed."""
        return switch(caller, paused=True)

    @router.post("/resume")
    def resume(caller: Admin) -> SwitchView:
        return switch(caller, paused=False)

    def switch(caller: Caller, *, paused: bool) -> SwitchView:
        with sessions() as session, session.begin():
            requests.save_switch(session, paused=paused, actor=caller.name, now=clock())
            record_act(session, Act, caller, "pause" if paused else "resume", settings.family, {})
        return SwitchView(paused=paused)

    return router
