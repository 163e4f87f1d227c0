"""The server's HTTP: chat completions, models, and vLLM's loading and unloading of adapters."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from jinja2.exceptions import TemplateError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from local.model_server.batch import End, Failure, Piece, Sequence
from local.model_server.errors import Refused
from local.model_server.models import Models, Served
from local.model_server.replies import Reply, list_models
from local.model_server.requests import ChatRequest, read_request
from local.model_server.sampling import choose_sampling
from local.model_server.text import Writer
from local.model_server.worker import Worker
from shared.conversation import derive_template_messages

MOST_BYTES = 8 << 20
RETRY_AFTER = {"retry-after": "2"}
UNRENDERED = (TemplateError, TypeError, ValueError, LookupError, AttributeError, RecursionError, OverflowError)
"""What a template, or a tokenizer, makes of messages that it was not written for."""
Events = asyncio.Queue[Piece | End | Failure]


class Server:
    """The handlers."""

    def __init__(self, worker: Worker, models: Models) -> None:
        self._worker, self._models = worker, models

    async def tell_health(self, _: Request) -> Response:
        problem = self._worker.problem
        return JSONResponse({"status": problem or "ok"}, 503 if problem else 200)

    async def list_models(self, _: Request) -> Response:
        return JSONResponse(list_models(self._models.list()))

    async def load(self, request: Request) -> Response:
        name, path = _read_strings(await _read_body(request), "lora_name", "lora_path")
        await run_in_threadpool(self._models.load, name, path)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def unload(self, request: Request) -> Response:
        (name,) = _read_strings(await _read_body(request), "lora_name")
        await run_in_threadpool(self._models.unload, name)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def complete(self, request: Request) -> Response:
        asked = read_request(await _read_body(request))
        served = self._models.find(asked.model)
        tokens = await run_in_threadpool(_render, served, asked)
        events: Events = asyncio.Queue()
        sequence = _make_sequence(served, asked, tokens, events)
        reply = Reply(asked.model, served.tokenizer, len(tokens), bool(asked.logprobs))
        self._worker.submit(served.base.batch, sequence)
        if asked.stream:
            first = await events.get()
            if isinstance(first, Failure):
                raise Refused(503, first.message, "worker_failed")
            stream = _stream(sequence, first, events, reply, includes_usage=asked.includes_usage)
            return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        return await _answer(request, sequence, events, reply)


def create_app(worker: Worker, models: Models) -> Starlette:
    """Create the app; the worker has been started."""
    server = Server(worker, models)
    routes = [
        Route("/health", server.tell_health),
        Route("/v1/models", server.list_models),
        Route("/v1/chat/completions", server.complete, methods=["POST"]),
        Route("/v1/load_lora_adapter", server.load, methods=["POST"]),
        Route("/v1/unload_lora_adapter", server.unload, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={Refused: _refuse})


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(error.describe(), error.status, headers=RETRY_AFTER if error.status == 503 else None)


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise Refused(413, f"the body has more than {MOST_BYTES} bytes")
    return bytes(body)


def _read_strings(body: bytes, *names: str) -> list[str]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}", "invalid_json") from error
    values = [content.get(name) if isinstance(content, dict) else None for name in names]
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, str) or not value:
            raise Refused(400, f"{name}: must be a text", "invalid_value", name)
    return [str(value) for value in values]


def _render(served: Served, asked: ChatRequest) -> list[int]:
    """Return the prompt's tokens. Raises: Refused: the chat template refuses the messages, or they are too long."""
    try:
        text = served.tokenizer.apply_chat_template(
            derive_template_messages(asked.messages),
            tools=asked.tools or None,
            add_generation_prompt=True,
            tokenize=False,
        )
        tokens = served.tokenizer(text, add_special_tokens=False)["input_ids"]
    except UNRENDERED as error:
        raise Refused(400, f"the chat template refuses the messages: {error}", "invalid_value", "messages") from error
    _check_length(len(tokens), asked.most_tokens or 1, served.base.context)
    return list(tokens)


def _check_length(prompt: int, answer: int, context: int) -> None:
    if prompt + answer > context:
        raise Refused(
            400,
            f"This model's maximum context length is {context} tokens; the messages have {prompt}, and {answer} are "
            "asked for",
            "context_length_exceeded",
            "messages",
        )


def _make_sequence(served: Served, asked: ChatRequest, tokens: list[int], events: Events) -> Sequence:
    loop = asyncio.get_running_loop()

    def emit(event: Piece | End | Failure) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it whoever waits
            loop.call_soon_threadsafe(events.put_nowait, event)

    return Sequence(
        tokens=list(tokens),
        adapter=served.adapter,
        sampling=choose_sampling(asked, served.defaults),
        most_tokens=asked.most_tokens or served.base.context - len(tokens),
        ends=served.ends,
        writer=Writer(served.tokenizer, asked.stop),
        emit=emit,
        likeliest=(asked.top_logprobs or 0) if asked.logprobs else None,
    )


async def _stream(
    sequence: Sequence, event: Piece | End | Failure, events: Events, reply: Reply, *, includes_usage: bool
) -> AsyncIterator[bytes]:
    try:
        yield reply.begin()
        while isinstance(event, Piece):
            yield reply.go_on(event)
            event = await events.get()
        if isinstance(event, Failure):
            yield f"data: {json.dumps(Refused(503, event.message).describe())}\n\n".encode()
            return
        for part in reply.end(event, includes_usage=includes_usage):
            yield part
    finally:
        sequence.is_cancelled = True


async def _answer(request: Request, sequence: Sequence, events: Events, reply: Reply) -> Response:
    """Answer whole; a client that goes away frees its slot."""
    collecting = asyncio.ensure_future(_collect(events))
    leaving = asyncio.ensure_future(_wait_for_leaving(request))
    try:
        await asyncio.wait([collecting, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not collecting.done():
            return Response(status_code=499)
        pieces, end = collecting.result()
    finally:
        sequence.is_cancelled = True
        collecting.cancel()
        leaving.cancel()
    return JSONResponse(reply.complete(pieces, end))


async def _collect(events: Events) -> tuple[list[Piece], End]:
    pieces: list[Piece] = []
    while isinstance(event := await events.get(), Piece):
        pieces.append(event)
    if isinstance(event, Failure):
        raise Refused(503, event.message, "worker_failed")
    return pieces, event


async def _wait_for_leaving(request: Request) -> None:
    message: dict[str, Any] = {}
    while message.get("type") != "http.disconnect":
        message = dict(await request.receive())
