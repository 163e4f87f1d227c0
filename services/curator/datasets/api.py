"""Datasets and lineage over HTTP."""

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from services.curator.config.http import READERS, Admin, Limit, View
from services.curator.datasets import repository as datasets
from services.curator.datasets.domain.report_page import POLICY
from services.curator.datasets.handlers import Kind, show_report, trace
from shared.db import SessionFactory
from shared.errors import NotFound
from shared.tables.curator import Dataset

PAGE_HEADERS = {
    "content-security-policy": f"{POLICY}; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",  # users' words
}


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
    imports: list[str]


def create_datasets_router(sessions: SessionFactory) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["curation"], dependencies=READERS)

    @router.get("/datasets")
    def list_datasets(limit: Limit = 100) -> DatasetList:
        """List the newest first."""
        with sessions() as session:
            return DatasetList(datasets=[_summarise(row) for row in datasets.list_datasets(session, limit)])

    @router.get("/datasets/{dataset_sha256}")
    def read_dataset(dataset_sha256: str) -> DatasetView:
        with sessions() as session:
            if (row := datasets.load_dataset(session, dataset_sha256)) is None:
                raise NotFound(f"no dataset {dataset_sha256}")
            return DatasetView.model_validate(row)

    @router.get("/datasets/{dataset_sha256}/report", response_class=HTMLResponse)
    def read_report(dataset_sha256: str, caller: Admin) -> HTMLResponse:
        """Return the data report as a page, with examples of what users wrote."""
        with sessions() as session:
            return HTMLResponse(show_report(session, dataset_sha256), headers=PAGE_HEADERS)

    @router.get("/lineage/{kind}/{subject}")
    def read_lineage(kind: Kind, subject: str) -> LineageView:
        """Return everything that led to this and that it led to."""
        with sessions() as session:
            return LineageView(kind=kind, id=subject, **asdict(trace(session, kind, subject)))

    return router


def _summarise(row: Dataset) -> DatasetSummary:
    return DatasetSummary(
        dataset_sha256=row.dataset_sha256,
        uri=row.uri,
        parent_sha256=row.parent_sha256,
        counts=row.manifest["counts"],
        created_at=row.created_at,
    )
