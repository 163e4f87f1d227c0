"""Errors as pages that say what to do; who is not signed in is asked to."""

from http import HTTPStatus
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from services.console.api.http import NotSignedIn, get_console
from shared.db import is_transient
from shared.errors import HeliotropeError

logger = structlog.get_logger(__name__)

REMEDIES = {
    401: "Sign in again.",
    403: "Ask an admin for the role, or sign in as somebody else.",
    404: "It may have been erased, or the address may be cut short. Begin from a page of the navigation.",
    409: "Somebody else may have been faster: load the page again and look at its state.",
    422: "Go back, correct it, and send it again.",
    429: "Wait a moment, then try again.",
    503: "Try again in a moment; the health page says what does not answer.",
}
AGAIN_LATER = (429, 503)
RETRY_SECONDS = 5


def render_errors_as_pages(app: FastAPI) -> None:
    app.add_exception_handler(NotSignedIn, _ask_to_sign_in)
    app.add_exception_handler(HeliotropeError, _render_error)
    app.add_exception_handler(RequestValidationError, _render_validation_error)
    app.add_exception_handler(HTTPException, _render_http_exception)
    app.add_exception_handler(DBAPIError, _render_database_error)
    app.add_exception_handler(PoolTimeout, _render_database_error)
    app.add_exception_handler(Exception, _render_unexpected)


async def _ask_to_sign_in(request: Request, error: Exception) -> Response:
    if request.method != "GET":
        return _render(request, 401, "Not signed in", "Your session has ended. Nothing was done.")
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse("/sign-in" if wanted == "/" else f"/sign-in?next={quote(wanted, safe='/')}", 303)


async def _render_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HeliotropeError)
    return ask_to_return(_render(request, error.status, error.title, error.detail), error)


async def _render_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = sorted({str(problem["loc"][-1]) for problem in error.errors()})
    if any(problem["loc"][0] == "path" for problem in error.errors()):
        return _render(request, 404, "Not found", "There is no such page.")
    return _render(request, 422, "Not understood", f"Wrong in the address: {', '.join(fields)}.")


async def _render_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _render(request, error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail))


async def _render_database_error(request: Request, error: Exception) -> Response:
    if isinstance(error, DBAPIError) and not is_transient(error):
        return await _render_unexpected(request, error)
    logger.warning("database_away", path=request.url.path, error=type(error).__name__)
    return _render(request, 503, "The database does not answer", "Nothing is lost: the loop goes on without this page.")


async def _render_unexpected(request: Request, error: Exception) -> Response:
    logger.error("unexpected_error", path=request.url.path, exc_info=error)
    return _render(
        request, 500, "Something broke here", "The log has it, under the request id of this answer's header."
    )


def _render(request: Request, status: int, title: str, detail: str) -> HTMLResponse:
    remedy = REMEDIES.get(status, "Go back and try another way.")
    page = get_console(request).show(request, "error.html", status, title=title, detail=detail, remedy=remedy)
    return ask_to_return(page)


def ask_to_return(page: HTMLResponse, error: HeliotropeError | None = None) -> HTMLResponse:
    """Say in the header of a page that may pass when to come back: what the error says, else in five seconds."""
    if page.status_code in AGAIN_LATER:
        page.headers["retry-after"] = str(getattr(error, "retry_after_seconds", RETRY_SECONDS))
    return page
