"""What walks what strangers send costs no more than its size: deep, wide, in many pieces, with long names."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from cli.exchange.apis.pages import NoPage, read_page
from cli.exchange.unread import find_unread
from services.gateway.domain.completions import Answer
from services.gateway.domain.errors import InvalidChatRequest
from services.gateway.domain.requests import read_request
from services.ingest.adapters.otlp import JSON, read_spans
from services.ingest.domain.genai_spans import Span, derive_body
from services.ingest.domain.validation import assess_characters, assess_messages, decode_feedback, decode_interaction
from shared.answers import strip_reasoning
from shared.conversation import calculate_prompt_hash, canonicalize, explain_unrenderable
from shared.errors import HeliotropeError
from shared.recording import hash_attachments
from shared.served_messages import derive_served_messages
from tests.unit.linear import is_linear

Given = dict[str, Any]
FEEDBACK = {"type": "comment", "interaction_id": "0193aaaa-0000-7000-8000-000000000001", "text": "x"}
REFUSALS = (HeliotropeError, NoPage, InvalidChatRequest)


def record_tool_calls(pieces: list[Given]) -> None:
    answer = Answer()
    for piece in pieces:
        answer.add_chunk({"choices": [{"delta": {"tool_calls": [piece]}}]})
    assert answer.tool_calls


def read_conversation(messages: list[Given]) -> None:
    hash_attachments(messages)
    canonical = canonicalize(messages)
    calculate_prompt_hash(canonical)
    explain_unrenderable(canonical)
    derive_served_messages(messages)


def validate_feedback(metadata: Given) -> None:
    decode_feedback(json.dumps(FEEDBACK | {"metadata": metadata}).encode())
    assess_characters(metadata)


def validate_interaction(messages: list[Any]) -> None:
    assess_messages([message for message in messages if isinstance(message, dict)])
    decode_interaction(json.dumps({"messages": messages, "answer": "", "model_version": "1"}).encode())


def read_export(spans: list[Given]) -> None:
    body = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    for span in read_spans(json.dumps(body).encode(), JSON):
        derive_body(span)


def read_span(messages: list[Given]) -> None:
    said = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": json.dumps(messages)}
    derive_body(Span("a" * 32, "b" * 16, 1, said | {"gen_ai.output.messages": '[{"content": "x"}]'}))


def name_unread(record: Given) -> None:
    for _ in find_unread(record, lambda *_: False):
        pass


def read_chat(messages: list[Given]) -> None:
    read_request({"model": "heliotrope", "messages": messages}, None)


def called(number: int, **function: str) -> Given:
    return {"index": number, "id": f"c{number}", "function": {"name": "find"} | function}


def say(content: Any, **more: Any) -> Given:
    return {"role": "user", "content": content} | more


CASES: dict[str, tuple[Callable[[Any], object], Callable[[int], Any], int]] = {
    "calls with ids of their own": (record_tool_calls, lambda n: [called(i, arguments="{}") for i in range(n)], 4_000),
    "a call whose brackets close again and again": (
        record_tool_calls,
        lambda n: [called(0, arguments="{}" if i else '{"a": "') for i in range(n)],
        8_000,
    ),
    "a whole call that is named again": (
        record_tool_calls,
        lambda n: [called(0, arguments=" " if i else "{" + '"a":1,' * n + '"b":2}') | {"id": ""} for i in range(n)],
        8_000,
    ),
    "a call in pieces after its end": (
        record_tool_calls,
        lambda n: [called(0, arguments="{}" if i == 0 else "}") for i in range(n)],
        8_000,
    ),
    "a name in pieces": (record_tool_calls, lambda n: [called(0) | {"function": {"name": "f"}}] * n, 8_000),
    "thoughts": (strip_reasoning, lambda n: "<think></think>" * n, 40_000),
    "thoughts without an end": (strip_reasoning, lambda n: "<think>" * n, 40_000),
    "messages": (read_conversation, lambda n: [say("Hi")] * n, 4_000),
    "parts": (read_conversation, lambda n: [say([{"type": "text", "text": "Hi"}] * n)], 8_000),
    "images": (
        read_conversation,
        lambda n: [say([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * 80}"}}] * n)],
        4_000,
    ),
    "calls and results in a history": (
        read_conversation,
        lambda n: [
            {"role": "assistant", "content": None, "tool_calls": [called(i, arguments="{}") for i in range(n)]},
            *[{"role": "tool", "tool_call_id": f"c{i}", "content": "x"} for i in range(n)],
        ],
        2_000,
    ),
    "parts of a request": (read_chat, lambda n: [say([{"type": "text", "text": ""}] * n)], 20_000),
    "zeros under a long name": (validate_feedback, lambda n: {"k" * n: ["\0"] * n}, 8_000),
    "nothing under a long name": (validate_feedback, lambda n: {"a": "\0", "k" * n: [0] * n}, 20_000),
    "many long names": (validate_feedback, lambda n: {f"{i}" * 50: {"k" * 500: [0] * 10} for i in range(n)}, 2_000),
    "messages without roles": (validate_interaction, lambda n: [{}] * n, 40_000),
    "messages that are none": (validate_interaction, lambda n: [[]] * n, 40_000),
    "empty spans": (read_export, lambda n: [{"traceId": "a", "spanId": "b"}] * n, 4_000),
    "attributes of a span": (
        read_export,
        lambda n: [{"traceId": "a", "spanId": "b", "attributes": [{"key": f"k{i}"} for i in range(n)]}],
        20_000,
    ),
    "parts of a span's message": (read_span, lambda n: [{"parts": [{"type": "text", "content": "x"}] * n}], 8_000),
    "lists under a long name": (name_unread, lambda n: {"k" * n: [[]] * n}, 20_000),
    "scores under a long name": (name_unread, lambda n: {"k" * n: [{"score": 1}] * n}, 20_000),
    "lists in lists": (name_unread, lambda n: {"a": [[[[[{"score": 1}] * 10]]]] * n}, 4_000),
    "records of a page": (read_page, lambda n: b'{"data": [' + b'{"a": "b"},' * n + b"1]}", 20_000),
    "strings before a page": (read_page, lambda n: b'{"a": [' + b'"data",' * n + b'1], "data": []}', 20_000),
}


@pytest.mark.parametrize("name", CASES)
def test_the_cost_grows_with_what_was_sent_and_not_faster(name: str):
    function, make, size = CASES[name]

    def run(given: Any) -> None:
        with suppress(*REFUSALS):
            function(given)

    assert is_linear(run, make(size // 4), make(size))
