"""Failing model servers, leaving clients and a full spool."""

import json
import socketserver
import threading
import time
from pathlib import Path

import httpx
import openai
import pytest

from services.gateway.bootstrap import create
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import (
    BREAKER_FAILURES,
    BREAKER_OPEN_SECONDS,
    MESSAGES,
    RunningGateway,
    user_of,
)
from tests.integration.gateway.model_server import ANSWER, serve, wait_until


def test_a_model_server_that_keeps_failing_is_left_alone_and_tried_again(gateway: RunningGateway):
    routing = gateway.roll_out("1", canary="2", percent=50)
    gateway.servers["2"].failure = (500, {"error": {"message": "out of memory", "type": "server_error"}})
    client, user = gateway.client(), user_of("canary", routing)
    for _ in range(7):
        reply = client.chat.completions.create(model="heliotrope", messages=MESSAGES, user=user)
        assert reply.heliotrope["model_version"] == "1"  # type: ignore[attr-defined]
    assert len(gateway.servers["2"].requests) == BREAKER_FAILURES
    reasons = [(event.metadata or {})["fell_back_because"] for event in gateway.recorded(7)]
    assert reasons == ["status_500"] * BREAKER_FAILURES + ["circuit_open"] * (7 - BREAKER_FAILURES)
    gateway.servers["2"].failure = None
    time.sleep(BREAKER_OPEN_SECONDS)
    reply = client.chat.completions.create(model="heliotrope", messages=MESSAGES, user=user)
    assert reply.heliotrope["model_version"] == "2"  # type: ignore[attr-defined]


def test_a_champion_left_alone_is_said_to_be_so_at_once(gateway: RunningGateway):
    gateway.roll_out("1")
    gateway.servers["1"].failure = (500, {"error": {"message": "out of memory", "type": "server_error"}})
    client = gateway.client()
    for _ in range(BREAKER_FAILURES):
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="heliotrope", messages=MESSAGES)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert (caught.value.status_code, caught.value.code) == (503, "circuit_open")
    assert caught.value.response.headers["retry-after"] == "1"


@pytest.mark.parametrize("stream", [False, True])
def test_a_canary_that_fails_before_its_first_byte_is_stood_in_for_by_the_champion(
    gateway: RunningGateway, stream: bool
):
    routing = gateway.roll_out("1", canary="2", percent=50)
    gateway.servers["2"].failure = (503, {"error": {"message": "loading", "type": "server_error"}})
    body = {"model": "heliotrope", "messages": MESSAGES, "user": user_of("canary", routing), "stream": stream}
    headers = {"authorization": f"Bearer {gateway.keys['frontend']}"}
    reply = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers)
    assert (reply.status_code, reply.headers["x-heliotrope-model-version"]) == (200, "1")
    [event] = gateway.recorded(1)
    assert (event.intended_version, event.model_version, event.error) == ("2", "1", None)
    assert event.metadata is not None
    assert event.metadata["fell_back_because"] == "status_503"


def test_errors_of_the_model_server_keep_their_status_and_shape_and_are_recorded(gateway: RunningGateway):
    gateway.roll_out("1")
    gateway.servers["1"].failure = (429, {"error": {"message": "slow down", "type": "requests", "code": "rate_limit"}})
    with pytest.raises(openai.RateLimitError) as caught:
        gateway.client().chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert caught.value.body == gateway.servers["1"].failure[1]["error"]
    assert caught.value.response.headers["retry-after"] == "7"
    gateway.servers["1"].failure = (422, {"detail": "Unexpected fields in the request: {'x'}"})
    with pytest.raises(openai.UnprocessableEntityError, match="Unexpected fields") as strange:
        gateway.client().chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert strange.value.type == "invalid_request_error"
    assert [event.error for event in gateway.recorded(2)] == ["status_429", "status_422"]


def test_a_model_server_that_is_not_there_is_502(gateway: RunningGateway):
    gateway.urls["1"] = "http://127.0.0.1:9/v1"
    gateway.roll_out("1")
    with pytest.raises(openai.InternalServerError) as caught:
        gateway.client().chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert (caught.value.status_code, caught.value.code) == (502, "unreachable")
    assert [event.error for event in gateway.recorded(1)] == ["unreachable"]


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


def test_a_kept_connection_that_the_model_server_closes_costs_no_answer(gateway: RunningGateway):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangsUp) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        gateway.urls["1"] = f"http://127.0.0.1:{server.server_address[1]}/v1"
        gateway.roll_out("1")
        client = gateway.client()
        for _ in range(3):
            reply = client.chat.completions.create(model="heliotrope", messages=MESSAGES)
            assert reply.choices[0].message.content == ANSWER
        server.shutdown()
        serving.join(10)


def test_an_answer_that_breaks_off_is_recorded_as_far_as_it_came(gateway: RunningGateway):
    gateway.servers["1"].breaks_after = 2
    gateway.roll_out("1")
    with pytest.raises(openai.APIError, match="out of memory"):
        list(gateway.client().chat.completions.create(model="heliotrope", messages=MESSAGES, stream=True))
    [event] = gateway.recorded(1)
    assert (event.answer, event.error) == ("Send us ", "error_in_answer")


def test_a_client_that_leaves_stops_the_model_and_is_recorded(gateway: RunningGateway):
    gateway.servers["1"].pause_seconds = 0.3
    gateway.roll_out("1")
    stream = gateway.client().chat.completions.create(model="heliotrope", messages=MESSAGES, stream=True)
    next(chunk for chunk in stream if chunk.choices[0].delta.content)
    stream.close()
    [event] = gateway.recorded(1)
    assert event.error == "client_disconnected"
    assert ANSWER.startswith(event.answer)
    assert event.answer != ANSWER
    wait_until(lambda: gateway.servers["1"].closed)


def test_a_full_spool_never_stands_in_the_way_of_an_answer(gateway: RunningGateway, tmp_path: Path):
    gateway.roll_out("1")
    alone = gateway.settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:9"})
    own = GatewaySettings(deployer_url="http://127.0.0.1:9", state_dir=tmp_path / "full", spool_max_rows=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "routing.json").write_bytes((tmp_path / "gateway" / "routing.json").read_bytes())
    body = {"model": "heliotrope", "messages": MESSAGES}
    headers = {"authorization": f"Bearer {gateway.keys['frontend']}"}
    with serve(create(alone, own)) as url:
        for _ in range(2):
            assert httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers).status_code == 200
        metrics = httpx.get(f"{url}/metrics").text
    assert 'heliotrope_interactions_unrecorded_total{reason="spool_full"} 1.0' in metrics
