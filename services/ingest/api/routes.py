"""FastAPI routes: the documented API, browsers' posts with CORS, and reading."""

from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query, Request, Response

from services.ingest.api.endpoints import Endpoint, Endpoints
from services.ingest.api.openapi import BATCH_RESPONSES, READ_RESPONSES, SINGLE_RESPONSES, describe_body
from services.ingest.handlers.history import FeedbackHistory

_encode = msgspec.json.Encoder().encode


def create_router(endpoints: Endpoints, history: FeedbackHistory) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/feedback", **describe_body("feedback", SINGLE_RESPONSES))
    async def post_feedback(request: Request) -> Response:
        """Take one feedback event; 202 once the broker has stored it, also when its interaction is not known yet."""
        return await _call(endpoints.post_feedback, request)

    @router.post("/feedback/batch", **describe_body("feedback_batch", BATCH_RESPONSES))
    async def post_feedback_batch(request: Request) -> Response:
        """Take up to 1,000 feedback events, with one outcome for each, in order."""
        return await _call(endpoints.post_feedback_batch, request)

    @router.post("/interactions", **describe_body("interaction", SINGLE_RESPONSES))
    async def post_interaction(request: Request) -> Response:
        """Record an answer that was served without the gateway."""
        return await _call(endpoints.post_interaction, request)

    @router.post("/interactions/batch", **describe_body("interaction_batch", BATCH_RESPONSES))
    async def post_interactions_batch(request: Request) -> Response:
        """Take up to 1,000 interactions, with one outcome for each, in order."""
        return await _call(endpoints.post_interaction_batch, request)

    @router.get("/feedback", **READ_RESPONSES)
    def get_feedback(
        request: Request,
        interaction_id: UUID,
        user_id: Annotated[str | None, Query(description="only what this user said; a token says who")] = None,
    ) -> Response:
        """Return what this caller has said of an answer, in the order in which it happened."""
        principal = endpoints.authenticator.authenticate(request.headers)
        events = history.list_events(principal, interaction_id, user_id)
        return Response(_encode({"interaction_id": interaction_id, "events": events}), media_type="application/json")

    return router


async def _call(endpoint: Endpoint, request: Request) -> Response:
    status, body = await endpoint(request.headers, request.receive)
    return Response(body, status, media_type="application/json")
