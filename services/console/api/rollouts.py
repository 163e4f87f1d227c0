"""Rollouts: look, and act with a reason."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from services.console.adapters.services import ActRefused
from services.console.api.http import (
    PAGE_ROWS,
    After,
    Console,
    Served,
    Submitted,
    begin_after,
    go,
    link_next,
    signed_in,
    submitted,
)
from services.console.domain.access import ADMINS, OPERATORS
from services.console.domain.commands import list_acts
from services.console.domain.people import SignedIn
from services.console.domain.tiles import derive_tiles
from services.console.repository import evaluations, loop, operations, rollouts
from shared.errors import InvalidRequest, NotFound

Looker = Annotated[SignedIn, Depends(signed_in(*OPERATORS))]
Admin = Annotated[Submitted, Depends(submitted(*ADMINS))]
COMMANDS = ("reject", "pause", "resume", "abort", "promote")


def create_router() -> APIRouter:
    router = APIRouter()

    @router.get("/rollouts", response_class=HTMLResponse)
    def list_rollouts(request: Request, console: Served, person: Looker, after: After = None) -> Response:
        with console.sessions() as session:
            rows = rollouts.list_rollouts(session, PAGE_ROWS + 1, begin_after(after))
            history = operations.load_routing_history(session, console.settings.family, 1)
            policy = rollouts.load_policy(session)
        last = rows[PAGE_ROWS - 1] if len(rows) > PAGE_ROWS else None
        return console.show(
            request,
            "rollouts.html",
            rollouts=rows[:PAGE_ROWS],
            routing=history[0] if history else None,
            policy=policy,
            next_page=link_next(request, (last.created_at, last.rollout_id) if last else None),
        )

    @router.get("/rollouts/{rollout_id}", response_class=HTMLResponse)
    def show_rollout(request: Request, rollout_id: UUID, console: Served, person: Looker) -> Response:
        return _show(request, console, rollout_id)

    @router.post("/rollouts/{rollout_id}/{command}", response_class=HTMLResponse)
    def act(request: Request, rollout_id: UUID, command: str, console: Served, sent: Admin) -> Response:
        try:
            _act(console, sent, rollout_id, command)
        except (ActRefused, InvalidRequest) as refused:
            return _show(request, console, rollout_id, refused.status, problem=refused.detail)
        return go(f"/rollouts/{rollout_id}", command)

    @router.post("/approval-policy/stop")
    def stop_policy(console: Served, sent: Admin) -> Response:
        console.services.act("deployer", "/v1/approval-policy/stop", sent.assertion, {"reason": sent.reason})
        return go("/rollouts", "policy-stopped")

    return router


def _act(console: Console, sent: Submitted, rollout_id: UUID, command: str) -> None:
    path = f"/v1/rollouts/{rollout_id}/{command}"
    if command == "approve":
        body = {"approval_hash": sent.fields.get("approval_hash", "")}
        console.services.act("deployer", path, sent.assertion, body)
    elif command == "roll_back":
        console.services.act("deployer", "/v1/rollback", sent.assertion, {"reason": sent.reason})
    elif command in COMMANDS:
        console.services.act("deployer", path, sent.assertion, {"reason": sent.reason})
    else:
        raise NotFound(f"a rollout knows no {command!r}")


def _show(
    request: Request, console: Console, rollout_id: UUID, status: int = 200, problem: str | None = None
) -> Response:
    with console.sessions() as session:
        rollout = rollouts.load_rollout(session, rollout_id)
        if rollout is None:
            raise NotFound(f"there is no rollout {rollout_id}")
        routing = loop.load_routing(session, console.settings.family)
        stage = len(rollout.stages) if rollout.stage is None else rollout.stage
        outcomes = rollouts.count_outcomes(session, rollout_id, stage)
        approvals = rollouts.list_approvals(session, rollout_id)
        evaluation_id = evaluations.find_evaluation(session, rollout.request_id)
    is_champion = rollout.state == "champion" and _serves(routing, rollout.candidate_version)
    return console.show(
        request,
        "rollout.html",
        status,
        rollout=rollout,
        tiles=derive_tiles(rollout.evidence, outcomes),
        outcomes=outcomes,
        approvals=approvals,
        evaluation_id=evaluation_id,
        routing=routing,
        acts=list_acts(rollout, is_champion=is_champion),
        problem=problem,
    )


def _serves(routing: Any, version: str) -> bool:
    return routing is not None and routing.table["champion"]["version"] == version
