"""Renders errors as RFC 9457 problems, in one way for every service."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from shared.db import is_transient
from shared.errors import FieldError, HeliotropeError, Unavailable

logger = structlog.get_logger(__name__)


def render_errors_as_problems(app: FastAPI) -> None:
    app.add_exception_handler(HeliotropeError, _render_error)
    app.add_exception_handler(RequestValidationError, _render_validation_error)
    app.add_exception_handler(HTTPException, _render_http_exception)
    app.add_exception_handler(DBAPIError, _render_database_error)
    app.add_exception_handler(PoolTimeout, _render_database_error)
    app.add_exception_handler(Exception, _render_unexpected)


def render_problem(
    status: int,
    title: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """Return an RFC 9457 problem; `errors` names each wrong field."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        **(extra or {}),
    }
    if errors:
        body["errors"] = [{"field": error.field, "message": error.message} for error in errors]
    return JSONResponse(body, status, dict(headers or {}), media_type="application/problem+json")


async def _render_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HeliotropeError)
    return render_error(error)


def render_error(error: HeliotropeError) -> JSONResponse:
    headers = {}
    if (retry_after := getattr(error, "retry_after_seconds", None)) is not None:
        headers["Retry-After"] = str(retry_after)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return render_problem(
        error.status,
        error.title,
        error.detail,
        errors=error.errors,
        headers=headers,
        extra=getattr(error, "extra", None),
    )


async def _render_validation_error(request: Request, error: Exception) -> Response:
    """Names fields and what is wrong with them; never echoes the value."""
    assert isinstance(error, RequestValidationError)
    if any(problem["type"] == "json_invalid" for problem in error.errors()):
        return render_problem(400, "Malformed body", "the body is not valid JSON")
    errors = [
        FieldError(".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0]), problem["msg"])
        for problem in error.errors()
    ]
    detail = "; ".join(f"{problem.field}: {problem.message}" for problem in errors)
    return render_problem(422, "Invalid request", detail, errors=errors)


async def _render_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    return render_problem(error.status_code, title, str(error.detail), headers=error.headers)


async def _render_database_error(request: Request, error: Exception) -> Response:
    """A database that is away for now is no fault of ours: the caller may try again."""
    if not isinstance(error, PoolTimeout) and not is_transient(error):
        return await _render_unexpected(request, error)
    logger.warning("database_away", path=request.url.path, error=type(error).__name__)
    return await _render_error(request, Unavailable("the database does not answer"))


async def _render_unexpected(request: Request, error: Exception) -> Response:
    return render_unexpected(request.url.path, error)


def render_unexpected(path: str, error: Exception) -> JSONResponse:
    """Render it without a word of the error, which goes to the log."""
    logger.error("unexpected_error", path=path, exc_info=error)
    return render_problem(500, "Internal error", "an unexpected error; its request id is in the header x-request-id")
