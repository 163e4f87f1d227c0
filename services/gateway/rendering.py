"""Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from services.gateway.domain.errors import GatewayError, UpstreamFailed
from shared.errors import HeliotropeError

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {401: "invalid_api_key", 403: "role_not_allowed", 413: "request_too_large"}


def make_error(status: int, message: str, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code or _CODES.get(status)}}


def describe_error(error: HeliotropeError) -> dict[str, Any]:
    """An error's body; a model server's own is kept when it has OpenAI's shape, else its words are."""
    if isinstance(error, UpstreamFailed):
        return _describe_upstream(error)
    if isinstance(error, GatewayError):
        return make_error(error.status, error.detail, code=error.code, param=error.param)
    return make_error(error.status, error.detail)


def find_status(error: HeliotropeError) -> int:
    """A model server's status is kept; 504 when it was too slow, 502 when it was not there."""
    if isinstance(error, UpstreamFailed):
        return error.upstream_status or (504 if error.reason == "timeout" else 502)
    return error.status


def _describe_upstream(error: UpstreamFailed) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(error.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = None
    content = body if isinstance(body, dict) else {}
    if isinstance(content.get("error"), dict):
        return content
    words = content.get("detail") or content.get("message") or content.get("error") or error.detail
    return make_error(find_status(error), words if isinstance(words, str) else error.detail, code=error.reason)


def render_errors_as_openai(app: FastAPI) -> None:
    """Replace the app's problem+json on `/v1/*`; elsewhere it stays."""
    for kind in (HeliotropeError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _on_v1(app.exception_handlers[kind]))


def _on_v1(elsewhere: Any) -> Any:
    async def render(request: Request, error: Exception) -> Response:
        problem: Response = await elsewhere(request, error)
        if not request.url.path.startswith("/v1/"):
            return problem
        if isinstance(error, HeliotropeError):
            status, content = find_status(error), describe_error(error)
        else:
            status, content = problem.status_code, make_error(problem.status_code, _find_words(problem))
        headers = {
            name: problem.headers[name] for name in ("retry-after", "www-authenticate") if name in problem.headers
        }
        if isinstance(error, UpstreamFailed) and error.retry_after:
            headers["retry-after"] = error.retry_after
        return JSONResponse(content, status, headers)

    return render


def _find_words(problem: Response) -> str:
    return str(msgspec.json.decode(problem.body)["detail"])
