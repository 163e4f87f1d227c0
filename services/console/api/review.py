"""Pairs, and what waits for a decision: contested pairs and quarantine."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from services.console.adapters.services import ActRefused
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
from services.console.domain.access import READERS, REVIEWERS
from services.console.domain.people import SignedIn
from services.console.repository import evidence, pairs
from services.console.repository.pairs import PairSearch
from shared.errors import InvalidRequest, NotFound

Looker = Annotated[SignedIn, Depends(signed_in(*READERS))]
Reviewer = Annotated[Submitted, Depends(submitted(*REVIEWERS))]
State = Literal["", "active", "contested", "refused"]
KINDS = ("user", "event", "pair", "label")
SHOWN = 100
DECISIONS = {"release": "release", "reject": "rejected"}


def create_router() -> APIRouter:
    router = APIRouter()

    @router.get("/pairs", response_class=HTMLResponse)
    def search(
        request: Request,
        console: Served,
        person: Looker,
        state: State = "",
        rule: Wanted = "",
        words: Wanted = "",
        after: After = None,
    ) -> Response:
        with console.sessions() as session:
            wanted = PairSearch(state, rule.strip(), words.strip(), begin_after(after))
            found = pairs.search_pairs(session, wanted, PAGE_ROWS)
        fields = {"state": state, "rule": rule, "words": words}
        next_page = link_next(request, found.next)
        return console.show(request, "pairs.html", found=found, fields=fields, next_page=next_page)

    @router.get("/pairs/{pair_id}", response_class=HTMLResponse)
    def show_pair(request: Request, pair_id: str, console: Served, person: Looker) -> Response:
        return _show_pair(request, console, pair_id)

    @router.get("/review", response_class=HTMLResponse)
    def review(request: Request, console: Served, person: Looker) -> Response:
        return _show_review(request, console)

    @router.post("/review", response_class=HTMLResponse)
    def decide(request: Request, console: Served, sent: Reviewer) -> Response:
        """Release or reject; what was decided before is undone by deciding otherwise."""
        try:
            decision = _decide(console, sent)
        except (ActRefused, InvalidRequest) as refused:
            return _show_review(request, console, refused.status, refused.detail)
        back = sent.fields.get("subject", "") if sent.fields.get("kind") == "pair" and "stay" in sent.fields else ""
        return go(f"/pairs/{quote(back, safe='')}" if back else "/review", DECISIONS[decision])

    return router


def _decide(console: Console, sent: Submitted) -> str:
    kind, subject, decision = (sent.fields.get(name, "") for name in ("kind", "subject", "decision"))
    if kind not in KINDS or decision not in DECISIONS or not subject or len(subject) > 200:
        raise InvalidRequest("the form is not whole: load the page again")
    path = f"/v1/quarantine/{kind}/{quote(subject, safe='')}/{decision}"
    console.services.act("curator", path, sent.assertion, {"reason": sent.reason})
    return decision


def _show_review(request: Request, console: Console, status: int = 200, problem: str | None = None) -> Response:
    with console.sessions() as session:
        cases = pairs.list_quarantine(session, SHOWN)
        contested = pairs.search_pairs(session, PairSearch(state="contested"), PAGE_ROWS)
    return console.show(request, "review.html", status, cases=cases, contested=contested, shown=SHOWN, problem=problem)


def _show_pair(request: Request, console: Console, pair_id: str) -> Response:
    with console.sessions() as session:
        loaded = pairs.load_pair(session, pair_id)
        if loaded is None:
            raise NotFound("there is no such pair: it may have been derived anew since, or erased")
        pair, prompt = loaded
        content: dict[str, Any] = {
            "rivals": pairs.list_rivals(session, pair),
            "decisions": pairs.list_decisions(session, "pair", pair_id),
            "trace": evidence.trace_items(session, [pair_id]),
        }
    return console.show(request, "pair.html", pair=pair, prompt=prompt, **content)
