"""Spans from whoever has a key: exports in protobuf and JSON, packed and not, with poison in every part of them."""

import gzip
import json
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import ParseDict, ParseError
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.hostile.fuzzing import damaged, damaged_bytes, fuzz
from tests.hostile.test_servers import Memory, client, make_check
from tests.integration.edge.conftest import Edge, edge

__all__ = ["client", "edge"]

pytestmark = pytest.mark.hostile

PROTOBUF, JSON = "application/x-protobuf", "application/json"
ASKED = [
    {"role": "user", "parts": [{"type": "text", "content": "Where is my order?"}]},
    {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "find", "arguments": {"id": 7}}]},
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": {"state": "sent"}}]},
]
SAID = [{"role": "assistant", "parts": [{"type": "text", "content": "On its way."}], "finish_reason": "stop"}]
ATTRIBUTES = {
    "gen_ai.operation.name": "chat",
    "gen_ai.response.model": "gpt-2026",
    "gen_ai.conversation.id": "c-1042",
    "user.id": "ada",
    "gen_ai.completion.0.content": "On its way.",
    "gen_ai.prompt.0.content": "Where is my order?",
}


def make_export(asked: Any, said: Any) -> dict[str, Any]:
    """An export of one span of a model call, as OTLP's JSON."""
    texts = ATTRIBUTES | {"gen_ai.input.messages": json.dumps(asked), "gen_ai.output.messages": json.dumps(said)}
    attributes = [{"key": name, "value": {"stringValue": text}} for name, text in texts.items()]
    attributes.append({"key": "list", "value": {"arrayValue": {"values": [{"intValue": "7"}, {"doubleValue": 0.5}]}}})
    attributes.append(
        {"key": "map", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"boolValue": True}}]}}}
    )
    ids = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}
    span = ids | {"name": "chat", "endTimeUnixNano": "1790000000000000000", "attributes": attributes}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def write_protobuf(export: Any) -> bytes:
    """What a damaged export is in protobuf; nothing where it has no such form."""
    try:
        written: bytes = ParseDict(export, ExportTraceServiceRequest(), ignore_unknown_fields=True).SerializeToString()
        return written
    except (ParseError, TypeError, ValueError, AttributeError, RecursionError):
        return b""


@st.composite
def draw_export(draw: st.DrawFn) -> tuple[bytes, str, bool]:
    """Bytes, their type, and whether they are packed."""
    inner = draw(st.booleans())
    asked = draw(damaged(ASKED)) if inner else ASKED
    said = draw(damaged(SAID)) if inner and draw(st.booleans()) else SAID
    export, kind, packed = make_export(asked, said), draw(st.sampled_from((PROTOBUF, JSON))), draw(st.booleans())
    if kind == JSON:
        return draw(damaged_bytes(export)), kind, packed
    content = write_protobuf(draw(damaged(export)) if draw(st.booleans()) else export)
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(content)))
        content = content[:cut] + draw(st.binary(max_size=12)) + content[cut + draw(st.integers(0, 3)) :]
    return content * draw(st.sampled_from((1, 1, 1, 300))), kind, packed


def test_an_export_of_spans_is_taken_or_refused(edge: Edge, client: httpx.Client):
    memory, check = Memory("ingest", edge.stack.layout.home), make_check(client, f"{edge.ingest}/v1/traces", {200})

    def post(sent: tuple[bytes, str, bool]) -> None:
        content, kind, packed = sent
        body, encoding = (gzip.compress(content, 1), "gzip") if packed else (content, "identity")
        check(body, content_type=kind, content_encoding=encoding)

    assert fuzz(draw_export(), post)
    memory.check()
    whole = write_protobuf(make_export(ASKED, SAID))
    headers = {"content-type": PROTOBUF}
    assert client.post(f"{edge.ingest}/v1/traces", content=whole, headers=headers).status_code == 200


@pytest.mark.parametrize("spans", [4_999, 200_000], ids=["as many as may be", "forty times as many"])
def test_empty_spans_cost_little_and_more_than_may_be_are_refused(edge: Edge, client: httpx.Client, spans: int):
    content = gzip.compress(bytes([10, 4, 18, 2, 18, 0]) * spans)
    check = make_check(client, f"{edge.ingest}/v1/traces", {200})
    check(content, content_type=PROTOBUF, content_encoding="gzip")
