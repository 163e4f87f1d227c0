"""A model server that speaks OpenAI's protocol over real HTTP, and misbehaves as told."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

WORDS = ["Send ", "us ", "your ", "order ", "number."]
ANSWER = "".join(WORDS)
USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


@contextmanager
def serve(app: FastAPI) -> Iterator[str]:
    """The app on a port of its own; its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


def wait_until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


class ModelServer:
    """A small model server that speaks OpenAI's protocol, and misbehaves as told."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.failure: tuple[int, Any] | None = None
        self.failures: list[tuple[int, Any]] = []
        """For the next requests, one each."""
        self.breaks_after: int | None = None
        self.pause_seconds = 0.0
        self.says_done = True
        self.closed = 0
        self.app = FastAPI()
        self.app.add_api_route("/v1/chat/completions", self.complete, methods=["POST"])

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        if failure := self.failures.pop() if self.failures else self.failure:
            return JSONResponse(failure[1], failure[0], {"retry-after": "7"})
        if body.get("stream"):
            return StreamingResponse(self.stream(body), media_type="text/event-stream")
        choice = {"message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
        choices = [choice | {"index": 0}]  # like many servers: one, whatever `n` says
        reply = {"id": "req-1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": choices}
        return JSONResponse(reply | {"usage": USAGE})

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[str]:
        common = {"id": "req-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}

        def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return f"data: {json.dumps(common | {'choices': [choice]} | more)}\n\n"

        try:
            yield chunk({"role": "assistant"})
            for index, word in enumerate(WORDS):
                if index == self.breaks_after:
                    yield 'data: {"error": "out of memory"}\n\n'
                    return
                yield chunk({"content": word})
                await asyncio.sleep(self.pause_seconds)
            yield chunk({}, "stop", usage=USAGE)
            if self.says_done:
                yield "data: [DONE]\n\n"
        finally:
            self.closed += 1
