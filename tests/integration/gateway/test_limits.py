"""What one user or key may ask for, and what it costs the others."""

import json
from pathlib import Path
from typing import Any

import httpx

from tests.integration.gateway.dialects import choose
from tests.integration.gateway.scripted import HEADERS, make_reply, open_gateway, play

USAGE = {"usage": {"prompt_tokens": 40, "completion_tokens": 20}}
ANSWER = make_reply(json.dumps(choose({"content": "Which one?"}) | USAGE).encode(), "application/json")
FAILED = make_reply(b'{"error": {"message": "out of memory"}}', "application/json", "500 Internal Server Error")


def test_a_prompt_that_cannot_fit_never_reaches_the_model_server(tmp_path: Path):
    with open_gateway(tmp_path, context_tokens=1_000) as gateway, play(ANSWER) as server:
        gateway.route_to(server.url)
        refused = gateway.post(messages=[{"role": "user", "content": "word " * 30_000}])
        assert server.requests == []
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_a_user_above_the_limit_is_429_and_others_are_not(tmp_path: Path):
    limits: dict[str, Any] = {"user_requests_per_second": 0.1, "user_burst_requests": 2}
    with open_gateway(tmp_path, **limits) as gateway, play(ANSWER) as server:
        gateway.route_to(server.url)
        statuses = [gateway.post(user="mallory").status_code for _ in range(3)]
        refused = gateway.post(user="mallory")
        assert gateway.post(user="ada").status_code == 200
    assert statuses == [200, 200, 429]
    assert int(refused.headers["retry-after"]) <= 10
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"


def test_a_key_that_has_used_its_tokens_waits(tmp_path: Path):
    with open_gateway(tmp_path, key_tokens_per_day=100) as gateway, play(ANSWER) as server:
        gateway.route_to(server.url)
        statuses = [gateway.post(user=name).status_code for name in ("ada", "bob", "eve")]
    assert statuses == [200, 200, 429]


def test_one_users_failures_do_not_take_the_champion_from_the_others(tmp_path: Path):
    with open_gateway(tmp_path, breaker_failures=3) as gateway, play(FAILED) as broken:
        gateway.route_to(broken.url)
        statuses = [gateway.post(user="mallory").status_code for _ in range(5)]
        assert len(broken.requests) == 5
        assert gateway.post(user="ada").status_code == 500
        assert gateway.post(user="bob").json()["error"]["code"] == "circuit_open"
    assert statuses == [500] * 5


def test_content_that_is_no_content_never_reaches_the_model_server(tmp_path: Path):
    with open_gateway(tmp_path) as gateway, play(ANSWER) as server:
        gateway.route_to(server.url)
        refused = gateway.post(messages=[{"role": "user", "content": [{}]}])
        deep = httpx.post(f"{gateway.url}/v1/chat/completions", content=b'{"a":' * 700, headers=HEADERS)
        assert server.requests == []
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "messages.0.content.0")
    assert (deep.status_code, "nested deeper" in deep.json()["error"]["message"]) == (400, True)
