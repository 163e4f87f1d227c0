"""Frozen datasets, and what became of them."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from services.console.adapters.pages import HEADERS
from services.console.api.http import PAGE_ROWS, After, Served, begin_after, link_next, signed_in
from services.console.domain.access import ADMINS, READERS
from services.console.domain.people import SignedIn
from services.console.repository import datasets, evidence
from shared.errors import NotFound

Looker = Annotated[SignedIn, Depends(signed_in(*READERS))]
Admin = Annotated[SignedIn, Depends(signed_in(*ADMINS))]


def create_router() -> APIRouter:
    router = APIRouter()

    @router.get("/datasets", response_class=HTMLResponse)
    def list_datasets(request: Request, console: Served, person: Looker, after: After = None) -> Response:
        with console.sessions() as session:
            rows = datasets.list_datasets(session, PAGE_ROWS + 1, begin_after(after))
            requests = datasets.list_requests(session, PAGE_ROWS)
        last = rows[PAGE_ROWS - 1] if len(rows) > PAGE_ROWS else None
        next_page = link_next(request, (last.created_at, last.dataset_sha256) if last else None)
        return console.show(request, "datasets.html", datasets=rows[:PAGE_ROWS], requests=requests, next_page=next_page)

    @router.get("/datasets/{dataset_sha256}", response_class=HTMLResponse)
    def show_dataset(request: Request, dataset_sha256: str, console: Served, person: Looker) -> Response:
        with console.sessions() as session:
            dataset = datasets.load_dataset(session, dataset_sha256)
            if dataset is None:
                raise NotFound("there is no such dataset")
            parent = datasets.load_dataset(session, dataset.parent_sha256) if dataset.parent_sha256 else None
            trace = evidence.trace_datasets(session, [dataset])
        return console.show(request, "dataset.html", dataset=dataset, parent=parent, trace=trace)

    @router.get("/datasets/{dataset_sha256}/report", response_class=HTMLResponse)
    def show_report(dataset_sha256: str, console: Served, person: Admin) -> Response:
        """Pass the curator's data report on, which lets in nothing but its own style sheet."""
        path = f"/v1/datasets/{quote(dataset_sha256, safe='')}/report"
        report = console.services.fetch_page("curator", path, person.assertion)
        return HTMLResponse(report.html, headers=HEADERS | {"content-security-policy": report.policy})

    return router
