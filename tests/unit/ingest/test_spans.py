"""Spans of model calls as interactions: what OpenTelemetry's own SDK encodes, posted to ingest over a bus in memory."""

import gzip
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.ingest.adapters.otlp import MOST_SPANS
from services.ingest.domain.genai_spans import derive_interaction_id
from shared.bus import decode
from shared.events import InteractionRecorded
from shared.ids import calculate_user_hash
from shared.rate_limits import RateLimit
from tests.unit.ingest.app import HASH_SECRET
from tests.unit.ingest.test_routes import NOW, Edge

PROTOBUF, JSON = "application/x-protobuf", "application/json"
PACKED = {"content-type": PROTOBUF, "content-encoding": "gzip"}
END = int(NOW.timestamp() * 1e9)
ASKED = [
    {"role": "user", "parts": [{"type": "text", "content": "Where is my order?"}]},
    {
        "role": "assistant",
        "parts": [{"type": "tool_call", "id": "c1", "name": "find_order", "arguments": {"id": 7}}],
    },
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": {"state": "sent"}}]},
]
SAID = [{"role": "assistant", "parts": [{"type": "text", "content": "On its way."}], "finish_reason": "stop"}]
CHAT: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt",
    "gen_ai.response.model": "gpt-2026",
    "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Be short."}]),
    "gen_ai.input.messages": json.dumps(ASKED),
    "gen_ai.output.messages": json.dumps(SAID),
    "gen_ai.conversation.id": "c-1042",
    "user.id": "ada",
}
NUMBERED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt",
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": "Be short.",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": "Where is my order?",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": "On its way.",
}


def make_spans(*attributes: Mapping[str, Any]) -> Sequence[ReadableSpan]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for said in attributes:
        provider.get_tracer("an app").start_span("chat gpt", attributes=said).end(END)
    return exporter.get_finished_spans()


def export(edge: Edge, spans: Sequence[ReadableSpan], **changes: Any) -> Any:
    body, headers = encode_spans(spans).SerializeToString(), {"content-type": PROTOBUF}
    if changes.pop("zipped", False):
        body, headers = gzip.compress(body), headers | {"content-encoding": "gzip"}
    return edge.call("POST", "/v1/traces", content=body, headers=headers, **changes)


def as_json(span: ReadableSpan) -> dict[str, Any]:
    """The span as OTLP's JSON writes it: ids in hexadecimal, long integers as texts."""
    assert span.context is not None
    said = [{"key": key, "value": {"stringValue": value}} for key, value in (span.attributes or {}).items()]
    ids = {"traceId": f"{span.context.trace_id:032x}", "spanId": f"{span.context.span_id:016x}"}
    one = {**ids, "name": span.name, "kind": 3, "endTimeUnixNano": str(span.end_time), "attributes": said}
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {"name": "an app"}, "spans": [one]}]}]}


def heard(edge: Edge) -> list[InteractionRecorded]:
    events = [decode(record) for record in edge.broker.records(InteractionRecorded.topic)]
    return [event for event in events if isinstance(event, InteractionRecorded)]


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_a_model_call_becomes_an_interaction(zipped: bool):
    edge, spans = Edge(), make_spans(CHAT)
    reply = export(edge, spans, zipped=zipped)
    assert (reply.status_code, reply.headers["content-type"], reply.content) == (200, PROTOBUF, b"")
    [event] = heard(edge)
    [span] = spans
    assert span.context is not None
    trace_id, span_id = f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"
    assert event.interaction_id == derive_interaction_id(trace_id, span_id)
    assert [message["role"] for message in event.messages] == ["system", "user", "assistant", "tool"]
    assert event.messages[2]["tool_calls"][0]["function"] == {"name": "find_order", "arguments": '{"id": 7}'}
    assert event.messages[3]["content"] == '{"state": "sent"}'
    assert (event.answer, event.model_version, event.served_at) == ("On its way.", "gpt-2026", NOW)
    assert event.user == calculate_user_hash("ada", None, HASH_SECRET)
    assert event.metadata == {"span": {"trace_id": trace_id, "span_id": span_id}}


def test_json_says_the_same_as_protobuf():
    edge, spans = Edge(), make_spans(CHAT)
    export(edge, spans)
    reply = edge.call("POST", "/v1/traces", json=as_json(spans[0]), headers={"content-type": JSON})
    assert (reply.status_code, reply.json()) == (200, {})
    one, other = heard(edge)
    assert one == other


def test_a_repetition_is_the_same_event():
    edge, spans = Edge(), make_spans(CHAT, CHAT)
    for _ in range(2):
        assert export(edge, spans).status_code == 200
    events = heard(edge)
    assert len(events) == 4
    assert len({event.interaction_id for event in events}) == 2


def test_numbered_attributes_are_read_too():
    edge = Edge()
    export(edge, make_spans(NUMBERED))
    [event] = heard(edge)
    assert [message["content"] for message in event.messages] == ["Be short.", "Where is my order?"]
    assert (event.answer, event.user) == ("On its way.", None)


def test_what_is_no_answer_with_its_content_is_passed_over():
    edge = Edge()
    silent = {name: value for name, value in CHAT.items() if name not in ("gen_ai.input.messages",)}
    other = CHAT | {"gen_ai.operation.name": "embeddings"}
    reply = export(edge, make_spans({}, silent, other, {"http.request.method": "GET"}))
    assert (reply.status_code, reply.content, heard(edge)) == (200, b"", [])


def test_one_wrong_span_costs_itself_and_is_counted():
    edge = Edge()
    wrong = CHAT | {"gen_ai.input.messages": '"no list"'}
    large = CHAT | {"gen_ai.output.messages": json.dumps([{"role": "assistant", "content": "x" * 60_000}])}
    deep = CHAT | {"gen_ai.input.messages": "[" * 5_000}
    reply = export(edge, make_spans(wrong, large, deep, CHAT))
    partial = ExportTraceServiceResponse.FromString(reply.content).partial_success
    assert (reply.status_code, partial.rejected_spans) == (200, 3)
    assert "gen_ai.input.messages" in partial.error_message
    assert len(heard(edge)) == 1


def test_an_answer_that_calls_a_tool_is_refused_since_its_text_is_not_all_of_it():
    edge = Edge()
    called = [{"role": "assistant", "parts": [*SAID[0]["parts"], *ASKED[1]["parts"]]}]
    reply = export(edge, make_spans(CHAT | {"gen_ai.output.messages": json.dumps(called)}))
    partial = ExportTraceServiceResponse.FromString(reply.content).partial_success
    assert (partial.rejected_spans, heard(edge)) == (1, [])
    assert "calls tools" in partial.error_message


def test_an_export_of_very_many_spans_is_refused_before_any_is_read():
    many = ExportTraceServiceRequest()
    spans = many.resource_spans.add().scope_spans.add().spans
    spans.extend([Span(span_id=b"12345678")] * (MOST_SPANS + 1))
    empty = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "", "spanId": ""}] * (MOST_SPANS + 1)}]}]}
    edge = Edge(max_body_bytes=10**6)
    for body, kind in ((many.SerializeToString(), PROTOBUF), (json.dumps(empty).encode(), JSON)):
        reply = edge.call("POST", "/v1/traces", content=body, headers={"content-type": kind})
        assert (reply.status_code, str(MOST_SPANS) in reply.text) == (413, True)


def nest(*tags: int, content: bytes) -> bytes:
    """Put bytes into length-delimited fields, the last tag being the innermost."""
    for tag in reversed(tags):
        size, length = len(content), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        content = bytes([tag]) + length + bytes([size]) + content
    return content


RESOURCE, SCOPE, SPAN, ATTRIBUTE, KEY, VALUE, ARRAY = 0x0A, 0x12, 0x12, 0x4A, 0x0A, 0x12, 0x2A
READ_KEY = nest(KEY, content=b"gen_ai.input.messages")


@pytest.mark.parametrize(
    "body",
    [
        bytes([RESOURCE, 0]) * 500_000,
        nest(RESOURCE, SCOPE, SPAN, content=b"") * 300_000,
        nest(RESOURCE, content=bytes([SCOPE, 0]) * 500_000),
        nest(RESOURCE, SCOPE, SPAN, content=bytes([ATTRIBUTE, 0]) * 500_000),
        nest(
            *(RESOURCE, SCOPE, SPAN, ATTRIBUTE),
            content=READ_KEY + nest(VALUE, ARRAY, content=bytes([KEY, 0]) * 500_000),
        ),
    ],
    ids=["resources", "spans, each of a resource", "scopes", "attributes", "values in an attribute"],
)
def test_what_an_export_holds_is_counted_before_it_is_parsed(body: bytes):
    """OpenTelemetry's own classes take 16 s of CPU and 500 MB for eight times as much, which is 8 KB when packed."""
    edge = Edge(max_body_bytes=4 * 2**20)
    began = time.process_time()
    reply = edge.call("POST", "/v1/traces", content=gzip.compress(body), headers=PACKED)
    assert time.process_time() - began < 2
    assert (reply.status_code, "an export holds at most" in reply.text) == (413, True)


def test_an_export_that_is_refused_is_charged_by_its_size():
    edge = Edge(rate_limit=RateLimit(1, 20), max_body_bytes=10**6)
    body = gzip.compress(bytes([RESOURCE, 0]) * 200_000)
    assert [edge.call("POST", "/v1/traces", content=body, headers=PACKED).status_code for _ in range(2)] == [413, 429]


def test_above_the_keys_rate_all_is_to_be_sent_again():
    edge = Edge(rate_limit=RateLimit(1, 1))
    reply = export(edge, make_spans(CHAT, CHAT))
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) >= 1
    assert heard(edge) == []


@pytest.mark.parametrize(
    "body, kind, status",
    [(b"\x0a\xff", PROTOBUF, 400), (b"[]", JSON, 400), (b"{" * 500, JSON, 400), (b"{}", "text/plain", 415)],
    ids=["protobuf", "list", "deep", "type"],
)
def test_what_is_no_export_is_refused(body: bytes, kind: str, status: int):
    assert Edge().call("POST", "/v1/traces", content=body, headers={"content-type": kind}).status_code == status


def test_spans_are_taken_of_front_ends_alone():
    assert export(Edge(), make_spans(CHAT), role="ops").status_code == 403
    assert export(Edge(), make_spans(CHAT), role=None).status_code == 401
