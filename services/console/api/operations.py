"""Drift, training, audit, health, settings."""

from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from services.console.adapters.services import ActRefused, Readiness
from services.console.api.http import (
    PAGE_ROWS,
    After,
    Console,
    Served,
    Submitted,
    Wanted,
    begin_after,
    go,
    link_next,
    signed_in,
    submitted,
)
from services.console.domain.access import ADMINS, OPERATORS, READERS
from services.console.domain.people import SignedIn
from services.console.repository import evaluations, loop, operations, rollouts
from services.console.settings import ASKED
from shared.errors import NotFound

Reader = Annotated[SignedIn, Depends(signed_in(*READERS))]
Looker = Annotated[SignedIn, Depends(signed_in(*OPERATORS))]
Admin = Annotated[Submitted, Depends(submitted(*ADMINS))]
RunState = Literal["", "queued", "running", "succeeded", "failed", "cancelled"]
Before = Annotated[int | None, Query(ge=1)]


def create_router() -> APIRouter:
    router = APIRouter()
    for part in (_create_drift_router(), _create_training_router(), _create_operations_router()):
        router.include_router(part)
    return router


def _create_drift_router() -> APIRouter:
    router = APIRouter()

    @router.get("/drift", response_class=HTMLResponse)
    def drift(request: Request, console: Served, person: Reader, detector: Wanted = "") -> Response:
        with console.sessions() as session:
            detectors = loop.list_detectors(session)
            windows = operations.list_windows(session, detector, PAGE_ROWS)
        decision = next((each for each in detectors if each.name == "decision"), None)
        return console.show(
            request,
            "drift.html",
            detectors=[each for each in detectors if each.name != "decision"],
            decision=decision,
            windows=windows,
            detector=detector,
        )

    return router


def _create_training_router() -> APIRouter:
    router = APIRouter()

    @router.get("/training", response_class=HTMLResponse)
    def list_runs(
        request: Request, console: Served, person: Looker, state: RunState = "", after: After = None
    ) -> Response:
        with console.sessions() as session:
            runs = operations.list_runs(session, state, PAGE_ROWS + 1, begin_after(after))
        last = runs[PAGE_ROWS - 1] if len(runs) > PAGE_ROWS else None
        next_page = link_next(request, (last.created_at, last.run_id) if last else None)
        return console.show(request, "runs.html", runs=runs[:PAGE_ROWS], state=state, next_page=next_page)

    @router.get("/training/{run_id}", response_class=HTMLResponse)
    def show_run(request: Request, run_id: UUID, console: Served, person: Looker) -> Response:
        return _show_run(request, console, run_id)

    @router.post("/training/{run_id}/cancel", response_class=HTMLResponse)
    def cancel(request: Request, run_id: UUID, console: Served, sent: Admin) -> Response:
        try:
            console.services.act("trainer", f"/v1/runs/{run_id}/cancel", sent.assertion)
        except ActRefused as refused:
            return _show_run(request, console, run_id, refused.status, refused.detail)
        return go(f"/training/{run_id}", "cancel")

    return router


def _show_run(
    request: Request, console: Console, run_id: UUID, status: int = 200, problem: str | None = None
) -> Response:
    with console.sessions() as session:
        run = operations.load_run(session, run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        evaluation_id = evaluations.find_evaluation(session, run.request_id)
    return console.show(request, "run.html", status, run=run, evaluation_id=evaluation_id, problem=problem)


def _create_operations_router() -> APIRouter:
    router = APIRouter()

    @router.get("/audit", response_class=HTMLResponse)
    def audit(
        request: Request,
        console: Served,
        person: Looker,
        actor: Wanted = "",
        action: Wanted = "",
        before: Before = None,
    ) -> Response:
        with console.sessions() as session:
            entries, earlier = operations.list_audit(session, actor.strip(), action.strip(), before, PAGE_ROWS)
        # the chain is verified by whoever holds its key: the deployer
        verified = console.services.ask("deployer", "/v1/audit?limit=200", person.assertion) if before is None else None
        link = request.url.include_query_params(before=earlier).replace(scheme="", netloc="") if earlier else None
        fields = {"actor": actor, "action": action}
        return console.show(
            request,
            "audit.html",
            entries=entries,
            fields=fields,
            verified=verified,
            next_page=str(link) if link else None,
        )

    @router.get("/health", response_class=HTMLResponse)
    def health(request: Request, console: Served, person: Looker) -> Response:
        with console.sessions() as session:
            backlogs = operations.measure_backlogs(session)
        return console.show(request, "health.html", processes=_probe_all(console), backlogs=backlogs)

    @router.get("/settings", response_class=HTMLResponse)
    def settings(request: Request, console: Served, person: Looker) -> Response:
        with console.sessions() as session:
            policy = rollouts.load_policy(session)
            history = operations.load_routing_history(session, console.settings.family, 10)
            schema = operations.load_schema(session)
        services = sorted(console.services.urls.items())
        return console.show(
            request, "settings.html", policy=policy, history=history, schema=schema, services=services, console=console
        )

    return router


def _probe_all(console: Console) -> list[Readiness]:
    with ThreadPoolExecutor(len(ASKED)) as pool:
        return list(pool.map(console.services.probe, ASKED))
