"""Errors of the gateway, and their bodies in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from typing import Any, ClassVar

import msgspec

from shared.errors import HeliotropeError


class GatewayError(HeliotropeError):
    """`code` is for programs, `param` names the wrong field."""

    code: ClassVar[str | None] = None

    def __init__(self, detail: str, *, param: str | None = None) -> None:
        super().__init__(detail)
        self.param = param


class InvalidChatRequest(GatewayError):
    status = 400
    title = "Invalid request"


class ModelNotFound(GatewayError):
    status = 404
    title = "Model not found"
    code = "model_not_found"


class ContextLengthExceeded(InvalidChatRequest):
    title = "Context length exceeded"
    code = "context_length_exceeded"


class NothingServed(GatewayError):
    """No routing table has been heard of yet."""

    status = 503
    title = "No model is served yet"
    code = "no_routing_table"
    retry_after_seconds: ClassVar[int] = 5


class UpstreamFailed(GatewayError):
    """A model server did not answer, or answered with an error, which `body` then holds as it came."""

    status = 502
    title = "The model server failed"
    code = "upstream_failed"

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        upstream_status: int | None = None,
        body: bytes = b"",
        retry_after: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.upstream_status = upstream_status
        self.body = body
        self.retry_after = retry_after


_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    401: "invalid_api_key",
    403: "role_not_allowed",
    413: "request_too_large",
    429: "rate_limit_exceeded",
}


REFUSES_US = frozenset({401, 402, 403, 407})
"""What a model server says of the gateway's key or account; a client that got it would think its own key wrong."""
NEVER_OURS = frozenset({404, 405, 421})
"""The gateway asked in the wrong place, not its client."""
BUSY_SECONDS = 5
"""What a client is told to wait where a busy model server does not say."""


def make_error(status: int, message: str, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code or _CODES.get(status)}}


def describe_error(error: HeliotropeError) -> dict[str, Any]:
    """Return an error's body. A model server's own is kept when it has OpenAI's shape, else its message is."""
    if isinstance(error, UpstreamFailed):
        return _describe_upstream(error)
    if isinstance(error, GatewayError):
        return make_error(error.status, error.detail, code=error.code, param=error.param)
    return make_error(error.status, error.detail)


def find_status(error: HeliotropeError) -> int:
    """Return a model server's own status; 504 when it was too slow, 502 when it was not there or blames the gateway."""
    if not isinstance(error, UpstreamFailed):
        return error.status
    if error.upstream_status is None:
        return 504 if error.reason == "timeout" else error.status
    is_error_of_clients = 400 <= error.upstream_status <= 599 and error.upstream_status not in REFUSES_US | NEVER_OURS
    return error.upstream_status if is_error_of_clients else error.status


def find_retry_after(error: UpstreamFailed) -> str | None:
    """Return what a client is told to wait: always something with 503, which means nothing without."""
    return error.retry_after or (str(BUSY_SECONDS) if find_status(error) == 503 else None)


def _describe_upstream(error: UpstreamFailed) -> dict[str, Any]:
    if error.upstream_status in REFUSES_US:
        return make_error(error.status, "the model server does not accept the gateway", code="upstream_refused_us")
    if error.upstream_status is not None and find_status(error) != error.upstream_status:
        return make_error(error.status, error.detail, code=error.reason)
    try:
        body = msgspec.json.decode(error.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = None
    content = body if isinstance(body, dict) else {}
    if isinstance(content.get("error"), dict):
        return content
    message = content.get("detail") or content.get("message") or content.get("error") or error.detail
    return make_error(find_status(error), message if isinstance(message, str) else error.detail, code=error.reason)
