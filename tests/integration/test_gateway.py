"""The gateway as its clients see it: the official OpenAI client, real HTTP model servers, Postgres and a broker."""

import asyncio
import json
import socketserver
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import openai
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from openai import OpenAI
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from services.gateway.bootstrap import create
from services.gateway.domain.assignment import assign
from services.gateway.settings import GatewaySettings, SharedSettings
from shared.auth import create_key
from shared.bus import decode, encode
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer, create_topics
from shared.events import Collection, InteractionRecorded, RolloutAdvanced, Route, RoutingTable
from shared.feedback_tokens import FeedbackTokens
from shared.ids import calculate_user_hash

HASH_SECRET = "a hash secret of tests"
TOKEN_SECRET = "a token secret of tests"
BREAKER_FAILURES = 3
BREAKER_OPEN_SECONDS = 1.0
MESSAGES: list[Any] = [{"role": "user", "content": "The lamp I bought flickers. What now?"}]
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
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
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


class Room:
    """A running gateway with two model servers behind it."""

    def __init__(
        self, url: str, settings: SharedSettings, keys: dict[str, str], servers: dict[str, ModelServer]
    ) -> None:
        self.url, self.settings, self.keys, self.servers = url, settings, keys, servers
        self.urls: dict[str, str] = {}
        self.clients: list[OpenAI] = []
        self.generation = 0
        self.producer = KafkaBusProducer(settings.kafka_bootstrap_servers, client_id="test-deployer")

    def client(self, role: str = "frontend") -> OpenAI:
        return self.client_with(self.keys[role])

    def client_with(self, key: str) -> OpenAI:
        self.clients.append(OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0))
        return self.clients[-1]

    def close(self) -> None:
        self.producer.close(5)
        for client in self.clients:
            client.close()

    def route(self, version: str) -> Route:
        return Route(version=version, model=f"/checkpoints/{version}", base_url=self.urls[version])

    def roll_out(
        self, champion: str, canary: str | None = None, percent: float = 0, collection: Collection | None = None
    ) -> RoutingTable:
        """Announce a table, and wait until the gateway has heard of it."""
        self.generation += 1
        routing = RoutingTable(
            generation=self.generation,
            family="heliotrope",
            champion=self.route(champion),
            salt="rollout",
            canary=self.route(canary) if canary else None,
            canary_percent=percent,
            rollout_id=UUID(int=7),
            collection=collection,
        )
        event = RolloutAdvanced(state="canary", summary="a stage of tests", routing=routing, at=datetime.now(UTC))
        self.producer.send(encode(event, source="deployer", topic_prefix=self.settings.topic_prefix)).result(10)
        wait_until(lambda: self.heard_generation() == self.generation)
        return routing

    def heard_generation(self) -> int:
        path = self.settings.home / "gateway" / "routing.json"
        return int(json.loads(path.read_bytes())["generation"]) if path.exists() else 0

    def recorded(self, count: int) -> list[InteractionRecorded]:
        """Every interaction on the topic, once `count` are there."""
        topic = self.settings.topic_prefix + InteractionRecorded.topic
        consumer = KafkaBusConsumer(self.settings.kafka_bootstrap_servers, [topic], None, client_id="test")
        events: list[Any] = []
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            records = consumer.poll(0.5)
            events += [decode(record) for record in records]
            if len(events) >= count and not records:
                break
        consumer.close()
        assert len(events) == count
        return sorted(events, key=lambda event: event.interaction_id)


@pytest.fixture
def room(database_url: str, kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Iterator[Room]:
    create_topics(kafka_bootstrap, topic_prefix=topic_prefix)
    settings = SharedSettings(
        home=tmp_path,
        database_url=database_url,
        kafka_bootstrap_servers=kafka_bootstrap,
        topic_prefix=topic_prefix,
        user_hash_secret=HASH_SECRET,
        feedback_token_secret=TOKEN_SECRET,
    )
    engine = create_engine(database_url)
    with Session(engine) as session, session.begin():
        keys = {role: create_key(session, role, role) for role in ("frontend", "ops", "admin", "rater")}
    engine.dispose()
    own = GatewaySettings(
        deployer_url="http://127.0.0.1:9",
        cors_origins=["https://shop.example"],
        breaker_failures=BREAKER_FAILURES,
        breaker_open_seconds=BREAKER_OPEN_SECONDS,
    )
    servers = {"1": ModelServer(), "2": ModelServer()}
    with serve(servers["1"].app) as one, serve(servers["2"].app) as two, serve(create(settings, own)) as url:
        room = Room(url, settings, keys, servers)
        room.urls = {"1": f"{one}/v1", "2": f"{two}/v1"}
        yield room
        room.close()


def user_of(arm: str, routing: RoutingTable) -> str:
    """Some user whom the table means for the arm."""
    names = (f"user-{number}" for number in range(1_000))
    return next(
        name for name in names if assign(routing, calculate_user_hash(name, None, HASH_SECRET) or "").arm == arm
    )


def test_a_chat_is_answered_and_recorded_with_what_is_needed_to_judge_it(room: Room):
    room.roll_out("1")
    reply = room.client().chat.completions.create(
        model="heliotrope",
        messages=MESSAGES,
        user="ada",
        metadata={"conversation_id": "c-1042"},
        tools=[{"type": "function", "function": {"name": "find_order", "parameters": {}}}],
        extra_body={"top_k": 5},
    )
    told = reply.heliotrope  # type: ignore[attr-defined]
    assert reply.choices[0].message.content == ANSWER
    assert (reply.model, reply.id, told["model_version"]) == ("heliotrope", told["interaction_ids"][0], "1")
    [event] = room.recorded(1)
    assert str(event.interaction_id) == reply.id
    assert (event.messages, event.answer, event.model_version, event.intended_version) == (MESSAGES, ANSWER, "1", "1")
    assert (event.user, event.conversation_id) == (calculate_user_hash("ada", None, HASH_SECRET), "c-1042")
    assert (event.propensity, event.error, event.prompt_tokens, event.completion_tokens) == (1.0, None, 11, 5)
    assert event.metadata is not None
    assert event.metadata["finish_reason"] == "stop"
    assert 0 < (event.first_byte_seconds or 0) <= (event.total_seconds or 0)
    [asked] = room.servers["1"].requests
    assert asked["model"] == "/checkpoints/1"
    assert (asked["top_k"], asked["tools"][0]["function"]["name"]) == (5, "find_order")
    token = FeedbackTokens(TOKEN_SECRET).open(told["feedback_token"], datetime.now(UTC))
    assert (token.interaction_ids, token.user, token.key_id) == ((UUID(reply.id),), event.user, event.key_id)


@pytest.mark.parametrize("says_done", [True, False])
def test_a_stream_ends_with_what_feedback_needs_and_is_recorded_by_then(room: Room, says_done: bool):
    room.servers["1"].says_done = says_done
    room.roll_out("1")
    chunks = list(room.client().chat.completions.create(model="heliotrope", messages=MESSAGES, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert chunks[-1].choices[0].finish_reason == "stop"
    told = chunks[-1].heliotrope  # type: ignore[attr-defined]
    assert {chunk.id for chunk in chunks} == {told["interaction_ids"][0]}
    assert not any(hasattr(chunk, "heliotrope") for chunk in chunks[:-1])
    [event] = room.recorded(1)
    assert (str(event.interaction_id), event.answer, event.error) == (chunks[0].id, ANSWER, None)


def test_tokens_are_passed_on_as_they_come(room: Room):
    room.servers["1"].pause_seconds = 0.1
    room.roll_out("1")
    times = []
    for _ in room.client().chat.completions.create(model="heliotrope", messages=MESSAGES, stream=True):
        times.append(time.monotonic())
    assert times[-1] - times[0] > 0.3


@pytest.mark.parametrize("stream", [False, True])
def test_two_choices_are_two_interactions_though_the_server_gives_one_at_a_time(room: Room, stream: bool):
    room.roll_out("1")
    create = room.client().chat.completions.create
    if stream:
        options: Any = {"include_usage": True}
        chunks = list(create(model="heliotrope", messages=MESSAGES, n=2, stream=True, stream_options=options))
        told, usage = chunks[-1].heliotrope, chunks[-1].usage  # type: ignore[attr-defined]
        texts = ["", ""]
        for chunk in chunks:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
    else:
        reply = create(model="heliotrope", messages=MESSAGES, n=2, seed=7)
        told, usage = reply.heliotrope, reply.usage  # type: ignore[attr-defined]
        texts = [choice.message.content or "" for choice in reply.choices]
        assert {asked["seed"] for asked in room.servers["1"].requests} == {7, 8}
    assert texts == [ANSWER, ANSWER]
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (11, 10)
    events = room.recorded(2)
    ids = [str(event.interaction_id) for event in events]
    assert (told["interaction_ids"], len(set(ids))) == (ids, 2)
    assert [event.answer for event in events] == texts
    assert {(event.solicited, event.completion_tokens) for event in events} == {(True, 5)}
    token = FeedbackTokens(TOKEN_SECRET).open(told["feedback_token"], datetime.now(UTC))
    assert [str(interaction_id) for interaction_id in token.interaction_ids] == ids


def test_a_collection_request_sets_the_canary_beside_the_champion_and_is_no_evidence_of_the_rollout(room: Room):
    room.roll_out("1", canary="2", percent=1, collection=Collection(until=datetime.now(UTC) + timedelta(minutes=5)))
    client = room.client()
    one = client.chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert one.heliotrope["side_by_side_wanted"] is True  # type: ignore[attr-defined]
    client.chat.completions.create(model="heliotrope", messages=MESSAGES, n=2)
    events = [event for event in room.recorded(3) if event.solicited]
    assert {event.model_version for event in events} == {"1", "2"}
    assert [event.rollout_id for event in events] == [None, None]
    assert events[0].metadata is not None
    assert events[0].metadata["sibling_interaction_ids"] == [str(events[1].interaction_id)]


@pytest.mark.parametrize("stream", [False, True])
def test_of_two_choices_the_one_that_came_is_given(room: Room, stream: bool):
    room.servers["1"].failures = [(500, {"error": {"message": "out of memory"}})]
    room.roll_out("1")
    body = {"model": "heliotrope", "messages": MESSAGES, "n": 2, "stream": stream}
    headers = {"authorization": f"Bearer {room.keys['frontend']}"}
    reply = httpx.post(f"{room.url}/v1/chat/completions", json=body, headers=headers)
    assert reply.status_code == 200
    events = room.recorded(2)
    assert sorted(event.error or "" for event in events) == ["", "status_500"]
    [came] = [str(event.interaction_id) for event in events if event.error is None]
    assert reply.headers["x-heliotrope-interaction-id"] == came
    assert f'"interaction_ids":["{came}"]' in reply.text
    assert '"index":1' not in reply.text


def test_a_model_server_that_keeps_failing_is_left_alone_and_tried_again(room: Room):
    routing = room.roll_out("1", canary="2", percent=50)
    room.servers["2"].failure = (500, {"error": {"message": "out of memory", "type": "server_error"}})
    client, user = room.client(), user_of("canary", routing)
    for _ in range(7):
        reply = client.chat.completions.create(model="heliotrope", messages=MESSAGES, user=user)
        assert reply.heliotrope["model_version"] == "1"  # type: ignore[attr-defined]
    assert len(room.servers["2"].requests) == BREAKER_FAILURES
    reasons = [(event.metadata or {})["fell_back_because"] for event in room.recorded(7)]
    assert reasons == ["status_500"] * BREAKER_FAILURES + ["circuit_open"] * (7 - BREAKER_FAILURES)
    room.servers["2"].failure = None
    time.sleep(BREAKER_OPEN_SECONDS)
    reply = client.chat.completions.create(model="heliotrope", messages=MESSAGES, user=user)
    assert reply.heliotrope["model_version"] == "2"  # type: ignore[attr-defined]


def test_a_champion_left_alone_is_said_to_be_so_at_once(room: Room):
    room.roll_out("1")
    room.servers["1"].failure = (500, {"error": {"message": "out of memory", "type": "server_error"}})
    client = room.client()
    for _ in range(BREAKER_FAILURES):
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="heliotrope", messages=MESSAGES)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert (caught.value.status_code, caught.value.code) == (503, "circuit_open")
    assert caught.value.response.headers["retry-after"] == "1"


def test_headers_tell_the_same_for_streams_too_and_browsers_may_read_them(room: Room):
    room.roll_out("1")
    body = {"model": "heliotrope", "messages": MESSAGES}
    headers = {"authorization": f"Bearer {room.keys['frontend']}", "origin": "https://shop.example"}
    for stream in (False, True):
        reply = httpx.post(f"{room.url}/v1/chat/completions", json=body | {"stream": stream}, headers=headers)
        assert reply.headers["x-heliotrope-interaction-id"] in reply.text
        assert reply.headers["x-heliotrope-feedback-token"] in reply.text
        assert reply.headers["x-heliotrope-model-version"] == "1"
        assert "x-heliotrope-feedback-token" in reply.headers["access-control-expose-headers"]


def test_users_get_their_version_and_keep_it(room: Room):
    routing = room.roll_out("1", canary="2", percent=50)
    client = room.client()
    for arm, version in (("canary", "2"), ("champion", "1")):
        for _ in range(3):
            reply = client.chat.completions.create(model="heliotrope", messages=MESSAGES, user=user_of(arm, routing))
            assert reply.heliotrope["model_version"] == version  # type: ignore[attr-defined]
    assert {event.propensity for event in room.recorded(6)} == {0.5}


@pytest.mark.parametrize("stream", [False, True])
def test_a_canary_that_fails_before_its_first_byte_is_stood_in_for_by_the_champion(room: Room, stream: bool):
    routing = room.roll_out("1", canary="2", percent=50)
    room.servers["2"].failure = (503, {"error": {"message": "loading", "type": "server_error"}})
    body = {"model": "heliotrope", "messages": MESSAGES, "user": user_of("canary", routing), "stream": stream}
    headers = {"authorization": f"Bearer {room.keys['frontend']}"}
    reply = httpx.post(f"{room.url}/v1/chat/completions", json=body, headers=headers)
    assert (reply.status_code, reply.headers["x-heliotrope-model-version"]) == (200, "1")
    [event] = room.recorded(1)
    assert (event.intended_version, event.model_version, event.error) == ("2", "1", None)
    assert event.metadata is not None
    assert event.metadata["fell_back_because"] == "status_503"


def test_errors_of_the_model_server_keep_their_status_and_shape_and_are_recorded(room: Room):
    room.roll_out("1")
    room.servers["1"].failure = (429, {"error": {"message": "slow down", "type": "requests", "code": "rate_limit"}})
    with pytest.raises(openai.RateLimitError) as caught:
        room.client().chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert caught.value.body == room.servers["1"].failure[1]["error"]
    assert caught.value.response.headers["retry-after"] == "7"
    room.servers["1"].failure = (422, {"detail": "Unexpected fields in the request: {'x'}"})
    with pytest.raises(openai.UnprocessableEntityError, match="Unexpected fields") as strange:
        room.client().chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert strange.value.type == "invalid_request_error"
    assert [event.error for event in room.recorded(2)] == ["status_429", "status_422"]


def test_a_model_server_that_is_not_there_is_502(room: Room):
    room.urls["1"] = "http://127.0.0.1:9/v1"
    room.roll_out("1")
    with pytest.raises(openai.InternalServerError) as caught:
        room.client().chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert (caught.value.status_code, caught.value.code) == (502, "unreachable")
    assert [event.error for event in room.recorded(1)] == ["unreachable"]


class HangsUp(socketserver.StreamRequestHandler):
    """A model server that answers one request on a connection, offers to keep it, and hangs up on the next."""

    def handle(self) -> None:
        self.read_request()
        choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
        body = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)
        self.read_request()

    def read_request(self) -> None:
        length = 0
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self.rfile.read(length)


def test_a_kept_connection_that_the_model_server_closes_costs_no_answer(room: Room):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangsUp) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        room.urls["1"] = f"http://127.0.0.1:{server.server_address[1]}/v1"
        room.roll_out("1")
        client = room.client()
        for _ in range(3):
            reply = client.chat.completions.create(model="heliotrope", messages=MESSAGES)
            assert reply.choices[0].message.content == ANSWER
        server.shutdown()
        serving.join(10)


def test_an_answer_that_breaks_off_is_recorded_as_far_as_it_came(room: Room):
    room.servers["1"].breaks_after = 2
    room.roll_out("1")
    with pytest.raises(openai.APIError, match="out of memory"):
        list(room.client().chat.completions.create(model="heliotrope", messages=MESSAGES, stream=True))
    [event] = room.recorded(1)
    assert (event.answer, event.error) == ("Send us ", "error_in_stream")


def test_a_client_that_leaves_stops_the_model_and_is_recorded(room: Room):
    room.servers["1"].pause_seconds = 0.3
    room.roll_out("1")
    stream = room.client().chat.completions.create(model="heliotrope", messages=MESSAGES, stream=True)
    next(chunk for chunk in stream if chunk.choices[0].delta.content)
    stream.close()
    [event] = room.recorded(1)
    assert event.error == "client_disconnected"
    assert ANSWER.startswith(event.answer)
    assert event.answer != ANSWER
    wait_until(lambda: room.servers["1"].closed)


def test_operators_probe_versions_and_leave_no_trace(room: Room):
    room.roll_out("1", canary="2", percent=1)
    for role in ("ops", "admin"):
        reply = room.client(role).chat.completions.create(model="2", messages=MESSAGES)
        assert reply.choices[0].message.content == ANSWER
        assert reply.heliotrope["model_version"] == "2"  # type: ignore[attr-defined]
    assert [model.id for model in room.client("ops").models.list()] == ["1", "2"]
    assert [model.id for model in room.client().models.list()] == ["heliotrope"]
    with pytest.raises(openai.PermissionDeniedError):
        room.client("ops").chat.completions.create(model="heliotrope", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError) as caught:
        room.client().chat.completions.create(model="2", messages=MESSAGES)
    assert caught.value.code == "model_not_found"
    assert room.recorded(0) == []


def test_refusals_speak_openais_language(room: Room):
    post = f"{room.url}/v1/chat/completions"
    headers = {"authorization": f"Bearer {room.keys['frontend']}"}
    with pytest.raises(openai.AuthenticationError) as caught:
        room.client_with("hk_wrong").models.list()
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError):
        room.client("rater").models.list()
    with pytest.raises(openai.InternalServerError) as early:
        room.client().chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert (early.value.status_code, early.value.code) == (503, "no_routing_table")
    not_json = httpx.post(post, content=b"model=heliotrope", headers=headers)
    assert (not_json.status_code, not_json.json()["error"]["type"]) == (400, "invalid_request_error")
    wrong = httpx.post(post, json={"model": "heliotrope", "messages": []}, headers=headers)
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "messages")
    assert httpx.get(f"{room.url}/v1/nothing").json()["error"]["message"] == "Not Found"


def test_a_second_process_starts_without_kafka_or_deployer_and_sends_later_what_was_spooled(room: Room, tmp_path: Path):
    room.roll_out("1")
    alone = room.settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:9"})
    own = GatewaySettings(deployer_url="http://127.0.0.1:9", state_dir=tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "routing.json").write_bytes((tmp_path / "gateway" / "routing.json").read_bytes())
    body = {"model": "heliotrope", "messages": MESSAGES}
    headers = {"authorization": f"Bearer {room.keys['frontend']}"}
    with serve(create(alone, own)) as url:
        assert httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers).status_code == 200
    with serve(create(room.settings, own)):
        [event] = room.recorded(1)
    assert event.answer == ANSWER


def test_a_full_spool_never_stands_in_the_way_of_an_answer(room: Room, tmp_path: Path):
    room.roll_out("1")
    alone = room.settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:9"})
    own = GatewaySettings(deployer_url="http://127.0.0.1:9", state_dir=tmp_path / "full", spool_max_rows=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "routing.json").write_bytes((tmp_path / "gateway" / "routing.json").read_bytes())
    body = {"model": "heliotrope", "messages": MESSAGES}
    headers = {"authorization": f"Bearer {room.keys['frontend']}"}
    with serve(create(alone, own)) as url:
        for _ in range(2):
            assert httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers).status_code == 200
        metrics = httpx.get(f"{url}/metrics").text
    assert 'heliotrope_interactions_unrecorded_total{reason="spool_full"} 1.0' in metrics
