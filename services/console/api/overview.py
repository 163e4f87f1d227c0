"""The overview, and the switch of the whole loop."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from services.console.api.http import Served, Submitted, go, signed_in, submitted
from services.console.domain.access import ADMINS, EVERYBODY, READERS, choose_home
from services.console.domain.people import SignedIn

Looker = Annotated[SignedIn, Depends(signed_in(*EVERYBODY))]
Admin = Annotated[Submitted, Depends(submitted(*ADMINS))]


def create_router() -> APIRouter:
    router = APIRouter()

    @router.get("/", response_class=HTMLResponse)
    def overview(request: Request, console: Served, person: Looker) -> Response:
        if person.person.role not in READERS:
            return RedirectResponse(choose_home(person.person.role), 303)
        return console.show(request, "overview.html", overview=console.looks.look())

    @router.post("/loop/{switch}")
    def switch_loop(switch: str, console: Served, sent: Admin) -> Response:
        """Pause the whole loop, or let it go on."""
        if switch not in ("pause", "resume"):
            return go("/")
        console.services.act("curator", f"/v1/{switch}", sent.assertion)
        return go("/", "loop-paused" if switch == "pause" else "loop-resumed")

    @router.post("/loop-retrain")
    def retrain(console: Served, sent: Admin) -> Response:
        console.services.act("curator", "/v1/retrain", sent.assertion, {"reason": sent.reason})
        return go("/training", "retrain")

    return router
