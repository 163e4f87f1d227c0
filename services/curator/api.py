"""The curator over HTTP: pairs, datasets, requests and lineage; asking for retraining; pausing the loop."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from services.curator.cursors import decode_cursor, encode_cursor
from services.curator.handlers.lineage import Kind, trace
from services.curator.handlers.retrain import request_retrain
from services.curator.handlers.summary import summarize
from services.curator.repository import datasets, derived, requests
from services.curator.schemas import (
    DatasetList,
    DatasetSummary,
    DatasetView,
    LineageView,
    PairInSplit,
    PairList,
    PairView,
    RequestList,
    RequestView,
    RetrainBody,
    SwitchView,
)
from services.curator.settings import CuratorSettings
from shared.auth import Caller, require
from shared.db import SessionFactory
from shared.errors import NotFound
from shared.events import Reason
from shared.settings import Settings

Limit = Annotated[int, Query(ge=1, le=1000)]
Admin = Annotated[Caller, Depends(require("admin"))]


def create_router(sessions: SessionFactory) -> APIRouter:
    """What ops and admins may read."""
    router = APIRouter(prefix="/v1", tags=["curation"], dependencies=[Depends(require("ops", "admin"))])

    @router.get("/pairs")
    def list_pairs(
        interaction_id: UUID | None = None,
        prompt_hash: str | None = None,
        rule: str | None = None,
        split: Literal["train", "validation", "gate"] | None = None,
        state: Literal["active", "contested", "refused"] | None = None,
        limit: Limit = 100,
        after: Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before")] = None,
    ) -> PairList:
        """Newest first, a page at a time."""
        with sessions() as session:
            rows = derived.list_pairs(
                session,
                interaction_id=interaction_id,
                prompt_hash=prompt_hash,
                rule=rule,
                split=split,
                state=state,
                limit=limit + 1,
                after=decode_cursor(after) if after is not None else None,
            )
            views = [PairInSplit(**PairView.model_validate(pair).model_dump(), split=where) for pair, where in rows]
            last = views[limit - 1] if len(views) > limit else None
            return PairList(
                pairs=views[:limit], next_cursor=encode_cursor(last.created_at, last.pair_id) if last else None
            )

    @router.get("/datasets")
    def list_datasets(limit: Limit = 100) -> DatasetList:
        """Newest first."""
        with sessions() as session:
            rows = datasets.list_datasets(session, limit)
            return DatasetList(
                datasets=[
                    DatasetSummary(
                        dataset_sha256=row.dataset_sha256,
                        uri=row.uri,
                        parent_sha256=row.parent_sha256,
                        counts=row.manifest["counts"],
                        created_at=row.created_at,
                    )
                    for row in rows
                ]
            )

    @router.get("/datasets/{dataset_sha256}")
    def read_dataset(dataset_sha256: str) -> DatasetView:
        with sessions() as session:
            if (row := datasets.load_dataset(session, dataset_sha256)) is None:
                raise NotFound(f"no dataset {dataset_sha256}")
            return DatasetView.model_validate(row)

    @router.get("/requests")
    def list_requests(limit: Limit = 100) -> RequestList:
        """Newest first."""
        with sessions() as session:
            rows = requests.list_requests(session, limit)
            return RequestList(requests=[RequestView.model_validate(row) for row in rows])

    @router.get("/lineage/{kind}/{subject}")
    def read_lineage(kind: Kind, subject: str) -> LineageView:
        """Everything that led to this and that it led to."""
        with sessions() as session:
            return LineageView(kind=kind, id=subject, **asdict(trace(session, kind, subject)))

    @router.get("/summary")
    def read_summary() -> dict[str, Any]:
        """Counts of the evidence and of what became of it."""
        with sessions() as session:
            return summarize(session)

    return router


def create_admin_router(
    sessions: SessionFactory, settings: Settings, curator: CuratorSettings, clock: Callable[[], datetime]
) -> APIRouter:
    """What only admins may do."""
    router = APIRouter(prefix="/v1", tags=["loop"])

    @router.post("/retrain", status_code=202)
    def retrain(caller: Admin, body: RetrainBody | None = None) -> RequestView:
        """Freeze a dataset and ask for retraining on it."""
        said = f": {body.reason}" if body and body.reason else ""
        reason = Reason(kind="manual", summary=f"asked for by {caller.name}{said}")
        with sessions() as session, session.begin():
            row = request_retrain(
                session,
                settings=settings,
                curator=curator,
                reasons=[reason],
                now=clock(),
                requested_by=f"key:{caller.name}",
            )
            return RequestView.model_validate(row)

    @router.post("/pause")
    def pause(caller: Admin) -> SwitchView:
        """No retraining is requested until the loop is resumed."""
        return switch(caller, paused=True)

    @router.post("/resume")
    def resume(caller: Admin) -> SwitchView:
        return switch(caller, paused=False)

    def switch(caller: Caller, *, paused: bool) -> SwitchView:
        with sessions() as session, session.begin():
            requests.save_switch(session, paused=paused, actor=caller.name, now=clock())
        return SwitchView(paused=paused)

    return router
