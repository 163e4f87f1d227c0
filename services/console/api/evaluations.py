"""Evaluations, and rating: two answers side by side, blind, by keyboard."""

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
from services.console.domain.access import OPERATORS, RATERS
from services.console.domain.people import SignedIn
from services.console.repository import evaluations, loop
from shared.errors import InvalidRequest, NotFound

Looker = Annotated[SignedIn, Depends(signed_in(*OPERATORS))]
Rater = Annotated[SignedIn, Depends(signed_in(*RATERS))]
Rating = Annotated[Submitted, Depends(submitted(*RATERS))]
PROMPTS = 10
VOTES = ("left", "right", "tie")
UNDECIDED = 2.0
"""Where prompts without a score stand among those with one, the worst first."""


def create_router() -> APIRouter:
    router = APIRouter()

    @router.get("/evaluations", response_class=HTMLResponse)
    def list_evaluations(request: Request, console: Served, person: Looker, after: After = None) -> Response:
        with console.sessions() as session:
            rows = evaluations.list_evaluations(session, PAGE_ROWS + 1, begin_after(after))
            votes = {row.evaluation_id: loop.count_votes(session, row.evaluation_id) for row in rows[:PAGE_ROWS]}
        last = rows[PAGE_ROWS - 1] if len(rows) > PAGE_ROWS else None
        next_page = link_next(request, (last.created_at, last.evaluation_id) if last else None)
        return console.show(request, "evaluations.html", evaluations=rows[:PAGE_ROWS], votes=votes, next_page=next_page)

    @router.get("/evaluations/{evaluation_id}", response_class=HTMLResponse)
    def show_evaluation(
        request: Request, evaluation_id: UUID, console: Served, person: Looker, prompts: int = 0
    ) -> Response:
        with console.sessions() as session:
            found = evaluations.load_evaluation(session, evaluation_id)
            if found is None:
                raise NotFound(f"there is no evaluation {evaluation_id}")
            votes = loop.count_votes(session, evaluation_id)
        report: dict[str, Any] = found.report or {}
        every = sorted(report.get("prompts", []), key=_find_score)
        begin = max(0, min(prompts, len(every)))
        return console.show(
            request,
            "evaluation.html",
            evaluation=found,
            report=report,
            votes=votes,
            prompts=every[begin : begin + PROMPTS],
            begin=begin,
            total=len(every),
            at_once=PROMPTS,
        )

    @router.get("/rating", response_class=HTMLResponse)
    def rate(request: Request, console: Served, person: Rater) -> Response:
        return _show_next(request, console, person)

    @router.post("/rating", response_class=HTMLResponse)
    def vote(request: Request, console: Served, sent: Rating) -> Response:
        try:
            _vote(console, sent)
        except (ActRefused, InvalidRequest) as refused:
            return _show_next(request, console, sent.signed_in, refused.status, problem=refused.detail)
        return go("/rating")

    return router


def _vote(console: Console, sent: Submitted) -> None:
    choice, comparison = sent.fields.get("vote", ""), sent.fields.get("comparison", "")
    if choice not in VOTES:
        raise InvalidRequest("vote: left, right or tie")
    try:
        wanted = UUID(comparison)
    except ValueError:
        raise InvalidRequest("comparison: load the page again") from None
    console.services.act("evaluator", f"/v1/comparisons/{wanted}/vote", sent.assertion, {"vote": choice})


def _show_next(
    request: Request, console: Console, person: SignedIn, status: int = 200, problem: str | None = None
) -> Response:
    try:
        offered = console.services.ask("evaluator", "/v1/comparisons/next", person.assertion)
    except ActRefused as refused:
        offered, status, problem = None, refused.status, problem or refused.detail
    with console.sessions() as session:
        voting = [(each, loop.count_votes(session, each.evaluation_id)) for each in loop.list_voting(session)]
        cast, asked = (sum(counts[place] for _, counts in voting) for place in (0, 1))
    content = {"offered": offered, "cast": cast, "asked": asked, "problem": problem, "voting": len(voting)}
    return console.show(request, "rating.html", status, **content)


def _find_score(prompt: dict[str, Any]) -> float:
    score = prompt["candidate_score"]
    return UNDECIDED if score is None else float(score)
