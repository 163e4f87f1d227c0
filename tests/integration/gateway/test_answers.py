"""Answers, streams and choices, as the official OpenAI client sees them."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from shared.events import Collection
from shared.feedback_tokens import FeedbackTokens
from shared.ids import calculate_conversation_hash, calculate_user_hash
from tests.integration.gateway.conftest import HASH_SECRET, MESSAGES, TOKEN_SECRET, RunningGateway, user_of
from tests.integration.gateway.model_server import ANSWER


def test_a_chat_is_answered_and_recorded_with_what_is_needed_to_judge_it(gateway: RunningGateway):
    gateway.roll_out("1")
    reply = gateway.client().chat.completions.create(
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
    [event] = gateway.recorded(1)
    assert str(event.interaction_id) == reply.id
    assert (event.messages, event.answer, event.model_version, event.intended_version) == (MESSAGES, ANSWER, "1", "1")
    assert event.user == calculate_user_hash("ada", None, HASH_SECRET)
    assert event.conversation_id == calculate_conversation_hash("c-1042", HASH_SECRET)
    assert b"c-1042" not in msgspec.json.encode(event)
    assert (event.propensity, event.error, event.prompt_tokens, event.completion_tokens) == (1.0, None, 11, 5)
    assert event.metadata is not None
    assert event.metadata["finish_reason"] == "stop"
    assert 0 < (event.first_byte_seconds or 0) <= (event.total_seconds or 0)
    [asked] = gateway.servers["1"].requests
    assert asked["model"] == "/checkpoints/1"
    assert (asked["top_k"], asked["tools"][0]["function"]["name"]) == (5, "find_order")
    token = FeedbackTokens(TOKEN_SECRET).open(told["feedback_token"], datetime.now(UTC))
    assert (token.interaction_ids, token.user, token.key_id) == ((UUID(reply.id),), event.user, event.key_id)


@pytest.mark.parametrize("says_done", [True, False])
def test_a_stream_ends_with_what_feedback_needs_and_is_recorded_by_then(gateway: RunningGateway, says_done: bool):
    gateway.servers["1"].says_done = says_done
    gateway.roll_out("1")
    chunks = list(gateway.client().chat.completions.create(model="heliotrope", messages=MESSAGES, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert chunks[-1].choices[0].finish_reason == "stop"
    told = chunks[-1].heliotrope  # type: ignore[attr-defined]
    assert {chunk.id for chunk in chunks} == {told["interaction_ids"][0]}
    assert not any(hasattr(chunk, "heliotrope") for chunk in chunks[:-1])
    [event] = gateway.recorded(1)
    assert (str(event.interaction_id), event.answer, event.error) == (chunks[0].id, ANSWER, None)


def test_tokens_are_passed_on_as_they_come(gateway: RunningGateway):
    gateway.servers["1"].pause_seconds = 0.1
    gateway.roll_out("1")
    times = []
    for _ in gateway.client().chat.completions.create(model="heliotrope", messages=MESSAGES, stream=True):
        times.append(time.monotonic())
    assert times[-1] - times[0] > 0.3


@pytest.mark.parametrize("stream", [False, True])
def test_two_choices_are_two_interactions_though_the_server_gives_one_at_a_time(gateway: RunningGateway, stream: bool):
    gateway.roll_out("1")
    create = gateway.client().chat.completions.create
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
        assert {asked["seed"] for asked in gateway.servers["1"].requests} == {7, 8}
    assert texts == [ANSWER, ANSWER]
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (11, 10)
    events = gateway.recorded(2)
    ids = [str(event.interaction_id) for event in events]
    assert (told["interaction_ids"], len(set(ids))) == (ids, 2)
    assert [event.answer for event in events] == texts
    assert {(event.solicited, event.completion_tokens) for event in events} == {(True, 5)}
    token = FeedbackTokens(TOKEN_SECRET).open(told["feedback_token"], datetime.now(UTC))
    assert [str(interaction_id) for interaction_id in token.interaction_ids] == ids


def test_a_collection_request_sets_the_canary_beside_the_champion_and_is_no_evidence_of_the_rollout(
    gateway: RunningGateway,
):
    gateway.roll_out("1", canary="2", percent=1, collection=Collection(until=datetime.now(UTC) + timedelta(minutes=5)))
    client = gateway.client()
    one = client.chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert one.heliotrope["side_by_side_wanted"] is True  # type: ignore[attr-defined]
    client.chat.completions.create(model="heliotrope", messages=MESSAGES, n=2)
    events = [event for event in gateway.recorded(3) if event.solicited]
    assert {event.model_version for event in events} == {"1", "2"}
    assert [event.rollout_id for event in events] == [None, None]
    assert events[0].metadata is not None
    assert events[0].metadata["sibling_interaction_ids"] == [str(events[1].interaction_id)]


@pytest.mark.parametrize("stream", [False, True])
def test_of_two_choices_the_one_that_came_is_given(gateway: RunningGateway, stream: bool):
    gateway.servers["1"].failures = [(500, {"error": {"message": "out of memory"}})]
    gateway.roll_out("1")
    body = {"model": "heliotrope", "messages": MESSAGES, "n": 2, "stream": stream}
    headers = {"authorization": f"Bearer {gateway.keys['frontend']}"}
    reply = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers)
    assert reply.status_code == 200
    events = gateway.recorded(2)
    assert sorted(event.error or "" for event in events) == ["", "status_500"]
    [came] = [str(event.interaction_id) for event in events if event.error is None]
    assert reply.headers["x-heliotrope-interaction-id"] == came
    assert f'"interaction_ids":["{came}"]' in reply.text
    assert '"index":1' not in reply.text


def test_headers_tell_the_same_for_streams_too_and_browsers_may_read_them(gateway: RunningGateway):
    gateway.roll_out("1")
    body = {"model": "heliotrope", "messages": MESSAGES}
    headers = {"authorization": f"Bearer {gateway.keys['frontend']}", "origin": "https://shop.example"}
    for stream in (False, True):
        reply = httpx.post(f"{gateway.url}/v1/chat/completions", json=body | {"stream": stream}, headers=headers)
        assert reply.headers["x-heliotrope-interaction-id"] in reply.text
        assert reply.headers["x-heliotrope-feedback-token"] in reply.text
        assert reply.headers["x-heliotrope-model-version"] == "1"
        assert "x-heliotrope-feedback-token" in reply.headers["access-control-expose-headers"]


def test_users_get_their_version_and_keep_it(gateway: RunningGateway):
    routing = gateway.roll_out("1", canary="2", percent=50)
    client = gateway.client()
    for arm, version in (("canary", "2"), ("champion", "1")):
        for _ in range(3):
            reply = client.chat.completions.create(model="heliotrope", messages=MESSAGES, user=user_of(arm, routing))
            assert reply.heliotrope["model_version"] == version  # type: ignore[attr-defined]
    assert {event.propensity for event in gateway.recorded(6)} == {0.5}
