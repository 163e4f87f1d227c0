"""Renders errors on `/v1/*` in OpenAI's shape; elsewhere the app's problem+json stays."""

from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from services.gateway.domain.errors import UpstreamFailed, describe_error, find_retry_after, find_status, make_error
from shared.errors import CLIENT_CLOSED_REQUEST, HeliotropeError


def render_errors_as_openai(app: FastAPI) -> None:
    """Wrap the app's exception handlers."""
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    for kind in (HeliotropeError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _on_v1(app.exception_handlers[kind]))


async def _answer_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def _on_v1(elsewhere: Any) -> Any:
    async def render(request: Request, error: Exception) -> Response:
        problem: Response = await elsewhere(request, error)
        if not request.url.path.startswith("/v1/"):
            return problem
        if isinstance(error, HeliotropeError):
            status, content = find_status(error), describe_error(error)
        else:
            status, content = problem.status_code, make_error(problem.status_code, _find_detail(problem))
        headers = {
            name: problem.headers[name] for name in ("retry-after", "www-authenticate") if name in problem.headers
        }
        if isinstance(error, UpstreamFailed) and (wait := find_retry_after(error)):
            headers["retry-after"] = wait
        return JSONResponse(content, status, headers)

    return render


def _find_detail(problem: Response) -> str:
    return str(msgspec.json.decode(problem.body)["detail"])
