"""The trainer over HTTP: what runs there are, and stopping one."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from services.trainer import repository
from services.trainer.handlers.requests import cancel_run
from services.trainer.schemas import RunList, RunView
from shared.acts import record_act
from shared.auth import Caller, require
from shared.db import SessionFactory
from shared.tables.trainer import Act

RunStateName = Literal["queued", "running", "succeeded", "failed", "cancelled"]


def make_router(sessions: SessionFactory, *, topic_prefix: str) -> APIRouter:
    """Make the routes under `/v1/runs`."""
    router = APIRouter(prefix="/v1/runs", tags=["runs"])

    @router.get("", dependencies=[Depends(require("ops", "admin"))])
    def list_runs(state: RunStateName | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> RunList:
        """List the newest first."""
        with sessions() as session:
            runs = repository.list_runs(session, state=state, limit=limit)
            return RunList(runs=[RunView.model_validate(run) for run in runs])

    @router.get("/{run_id}", dependencies=[Depends(require("ops", "admin"))])
    def read_run(run_id: UUID) -> RunView:
        with sessions() as session:
            return RunView.model_validate(repository.load_run(session, run_id))

    @router.post("/{run_id}/cancel")
    def cancel(run_id: UUID, caller: Annotated[Caller, Depends(require("admin"))]) -> RunView:
        """End the run now; its worker stops at its next step."""
        with sessions() as session, session.begin():
            run = cancel_run(session, run_id, by=caller.name, topic_prefix=topic_prefix)
            record_act(session, Act, caller, "cancel_run", str(run_id), {})
            return RunView.model_validate(run)

    return router
