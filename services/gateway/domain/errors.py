"""Errors of the gateway; rendered in OpenAI's shape."""

from typing import ClassVar

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
