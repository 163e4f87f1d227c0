"""The edge of a deployment as processes of its own: ingest, gateway and their servers, with a model behind them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from local.stack.stack import Stack
from shared.bus import decode
from shared.bus.kafka import KafkaBusConsumer
from shared.events import FeedbackReceived
from tests.builders import make_route, make_routing
from tests.integration.routing_files import write_routing

ANSWER = "Send us your order number."


async def complete(request: Request) -> Response:
    """A model that, told to fail, says in its error what it was asked."""
    body = await request.json()
    text = str(body["messages"])
    if "fail" in text:
        return JSONResponse({"error": {"message": f"no answer to {text}", "type": "server_error"}}, 500)
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    if body.get("stream"):
        chunk = {"object": "chat.completion.chunk", "choices": [choice | {"delta": {"content": ANSWER}}]}
        lines = [b"data: " + msgspec.json.encode(chunk) + b"\n\n", b"data: [DONE]\n\n"]
        return StreamingResponse(iter(lines), media_type="text/event-stream")
    whole = choice | {"message": {"role": "assistant", "content": ANSWER}}
    return JSONResponse({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [whole]})


@contextmanager
def serve_model() -> Iterator[int]:
    app = FastAPI()
    app.add_api_route("/v1/chat/completions", complete, methods=["POST"])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield int(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join(20)


class Edge:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.ingest, self.gateway = stack.url("ingest"), stack.url("gateway")
        self.key = stack.credentials["frontend"]

    def read_feedback(self, event_ids: list[UUID], seconds: float = 20) -> list[FeedbackReceived]:
        """What the topic holds of these events, as often as it does; waits until each is there."""
        wanted = set(event_ids)
        return self._read(
            lambda event: event.event_id in wanted, lambda found: {event.event_id for event in found} == wanted, seconds
        )

    def read_about(self, interaction_id: UUID, count: int, seconds: float = 20) -> list[FeedbackReceived]:
        """What the topic holds of an answer, once there are so many."""
        return self._read(
            lambda event: event.interaction_id == interaction_id, lambda found: len(found) >= count, seconds
        )

    def _read(
        self,
        is_wanted: Callable[[Any], bool],
        is_all: Callable[[list[FeedbackReceived]], bool],
        seconds: float,
    ) -> list[FeedbackReceived]:
        connections = self.stack.connections
        topic = connections.topic_prefix + FeedbackReceived.topic
        consumer = KafkaBusConsumer(connections.kafka_bootstrap_servers, [topic], None, client_id="test")
        found: list[FeedbackReceived] = []
        deadline = time.monotonic() + seconds
        quiet = False
        while not quiet and time.monotonic() < deadline:
            records = consumer.poll(0.3)
            events: list[Any] = [decode(record) for record in records]
            found += [event for event in events if is_wanted(event)]
            quiet = not records and is_all(found)
        consumer.close()
        assert quiet, "not every event is on the topic"
        return found


@pytest.fixture(scope="package")
def edge(find_port_base: Callable[[], int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    home = tmp_path_factory.mktemp("edge") / "home"
    home.parent.chmod(0o755)  # as root, Postgres may have to run as a user who must reach its folder
    with serve_model() as port:
        server = f"http://127.0.0.1:{port}/v1"
        stack = Stack(
            home,
            find_port_base(),
            only=("postgres", "valkey", "broker", "ingest", "gateway"),
            throwaway=True,
            environment={
                "HELIOTROPE_LOG_LEVEL": "DEBUG",
                "HELIOTROPE_GATEWAY_ALLOWED_BASE_URLS": server,
                "HELIOTROPE_INGEST_CORS_ORIGINS": "*",
            },
        )
        write_routing(stack, make_routing(make_route(base_url=server)))
        stack.up()
        try:
            yield Edge(stack)
        finally:
            stack.down()
