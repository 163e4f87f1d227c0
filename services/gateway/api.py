"""HTTP: OpenAI's chat completions and models."""

from collections.abc import AsyncGenerator, Awaitable, MutableMapping
from contextlib import aclosing
from typing import Any, Protocol

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from services.gateway.domain.assignment import list_routes
from services.gateway.domain.errors import InvalidChatRequest
from services.gateway.domain.requests import read_request
from services.gateway.handlers.chatting import OPERATORS, Chatting
from services.gateway.handlers.exchange import Exchange
from services.gateway.openapi import CHAT, MODELS
from shared.auth import require

EXPOSED_HEADERS = ("x-heliotrope-interaction-id", "x-heliotrope-model-version", "x-heliotrope-feedback-token")

authorize = require("frontend", *OPERATORS)

_encode = msgspec.json.Encoder().encode


class Send(Protocol):
    def __call__(self, message: MutableMapping[str, Any], /) -> Awaitable[None]: ...


class EventStream(StreamingResponse):
    """Closes its generator when the client has gone, so that what was said is recorded then, not some time later."""

    def __init__(self, events: AsyncGenerator[bytes, None], headers: dict[str, str]) -> None:
        super().__init__(events, headers=headers | {"cache-control": "no-cache"}, media_type="text/event-stream")
        self._events = events

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._events):
            await super().stream_response(send)


def create_router(chatting: Chatting) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/chat/completions", **CHAT)
    async def create_chat_completion(request: Request) -> Response:
        """OpenAI's chat completions, streamed or not; fields that the gateway does not know pass through."""
        caller = authorize(request)
        body = _decode(await request.body())
        exchange = chatting.begin(read_request(body, request.headers.get("x-conversation-id")), caller)
        if exchange.request.stream:
            events = await chatting.open_stream(exchange)
            return EventStream(events, _make_headers(exchange))
        reply = await chatting.complete(exchange)
        return Response(_encode(reply), headers=_make_headers(exchange), media_type="application/json")

    @router.get("/models", **MODELS)
    async def list_models(request: Request) -> dict[str, Any]:
        """The family; for operators the versions that are served."""
        caller = authorize(request)
        table = chatting.routing.table
        if caller.role in OPERATORS:
            names = list(dict.fromkeys(route.version for route in list_routes(table))) if table else []
        else:
            names = [chatting.family]
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "heliotrope"} for name in names]
        return {"object": "list", "data": models}

    return router


def _decode(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidChatRequest("the body is not valid JSON") from None


def _make_headers(exchange: Exchange) -> dict[str, str]:
    first = exchange.answered[0]
    headers = {"x-heliotrope-model-version": first.served.version}
    if exchange.feedback_token is not None:
        headers["x-heliotrope-interaction-id"] = str(first.interaction_id)
        headers["x-heliotrope-feedback-token"] = exchange.feedback_token
    return headers
