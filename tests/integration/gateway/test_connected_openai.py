"""The official OpenAI client, connected: its replies keep that library's shapes, and say the answers' ids."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from heliotrope_client import Interaction, QueueFull, derive_interaction_id
from heliotrope_client.openai import connect, find_interaction_id
from openai import AsyncOpenAI, OpenAI, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageFunctionToolCall
from pydantic import BaseModel

from tests.integration.gateway.dialects import CALLED, DONE, FIND, call, piece, say
from tests.integration.gateway.scripted import KEY, LightGateway, Script, make_events, make_reply, open_gateway, play

MESSAGES: list[Any] = [{"role": "user", "content": "Where is my order?"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}]
STREAM = [say(role="assistant", content=""), say(content="On its "), say(content="way."), say("stop"), DONE]


class Order(BaseModel):
    number: int


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightGateway]:
    with open_gateway(tmp_path_factory.mktemp("gateway"), user_requests_per_second=0) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: LightGateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as plain:
        yield connect(plain)


def answer(**message: Any) -> Script:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": None} | message}
    body = {"id": "chatcmpl-7", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return make_reply(json.dumps(body).encode(), "application/json")


def stream(*chunks: Any) -> Script:
    common = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return make_reply(make_events(*(one if one == DONE else common | one for one in chunks)))


def recorded_ids(gateway: LightGateway) -> list[str]:
    return [record.key.decode() for _, record in gateway.spool.read(1_000)]


def test_a_reply_is_of_the_library_itself_and_carries_its_id(gateway: LightGateway, client: OpenAI):
    with play(answer(content="On its way.")) as server:
        gateway.route_to(server.url)
        reply = client.chat.completions.create(model="heliotrope", messages=MESSAGES, user="ada")
        plain = OpenAI(base_url=client.base_url, api_key=KEY).chat.completions.create(
            model="heliotrope", messages=MESSAGES
        )
    assert type(reply) is type(plain) is ChatCompletion
    added = {"interaction_id", "interaction_ids"}
    assert reply.model_dump().keys() - plain.model_dump().keys() == added
    assert reply.choices[0].message == plain.choices[0].message
    assert find_interaction_id(reply) == reply.id == recorded_ids(gateway)[-2]
    assert reply.choices[0].interaction_id == reply.id  # type: ignore[attr-defined]
    with pytest.raises(LookupError, match="connect"):
        find_interaction_id(plain)


def test_the_client_that_was_given_stays_as_it_was_and_options_keep_the_connection(
    gateway: LightGateway, client: OpenAI
):
    with play(answer(content="Hm.")) as server, OpenAI(base_url=client.base_url, api_key=KEY) as plain:
        gateway.route_to(server.url)
        plain.chat.completions.create(model="heliotrope", messages=MESSAGES)
        connected = connect(plain)
        other = connected.with_options(timeout=9).chat.completions.create(model="heliotrope", messages=MESSAGES)
        bare = plain.chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert isinstance(connected, OpenAI)
    assert find_interaction_id(other)
    assert not hasattr(bare, "interaction_id")


def test_a_stream_says_its_id_from_the_first_chunk_on(gateway: LightGateway, client: OpenAI):
    with play(stream(*STREAM)) as server:
        gateway.route_to(server.url)
        came = client.chat.completions.create(model="heliotrope", messages=MESSAGES, stream=True)
        assert isinstance(came, Stream)
        at_once = find_interaction_id(came)
        chunks = list(came)
    assert {type(chunk) for chunk in chunks} == {ChatCompletionChunk}
    assert {find_interaction_id(chunk) for chunk in chunks} == {at_once} == {chunks[0].id}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "On its way."
    assert recorded_ids(gateway)[-1] == at_once


def test_the_stream_helper_ends_with_a_completion_that_carries_the_ids_of_both_choices(
    gateway: LightGateway, client: OpenAI
):
    with play(stream(*STREAM)) as server:
        gateway.route_to(server.url)
        with client.chat.completions.stream(model="heliotrope", messages=MESSAGES, n=2) as came:
            kinds = {event.type for event in came}
            final = came.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert [choice.message.content for choice in final.choices] == ["On its way."] * 2
    ids = [find_interaction_id(final, index) for index in (0, 1)]
    assert [choice.interaction_id for choice in final.choices] == ids  # type: ignore[attr-defined]
    assert sorted(recorded_ids(gateway)[-2:]) == sorted(ids)


def test_of_two_choices_each_has_its_own_id(gateway: LightGateway, client: OpenAI):
    with play(answer(content="On its way.")) as server:
        gateway.route_to(server.url)
        reply = client.chat.completions.create(model="heliotrope", messages=MESSAGES, n=2)
    ids = [find_interaction_id(reply, choice.index) for choice in reply.choices]
    assert len(set(ids)) == 2
    assert sorted(recorded_ids(gateway)[-2:]) == sorted(ids)


def test_calls_of_tools_are_those_of_the_library(gateway: LightGateway, client: OpenAI):
    with play(answer(tool_calls=[{"id": "c1"} | FIND])) as server:
        gateway.route_to(server.url)
        reply = client.chat.completions.create(model="heliotrope", messages=MESSAGES, tools=TOOLS)
    [called] = reply.choices[0].message.tool_calls or []
    assert isinstance(called, ChatCompletionMessageFunctionToolCall)
    assert (called.id, called.function.name) == ("c1", "find_order")
    pieces = [call(piece("find_order", index=0, id="c1", type="function")), call(piece(None, '{"id": 7}', index=0))]
    with play(stream(*pieces, CALLED, DONE)) as server:
        gateway.route_to(server.url)
        with client.chat.completions.stream(model="heliotrope", messages=MESSAGES, tools=TOOLS) as came:
            final = came.get_final_completion()
    [streamed] = final.choices[0].message.tool_calls or []
    assert (streamed.function.name, streamed.function.arguments) == ("find_order", '{"id": 7}')
    assert find_interaction_id(final) == recorded_ids(gateway)[-1]


def test_structured_output_is_parsed_by_the_library(gateway: LightGateway, client: OpenAI):
    with play(answer(content='{"number": 7}')) as server:
        gateway.route_to(server.url)
        reply = client.chat.completions.parse(model="heliotrope", messages=MESSAGES, response_format=Order)
    assert reply.choices[0].message.parsed == Order(number=7)
    assert find_interaction_id(reply) == recorded_ids(gateway)[-1]


def test_raw_replies_are_connected_when_they_are_parsed(gateway: LightGateway, client: OpenAI):
    with play(answer(content="Hm.")) as server:
        gateway.route_to(server.url)
        raw = client.chat.completions.with_raw_response.create(model="heliotrope", messages=MESSAGES)
    assert find_interaction_id(raw.parse()) == raw.headers["x-heliotrope-interaction-id"]


def test_the_async_client_does_the_same(gateway: LightGateway):
    async def ask() -> tuple[str, str, str]:
        async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as plain:
            client = connect(plain)
            whole = await client.chat.completions.create(model="heliotrope", messages=MESSAGES)
            came = await client.chat.completions.create(model="heliotrope", messages=MESSAGES, stream=True)
            chunks = [chunk async for chunk in came]
            async with client.chat.completions.stream(model="heliotrope", messages=MESSAGES) as helper:
                final = await helper.get_final_completion()
        return find_interaction_id(whole), find_interaction_id(chunks[-1]), find_interaction_id(final)

    with play(answer(content="On its way."), stream(*STREAM)) as server:
        gateway.route_to(server.url)
        ids = asyncio.run(ask())
    assert tuple(recorded_ids(gateway)[-3:]) == ids


def test_answers_of_another_server_are_recorded_under_ids_that_follow_from_the_reply():
    recorded: list[Interaction] = []
    with play(answer(content="On its way."), stream(*STREAM)) as server:
        client = connect(OpenAI(base_url=server.url, api_key="k", max_retries=0), recorded.append)
        whole = client.chat.completions.create(model="gpt", messages=MESSAGES, user="ada")
        chunks = list(client.chat.completions.create(model="gpt", messages=MESSAGES, stream=True))
        client.close()
    expected = derive_interaction_id("chatcmpl-7")
    assert find_interaction_id(whole) == find_interaction_id(chunks[0]) == str(expected)
    assert [one.interaction_id for one in recorded] == [expected] * 2
    assert [(one.answer, one.messages, one.model_version) for one in recorded] == [("On its way.", MESSAGES, "m")] * 2
    assert [one.user_id for one in recorded] == ["ada", None]


def test_what_the_gateway_answered_is_not_recorded_again(gateway: LightGateway):
    recorded: list[Interaction] = []
    with play(answer(content="Hm."), stream(*STREAM)) as server:
        gateway.route_to(server.url)
        with OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as plain:
            client = connect(plain, recorded.append)
            client.chat.completions.create(model="heliotrope", messages=MESSAGES)
            list(client.chat.completions.create(model="heliotrope", messages=MESSAGES, stream=True))
    assert recorded == []


def test_an_answer_is_not_lost_because_it_cannot_be_recorded():
    def refuse(_: Interaction) -> None:
        raise QueueFull("full")

    with play(answer(content="Hm.")) as server, OpenAI(base_url=server.url, api_key="k") as plain:
        reply = connect(plain, refuse).chat.completions.create(model="gpt", messages=MESSAGES)
    assert reply.choices[0].message.content == "Hm."
