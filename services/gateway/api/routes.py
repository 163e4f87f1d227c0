"""HTTP: OpenAI's chat completions and models."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress
from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from services.gateway.api.openapi import CHAT, MODEL, MODELS
from services.gateway.domain.assignment import list_routes
from services.gateway.domain.errors import InvalidChatRequest, ModelNotFound, UpstreamFailed
from services.gateway.domain.requests import read_request
from services.gateway.handlers.chat import OPERATORS, ChatHandler
from services.gateway.handlers.exchange import Exchange
from shared.auth import Caller, require
from shared.json_depth import check_depth
from shared.request_body import RequestBodyReader

T = TypeVar("T")

EXPOSED_HEADERS = (
    "x-heliotrope-interaction-id",
    "x-heliotrope-interaction-ids",
    "x-heliotrope-model-version",
    "x-heliotrope-feedback-token",
)

authorize = require("frontend", *OPERATORS)

_encode = msgspec.json.Encoder().encode


class EventStream(Response):
    """A streamed response that closes its generator when the client disconnects, so that it is recorded at once."""

    def __init__(
        self, events: AsyncGenerator[bytes, None], headers: dict[str, str], background: BackgroundTask
    ) -> None:
        """`background` runs once the whole stream has been sent."""
        self._events = events
        self.status_code = 200
        self.media_type = "text/event-stream"
        self.background = background
        self.init_headers(headers | {"cache-control": "no-cache", "x-accel-buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not sending.done():
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending
        if not sending.cancelled():
            sending.result()
            if self.background is not None:
                await self.background()

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self._events):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for events in self._events:
                await send({"type": "http.response.body", "body": events, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _run_while_connected(work: Coroutine[Any, Any, T], receive: Receive) -> T:
    """Return the work's result, or cancel it when the client disconnects. Raises: ClientDisconnect."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_wait_for_disconnect(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait([working])


def create_router(chat: ChatHandler, bodies: RequestBodyReader) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/chat/completions", **CHAT)
    async def create_chat_completion(request: Request) -> Response:
        """Complete a chat as OpenAI's API does, streamed or not; fields that the gateway does not know pass through."""
        caller = authorize(request)
        body = _decode(await bodies.read(request.headers, request.receive))
        exchange = chat.begin(read_request(body, request.headers.get("x-conversation-id")), caller)
        mirroring = BackgroundTask(_mirror, chat, exchange)
        try:
            if exchange.request.stream:
                events = await _run_while_connected(chat.open_stream(exchange), request.receive)
                return EventStream(events, _make_headers(exchange), mirroring)
            reply = await _run_while_connected(chat.complete(exchange), request.receive)
        except UpstreamFailed:
            chat.mirror.offer(exchange)
            raise
        headers = _make_headers(exchange)
        return Response(_encode(reply), headers=headers, media_type="application/json", background=mirroring)

    @router.get("/models", **MODELS)
    async def list_models(request: Request) -> dict[str, Any]:
        """Return the family; for operators the versions that are served."""
        names = _list_names(chat, authorize(request))
        return {"object": "list", "data": [_describe_model(name) for name in names]}

    @router.get("/models/{model_id:path}", **MODEL)
    async def get_model(request: Request) -> dict[str, Any]:
        """Return one of the models; its name may hold slashes."""
        model_id = request.path_params["model_id"]  # as a parameter, FastAPI would add its own 422, not OpenAI's body
        if model_id not in _list_names(chat, authorize(request)):
            raise ModelNotFound(f"the model '{model_id}' does not exist here", param="model")
        return _describe_model(model_id)

    return router


async def _mirror(chat: ChatHandler, exchange: Exchange) -> None:
    """Offer an exchange to the mirror, in the event loop and after its reply."""
    chat.mirror.offer(exchange)


def _list_names(chat: ChatHandler, caller: Caller) -> list[str]:
    table = chat.routing.table
    if caller.role not in OPERATORS:
        return [chat.family]
    return list(dict.fromkeys(route.version for route in list_routes(table))) if table else []


def _describe_model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "heliotrope"}


def _decode(raw: bytes) -> Any:
    check_depth(raw)
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidChatRequest("the body is not valid JSON") from None


def _make_headers(exchange: Exchange) -> dict[str, str]:
    first = exchange.answered[0]
    headers = {"x-heliotrope-model-version": first.served.version}
    if exchange.feedback_token is not None:
        headers["x-heliotrope-interaction-id"] = str(first.interaction_id)
        headers["x-heliotrope-interaction-ids"] = ",".join(str(choice.interaction_id) for choice in exchange.answered)
        headers["x-heliotrope-feedback-token"] = exchange.feedback_token
    return headers
