"""Sign in and out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from services.console.api.errors import ask_to_return
from services.console.api.http import Console, Served, Submitted, read_form, submitted
from services.console.domain.access import EVERYBODY, choose_home, derive_local_path
from shared.errors import HeliotropeError, TooManyRequests, Unauthenticated

Form = Annotated[dict[str, str], Depends(read_form)]


def create_router() -> APIRouter:
    router = APIRouter()

    @router.get("/sign-in", response_class=HTMLResponse)
    def show_sign_in(request: Request, console: Served, next: str = "") -> Response:
        return _show(request, console, next)

    @router.post("/sign-in", response_class=HTMLResponse)
    def sign_in(request: Request, console: Served, form: Form) -> Response:
        wanted = form.get("next", "")
        try:
            address = request.client.host if request.client else ""
            token, person = console.sign_ins.sign_in(form.get("key", ""), address, request.cookies.get(console.cookie))
        except (Unauthenticated, TooManyRequests) as error:
            return _show(request, console, wanted, error)
        path = derive_local_path(wanted, choose_home(person.person.role))
        response = RedirectResponse(path, 303)
        _set_cookie(console, response, token)
        return response

    @router.post("/sign-out")
    def sign_out(
        request: Request, console: Served, sent: Annotated[Submitted, Depends(submitted(*EVERYBODY))]
    ) -> Response:
        console.sign_ins.sign_out(request.cookies.get(console.cookie))
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(console.cookie, path="/", secure=console.own.uses_tls, httponly=True, samesite="lax")
        return response

    return router


def _show(request: Request, console: Console, wanted: str, error: HeliotropeError | None = None) -> HTMLResponse:
    problem = error.detail if error else None
    status = error.status if error else 200
    page = console.show(request, "sign_in.html", status, next=derive_local_path(wanted, ""), problem=problem)
    return ask_to_return(page, error)


def _set_cookie(console: Console, response: Response, token: str) -> None:
    response.set_cookie(
        console.cookie,
        token,
        max_age=round(console.own.session_seconds),
        path="/",
        secure=console.own.uses_tls,
        httponly=True,
        samesite="lax",
    )
