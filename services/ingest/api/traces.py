"""`POST /v1/traces`: an OpenTelemetry exporter's spans of model calls become interactions."""

import msgspec
from fastapi import APIRouter, Request, Response

from services.ingest.adapters.otlp import find_type, read_spans, write_response
from services.ingest.api.endpoints import Endpoints
from services.ingest.api.openapi import SPANS
from services.ingest.domain.genai_spans import Span, Unreadable, derive_body
from services.ingest.schemas import MAX_BATCH
from shared.errors import HeliotropeError, MalformedBody, TooLarge, TooManyRequests, Unavailable

LONGEST_REASON = 200
BYTES_OF_ONE = 10_000
"""Of an export that is refused as a whole, this much is charged as one event."""


def create_trace_router(endpoints: Endpoints) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/traces", response_class=Response, **SPANS)
    async def post_traces(request: Request) -> Response:
        """Take an export of spans (OTLP, protobuf or JSON): those of model calls that hold their content are recorded.

        200 once the broker has stored all that can be; `partial_success` counts what never will be. 429 and 503: the
        exporter sends the same again, under the same ids. 413: more than 1,000 model calls, 5,000 spans or 50,000
        attributes.
        """
        principal = endpoints.authenticator.authenticate_key(request.headers)
        kind = find_type(request.headers.get("content-type", ""))
        endpoints.rate_limiter.take(principal.key_id, 1)
        body = await endpoints.body_reader.read(request.headers, request.receive)
        try:
            bodies, reasons = _derive_bodies(read_spans(body, kind))
        except (MalformedBody, TooLarge):
            endpoints.rate_limiter.charge(principal.key_id, len(body) // BYTES_OF_ONE)
            raise
        endpoints.rate_limiter.take(principal.key_id, max(0, len(bodies) - 1))
        results = await endpoints.interactions.submit_all(bodies, principal)
        reasons += _refuse([error for _, error in results if error is not None])
        answer = write_response(kind, len(reasons), reasons[0][:LONGEST_REASON] if reasons else "")
        return Response(answer, media_type=kind)

    return router


def _derive_bodies(spans: list[Span]) -> tuple[list[bytes], list[str]]:
    """Return the interactions of the spans, and why some cannot be read. Raises: TooLarge."""
    bodies, reasons = list[bytes](), list[str]()
    for span in spans:
        try:
            body = derive_body(span)
        except (Unreadable, MalformedBody) as error:
            reasons.append(str(error))
            continue
        if body is not None:
            bodies.append(msgspec.json.encode(body))
    if len(bodies) > MAX_BATCH:
        raise TooLarge(f"an export holds at most {MAX_BATCH} model calls")
    return bodies, reasons


def _refuse(errors: list[HeliotropeError]) -> list[str]:
    """Return why interactions are refused for good. Raises: the first error that may pass, for all to be sent again."""
    for error in errors:
        if isinstance(error, Unavailable | TooManyRequests):
            raise error
    return [error.detail for error in errors]
