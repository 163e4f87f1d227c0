"""What ops and admins may read of the curator, put together."""

from typing import Any

from fastapi import APIRouter

from services.curator.app.handlers import summarise
from services.curator.config.http import READERS
from services.curator.datasets.api import create_datasets_router
from services.curator.pairs.api import create_pairs_router
from services.curator.requests.api import create_requests_router
from shared.db import SessionFactory


def create_router(sessions: SessionFactory) -> APIRouter:
    """Put together the routes that read pairs, datasets, lineage, requests, and the summary of all."""
    router = APIRouter()
    for create in (create_pairs_router, create_datasets_router, create_requests_router, create_summary_router):
        router.include_router(create(sessions))
    return router


def create_summary_router(sessions: SessionFactory) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["curation"], dependencies=READERS)

    @router.get("/summary")
    def read_summary() -> dict[str, Any]:
        """Return counts of the evidence and of what became of it."""
        with sessions() as session:
            return summarise(session)

    return router
