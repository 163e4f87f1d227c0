"""Model servers speak OpenAI's protocol in dialects: what each says is recorded as it was meant."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.bus import decode
from tests.integration.gateway.dialects import CALLED, COMPLETIONS, DONE, STOP, STREAMS, call, piece, say
from tests.integration.gateway.scripted import LightGateway, make_events, make_reply, open_gateway, play, read_stream


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightGateway]:
    with open_gateway(tmp_path_factory.mktemp("gateway"), breaker_failures=1_000) as gateway:
        yield gateway


def last_event(gateway: LightGateway) -> Any:
    """The newest interaction in the spool, which this module's tests fill together."""
    return decode(gateway.spool.read(1_000)[-1][1])


@pytest.mark.parametrize("dialect", STREAMS)
def test_a_stream_is_recorded_as_it_was_meant(gateway: LightGateway, dialect: str):
    data, expected = STREAMS[dialect]
    comments = ["OPENROUTER PROCESSING"] if dialect.startswith("OpenRouter") else []
    with play(make_reply(make_events(*data, comments=comments))) as server:
        gateway.route_to(server.url)
        reply = gateway.post(stream=True)
    assert reply.status_code == 200
    event = last_event(gateway)
    assert {name: getattr(event, name) for name in expected} == expected
    events = read_stream(reply)
    failed = [chunk for chunk in events[:-1] if chunk.get("error")]
    assert (bool(failed), events[-1]) == (event.error is not None, DONE)


def test_llama_cpp_tells_errors_in_a_field_of_their_own(gateway: LightGateway):
    body = make_events(say(content="Which ")) + b'error: {"code": 500, "message": "out of memory"}\n\n'
    with play(make_reply(body)) as server:
        gateway.route_to(server.url)
        reply = gateway.post(stream=True)
    assert "out of memory" in reply.text
    assert last_event(gateway).error == "error_in_answer"


def test_a_client_too_gets_characters_whole(gateway: LightGateway):
    written = json.dumps(call(piece(None, "<half>", index=0)))
    halves = [written.replace("<half>", half) for half in (r"\ud83d", r"\ude00\"}", r"\ud83d")]
    data = [call(piece("find_order", '{"id": "', index=0, id="c1")), *halves, CALLED, DONE]
    with play(make_reply(make_events(*data))) as server:
        gateway.route_to(server.url)
        chunks = read_stream(gateway.post(stream=True))[:-1]
    pieces = [
        made["function"]["arguments"]
        for chunk in chunks
        for choice in chunk["choices"]
        for made in choice["delta"].get("tool_calls", ())
    ]
    assert "".join(pieces) == '{"id": "\N{GRINNING FACE}"}\ufffd'


@pytest.mark.parametrize("line_end", [b"\r", b"\r\n", b"\n"])
def test_lines_end_as_server_sent_events_may_end_them(gateway: LightGateway, line_end: bytes):
    body = b"\xef\xbb\xbf" + make_events(say(content="Which one?"), STOP, DONE).replace(b"\n", line_end)
    with play(make_reply(body)) as server:
        gateway.route_to(server.url)
        gateway.post(stream=True)
    event = last_event(gateway)
    assert (event.answer, event.error) == ("Which one?", None)


def test_an_event_named_error_is_one(gateway: LightGateway):
    body = make_events(say(content="Which ")) + b'event: error\ndata: {"message": "out of memory"}\n\n'
    with play(make_reply(body)) as server:
        gateway.route_to(server.url)
        assert "out of memory" in gateway.post(stream=True).text
    assert last_event(gateway).error == "error_in_answer"


def test_a_server_that_does_not_stream_is_streamed_for(gateway: LightGateway):
    message = {"role": "assistant", "content": "Which one?"}
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
    with play(make_reply(body, "application/json")) as server:
        gateway.route_to(server.url)
        [chunk, done] = read_stream(gateway.post(stream=True))
    assert (chunk["choices"][0]["delta"], done) == (message, DONE)
    assert last_event(gateway).answer == "Which one?"


@pytest.mark.parametrize("dialect", COMPLETIONS)
def test_a_whole_answer_is_recorded_as_it_was_meant(gateway: LightGateway, dialect: str):
    body, status, expected = COMPLETIONS[dialect]
    content = body if isinstance(body, str) else json.dumps(body)
    with play(make_reply(content.encode(), "application/json")) as server:
        gateway.route_to(server.url)
        reply = gateway.post()
    assert reply.status_code == status, reply.text
    event = last_event(gateway)
    assert {name: getattr(event, name) for name in expected} == expected
    assert ("error" in reply.json() and reply.json()["error"] is not None) == (status != 200)
