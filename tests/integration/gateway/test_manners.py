"""What a client of OpenAI's API expects beside the answer itself."""

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.ids import calculate_user_hash
from tests.integration.gateway.dialects import DONE, STOP, choose, say
from tests.integration.gateway.model_server import wait_until
from tests.integration.gateway.scripted import (
    HEADERS,
    MESSAGES,
    LightGateway,
    make_events,
    make_reply,
    open_gateway,
    play,
)

ORIGIN = "https://shop.example"
ANSWER = make_reply(json.dumps(choose({"content": "Which one?"})).encode(), "application/json")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LightGateway]:
    with open_gateway(
        tmp_path, cors_origins=[ORIGIN], model_server_key="sk-model", body_deadline_seconds=0.3
    ) as gateway:
        yield gateway


def test_a_model_can_be_asked_for_by_name(gateway: LightGateway):
    known = httpx.get(f"{gateway.url}/v1/models/heliotrope", headers=HEADERS)
    assert (known.status_code, known.json()["id"]) == (200, "heliotrope")
    unknown = httpx.get(f"{gateway.url}/v1/models/meta/llama-3", headers=HEADERS)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert "meta/llama-3" in unknown.json()["error"]["message"]
    assert httpx.get(f"{gateway.url}/v1/models/heliotrope").status_code == 401


def test_no_proxy_holds_a_stream_back(gateway: LightGateway):
    with play(make_reply(make_events(say(content="Hi"), STOP, DONE))) as server:
        gateway.route_to(server.url)
        headers = gateway.post(stream=True).headers
    assert (headers["x-accel-buffering"], headers["cache-control"]) == ("no", "no-cache")


def test_browsers_may_read_every_answer(gateway: LightGateway):
    origin = {"origin": ORIGIN}
    unserved = gateway.post(headers=origin)
    wrong = gateway.post(messages=[], headers=origin)
    unknown = httpx.get(f"{gateway.url}/v1/nothing", headers=origin)
    with play(make_reply(b'{"error": {"message": "out of memory"}}', "application/json", "500 Oops")) as server:
        gateway.route_to(server.url)
        failed = gateway.post(headers=origin)
    assert [reply.status_code for reply in (unserved, wrong, unknown, failed)] == [503, 400, 404, 500]
    for reply in (unserved, wrong, unknown, failed):
        assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert "retry-after" in reply.headers["access-control-expose-headers"]


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "402 Payment Required"])
def test_a_model_server_that_refuses_our_key_is_no_fault_of_the_clients(gateway: LightGateway, status: str):
    body = b'{"error": {"message": "Incorrect API key provided: sk-model", "code": "invalid_api_key"}}'
    with play(make_reply(body, "application/json", status)) as server:
        gateway.route_to(server.url)
        reply = gateway.post()
    assert server.headers[0]["authorization"] == "Bearer sk-model"
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_refused_us")
    assert "sk-model" not in reply.text
    assert gateway.recorded()[0].error == f"status_{status[:3]}"


@pytest.mark.parametrize("status", ["404 Not Found", "405 Method Not Allowed", "302 Found", "204 None", "304 Not"])
def test_a_model_server_that_was_asked_in_the_wrong_place_is_no_fault_of_the_clients(
    gateway: LightGateway, status: str
):
    body = b"" if status[0] != "4" else b'{"error": {"message": "The model `adapter-7` does not exist."}}'
    with play(make_reply(body, "application/json", status)) as server:
        gateway.route_to(server.url)
        reply = gateway.post()
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, f"status_{status[:3]}")
    assert "adapter-7" not in reply.text


@pytest.mark.parametrize(("said", "told"), [("", "5"), ("retry-after: 7\r\n", "7")])
def test_a_busy_model_server_is_503_with_the_time_to_wait(gateway: LightGateway, said: str, told: str):
    head = f"HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\n{said}content-length: 2\r\n\r\n"
    with play([head.encode() + b"{}"]) as server:
        gateway.route_to(server.url)
        reply = gateway.post()
    assert (reply.status_code, reply.headers["retry-after"]) == (503, told)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_without_end_is_given_up_before_it_fills_the_memory(
    gateway: LightGateway, monkeypatch: pytest.MonkeyPatch, stream: bool
):
    monkeypatch.setattr("services.gateway.adapters.upstream.MAX_ANSWER_BYTES", 2**19)
    kind = "text/event-stream" if stream else "application/json"
    piece = make_events(say(content="la " * 10_000)) if stream else b" " * 30_000
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n".encode()
    with play([head, *[step for _ in range(100) for step in (piece, 0.01)]]) as server:
        gateway.route_to(server.url)
        reply = gateway.post(stream=stream)
        assert server.hung_up.wait(5)
    assert '"code":"too_large"' in reply.text
    [event] = gateway.recorded()
    assert event.error == "too_large"


def test_a_safety_identifier_is_the_user_where_none_is_named(gateway: LightGateway):
    with play(ANSWER) as server:
        gateway.route_to(server.url)
        gateway.post(safety_identifier="ada")
        gateway.post(safety_identifier="ada", user="bob")
    users = [event.user for event in gateway.recorded(2)]
    assert users == [calculate_user_hash(name, None, "a hash secret of tests") for name in ("ada", "bob")]


def test_a_compressed_request_is_read(gateway: LightGateway):
    content = gzip.compress(json.dumps({"model": "heliotrope", "messages": MESSAGES}).encode())
    with play(ANSWER) as server:
        gateway.route_to(server.url)
        headers = HEADERS | {"content-encoding": "gzip", "content-type": "application/json"}
        assert httpx.post(f"{gateway.url}/v1/chat/completions", content=content, headers=headers).status_code == 200
    headers["content-encoding"] = "br"
    refused = httpx.post(f"{gateway.url}/v1/chat/completions", content=content, headers=headers)
    assert (refused.status_code, refused.json()["error"]["type"]) == (415, "invalid_request_error")


def test_headers_without_a_body_are_408_in_time(gateway: LightGateway):
    host, port = gateway.url.removeprefix("http://").split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: {HEADERS['authorization']}\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}content-length: 100\r\n\r\n".encode())
        assert connection.recv(1_000).startswith(b"HTTP/1.1 408")


def test_requests_above_the_limit_are_503_with_the_time_to_wait(tmp_path: Path):
    with open_gateway(tmp_path, max_requests=1) as gateway, play([2.0, *ANSWER]) as server:
        gateway.route_to(server.url)
        first = threading.Thread(target=gateway.post)
        first.start()
        wait_until(lambda: server.requests)
        refused = gateway.post()
        assert httpx.get(f"{gateway.url}/healthz").status_code == 200
        first.join()
        assert gateway.post().status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert "too many requests" in refused.json()["error"]["message"]


def test_a_stream_has_an_end_though_the_server_goes_on(tmp_path: Path):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    steps = [step for _ in range(50) for step in (make_events(say(content="la ")), 0.1)]
    with open_gateway(tmp_path, stream_timeout_seconds=0.5) as gateway, play([head, *steps]) as server:
        gateway.route_to(server.url)
        reply = gateway.post(stream=True)
        assert server.hung_up.wait(5)
    assert '"code":"timeout"' in reply.text
    [event] = gateway.recorded()
    assert event.error == "timeout"
    assert event.answer.startswith("la la ")


def test_a_gateway_that_never_had_a_routing_table_is_not_ready(gateway: LightGateway):
    assert httpx.get(f"{gateway.url}/readyz").status_code == 503
    gateway.route_to("http://127.0.0.1:9/v1")
    assert httpx.get(f"{gateway.url}/readyz").status_code == 200
