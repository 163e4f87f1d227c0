"""What all pages share: who looks, what a form says, and that it came from one of our own pages."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from services.console.adapters.pages import Pages
from services.console.adapters.services import Services
from services.console.api.cursors import decode_cursor, encode_cursor
from services.console.domain.commands import DONE
from services.console.domain.people import SignedIn
from services.console.handlers.overview import OverviewLooks
from services.console.handlers.signing_in import SignIns
from services.console.settings import ConsoleSettings
from shared.db import SessionFactory
from shared.errors import Forbidden, InvalidRequest, Unauthenticated
from shared.settings import Settings

PAGE_ROWS = 25
MAX_FIELDS = 50
Wanted = Annotated[str, Query(max_length=200)]
After = Annotated[str | None, Query(max_length=500)]


class NotSignedIn(Unauthenticated):
    title = "Not signed in"


@dataclass(frozen=True)
class Console:
    """All that the routes need."""

    settings: Settings
    own: ConsoleSettings
    sessions: SessionFactory
    sign_ins: SignIns
    services: Services
    pages: Pages
    looks: OverviewLooks
    clock: Callable[[], datetime]

    @property
    def cookie(self) -> str:
        """Return the session cookie's name: with TLS browsers take it from this host alone."""
        return "__Host-heliotrope" if self.own.uses_tls else "heliotrope_session"

    def show(self, request: Request, template: str, status: int = 200, **content: Any) -> HTMLResponse:
        """Render a page for whoever is signed in."""
        done = DONE.get(request.query_params.get("done", ""))
        frame = {"done": done, "problem": None} | content
        signed_in = getattr(request.state, "signed_in", None)
        return self.pages.render(template, frame, signed_in=signed_in, path=request.url.path, status=status)


def get_console(request: Request) -> Console:
    console: Console = request.app.state.console
    return console


Served = Annotated[Console, Depends(get_console)]


def signed_in(*roles: str) -> Callable[[Request], SignedIn]:
    """Make a dependency: the person who looks, if they have one of these roles. Raises: NotSignedIn, Forbidden."""

    def find(request: Request) -> SignedIn:
        console = get_console(request)
        found = console.sign_ins.resume(request.cookies.get(console.cookie))
        if found is None:
            raise NotSignedIn("sign in first")
        request.state.signed_in = found
        if found.person.role not in roles:
            raise Forbidden(f"this page needs the role {' or '.join(roles)}; you have the role {found.person.role}")
        return found

    return find


async def read_form(request: Request) -> dict[str, str]:
    """Return what a form says. Raises: InvalidRequest, Forbidden: it came from a page that is not ours."""
    check_origin(request)
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        raise InvalidRequest("send this as the page's own form does")
    body = await request.body()
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise InvalidRequest("the form is not readable") from error
    return dict(pairs)


def check_origin(request: Request) -> None:
    """Check that a browser says this comes from our own page. Raises: Forbidden."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    is_ours = origin is None or _find_host(origin) == request.headers.get("host", "")
    if site not in ("same-origin", "none") or not is_ours:
        raise Forbidden("this was sent by another site's page: nothing was done")


def _find_host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


@dataclass(frozen=True)
class Submitted:
    """A form that a person sent from a page of their own session."""

    signed_in: SignedIn
    fields: dict[str, str]

    @property
    def assertion(self) -> str:
        return self.signed_in.assertion

    @property
    def reason(self) -> str:
        """Return the reason given, on one line. Raises: InvalidRequest: none was."""
        reason = " ".join(self.fields.get("reason", "").split())
        if not reason:
            raise InvalidRequest("reason: say why; it stands in the audit log")
        return reason[:500]


def submitted(*roles: str) -> Callable[..., Any]:
    """Make a dependency: what a person of these roles sent, from a form of their own session."""

    async def check(request: Request) -> Submitted:
        form = await read_form(request)
        found = await run_in_threadpool(signed_in(*roles), request)
        if not hmac.compare_digest(form.get("csrf", "").encode(), found.csrf.encode()):
            raise Forbidden("this form is of another session: go back, load the page again, and send it once more")
        return Submitted(found, form)

    return check


def go(path: str, done: str | None = None) -> RedirectResponse:
    """Send the browser to a page after an act, which then says what was done."""
    return RedirectResponse(f"{path}?done={done}" if done else path, 303)


def begin_after(after: str | None, read_key: Callable[[str], object] = str) -> tuple[datetime, str] | None:
    return decode_cursor(after, read_key)


def link_next(request: Request, place: tuple[datetime, object] | None) -> str | None:
    """Return the address of the next page, with the same filters; None at the end."""
    if place is None:
        return None
    return str(
        request.url.include_query_params(after=encode_cursor(*place))
        .remove_query_params("done")
        .replace(scheme="", netloc="")
    )
