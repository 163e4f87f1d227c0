"""What is recorded when clients leave, model servers break off, and messages are heavy."""

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.gateway.metrics import UPSTREAM_REQUESTS
from tests.integration.gateway.dialects import DONE, STOP, choose, say
from tests.integration.gateway.scripted import (
    HEADERS,
    MESSAGES,
    LightGateway,
    make_broken_reply,
    make_events,
    make_reply,
    open_gateway,
    play,
    read_stream,
)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LightGateway]:
    with open_gateway(tmp_path, breaker_failures=3, breaker_users=1) as gateway:
        yield gateway


def count_upstream(outcome: str) -> float:
    return float(UPSTREAM_REQUESTS.labels("1", outcome)._value.get())


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_before_the_answer_is_recorded_and_its_model_call_cancelled(
    gateway: LightGateway, stream: bool
):
    cancelled = count_upstream("cancelled")
    with play([20.0]) as server:
        gateway.route_to(server.url)
        with pytest.raises(httpx.ReadTimeout):
            gateway.post(timeout=0.5, stream=stream)
        assert server.hung_up.wait(10)
    [event] = gateway.recorded()
    assert (event.answer, event.error) == ("", "client_disconnected")
    assert count_upstream("cancelled") == cancelled + 1


def test_a_connection_that_breaks_in_the_middle_is_a_failure_and_counts_as_one(gateway: LightGateway):
    broken = count_upstream("broken_off")
    with play(make_broken_reply(make_events(say(content="Which ")))) as server:
        gateway.route_to(server.url)
        events = read_stream(gateway.post(stream=True))
    assert events[-2]["error"]["code"] == "broken_off"
    [event] = gateway.recorded()
    assert (event.answer, event.error) == ("Which ", "broken_off")
    assert count_upstream("broken_off") == broken + 1


def test_streams_that_keep_breaking_off_open_the_breaker(gateway: LightGateway):
    with play(make_broken_reply(make_events(say(content="Which ")))) as server:
        gateway.route_to(server.url)
        for _ in range(3):
            assert gateway.post(stream=True).status_code == 200
        assert gateway.post(stream=True).status_code == 503
    assert [event.error for event in gateway.recorded(4)] == ["broken_off"] * 3 + ["circuit_open"]


def test_a_canary_that_answers_nothing_under_200_is_stood_in_for(gateway: LightGateway):
    good = make_reply(json.dumps(choose({"content": "Which one?"})).encode(), "application/json")
    empty = make_reply(b'{"choices": []}', "application/json")
    with play(good) as champion, play(empty) as canary:
        gateway.route_to(champion.url, canary.url)
        assert gateway.post(user="ada").json()["heliotrope"]["model_version"] == "1"
    [event] = gateway.recorded()
    assert event.metadata is not None
    assert (event.intended_version, event.metadata["fell_back_because"]) == ("2", "no_choices")


def test_an_image_of_a_megabyte_is_recorded_by_its_hash(gateway: LightGateway):
    image = "data:image/png;base64," + base64.b64encode(bytes(1_000_000)).decode()
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": image}}]
    with play(make_reply(json.dumps(choose({"content": "A lamp."})).encode(), "application/json")) as server:
        gateway.route_to(server.url)
        assert gateway.post(messages=[{"role": "user", "content": parts}]).status_code == 200
        [asked] = server.requests
    assert asked["messages"][0]["content"] == parts
    [event] = gateway.recorded()
    text, picture = event.messages[0]["content"]
    assert text == parts[0]
    assert (picture["type"], len(picture["sha256"])) == ("image_url", 64)


def test_a_reply_is_recorded_once_though_its_client_leaves_at_its_end(gateway: LightGateway):
    with play(make_reply(make_events(say(content="Which one?"), STOP, DONE))) as server:
        gateway.route_to(server.url)
        with httpx.stream(
            "POST",
            f"{gateway.url}/v1/chat/completions",
            json={"model": "heliotrope", "messages": MESSAGES, "stream": True},
            headers=HEADERS,
        ) as reply:
            next(reply.iter_bytes())
        threading.Event().wait(0.3)
    assert len(gateway.recorded()) == 1
