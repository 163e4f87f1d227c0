"""Spans as exporters post them: OTLP over HTTP, in protobuf or JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from services.ingest.adapters import otlp_messages
from services.ingest.adapters.otlp_messages import Attribute, Export, List, Resource, Scope, Value
from services.ingest.domain.genai_spans import Span, is_read
from shared.errors import HeliotropeError, MalformedBody, TooLarge
from shared.json_depth import check_depth

PROTOBUF, JSON = "application/x-protobuf", "application/json"
DEEPEST = 16
MOST_SPANS = 5_000
"""In one export; exporters send 512 by default."""
MOST_VALUES = 50_000
"""Attributes of one export, resources, scopes, and what lies in lists of attributes that are read."""


class UnsupportedType(HeliotropeError):
    status = 415
    title = "Unsupported content type"


class _Value(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    bool_value: bool | None = None
    array_value: "_Array | None" = None
    kvlist_value: "_List | None" = None


class _Pair(msgspec.Struct):
    key: str
    value: _Value | None = None


class _Array(msgspec.Struct):
    values: list[_Value] = []


class _List(msgspec.Struct):
    values: list[_Pair] = []


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str
    span_id: str
    end_time_unix_nano: int | str = 0
    attributes: list[_Pair] = []


class _Scope(msgspec.Struct):
    spans: list[_Span] = []


class _Resource(msgspec.Struct, rename="camel"):
    scope_spans: list[_Scope] = []


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_Resource] = []


_decode = msgspec.json.Decoder(_Request).decode


def find_type(content_type: str) -> str:
    """Return which of the two a body is. Raises: UnsupportedType."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (PROTOBUF, JSON):
        raise UnsupportedType(f"spans come as {PROTOBUF} or {JSON}")
    return kind


@dataclass
class Budget:
    """How many spans and values an export may still hold."""

    spans: int = MOST_SPANS
    values: int = MOST_VALUES

    def take_spans(self, count: int) -> None:
        """Raises: TooLarge."""
        self.spans -= count
        if self.spans < 0:
            raise TooLarge(f"an export holds at most {MOST_SPANS} spans")

    def take_values(self, count: int) -> None:
        """Raises: TooLarge."""
        self.values -= count
        if self.values < 0:
            raise TooLarge(f"an export holds at most {MOST_VALUES} attributes and values in them")


def read_spans(body: bytes, kind: str) -> list[Span]:
    """Read the spans of an export, with those of their attributes that say something of a model's answer.

    Raises: MalformedBody, TooLarge.
    """
    return list(_read_protobuf(body, Budget()) if kind == PROTOBUF else _read_json(body, Budget()))


def _read_json(body: bytes, budget: Budget) -> Iterator[Span]:
    check_depth(body)
    try:
        request = _decode(body)
        spans = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
        budget.take_spans(len(spans))
        for span in spans:
            budget.take_values(len(span.attributes))
            said = {pair.key: _read_value(pair.value, budget) for pair in span.attributes if is_read(pair.key)}
            yield Span(span.trace_id.lower(), span.span_id.lower(), int(span.end_time_unix_nano), said)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        raise MalformedBody("the body is no OTLP export of traces in JSON") from None


def _read_value(value: _Value | None, budget: Budget) -> Any:
    if value is None:
        return None
    if value.array_value is not None:
        budget.take_values(len(value.array_value.values))
        return [_read_value(one, budget) for one in value.array_value.values]
    if value.kvlist_value is not None:
        budget.take_values(len(value.kvlist_value.values))
        return {pair.key: _read_value(pair.value, budget) for pair in value.kvlist_value.values}
    said = (value.string_value, value.int_value, value.double_value, value.bool_value)
    return next((one for one in said if one is not None), None)


def _read_protobuf(body: bytes, budget: Budget) -> Iterator[Span]:
    try:
        for resource in _take(Export.FromString(body).resource_spans, budget):
            for scope in _take(Resource.FromString(resource).scope_spans, budget):
                spans = Scope.FromString(scope).spans
                budget.take_spans(len(spans))
                yield from (_read_span(span, budget) for span in spans)
    except DecodeError:
        raise MalformedBody("the body is no OTLP export of traces in protobuf") from None


def _take(parts: Sequence[bytes], budget: Budget) -> Sequence[bytes]:
    budget.take_values(len(parts))
    return parts


def _read_span(content: bytes, budget: Budget) -> Span:
    span = otlp_messages.Span.FromString(content)
    return Span(
        span.trace_id.hex(), span.span_id.hex(), span.end_time_unix_nano, _read_attributes(span.attributes, budget)
    )


def _read_attributes(listed: Sequence[bytes], budget: Budget, depth: int = 0) -> dict[str, Any]:
    pairs = (Attribute.FromString(pair) for pair in _take(listed, budget))
    return {pair.key: _read_any(pair.value, budget, depth) for pair in pairs if depth or is_read(pair.key)}


def _read_any(content: bytes, budget: Budget, depth: int) -> Any:
    value = Value.FromString(content)
    kind = value.WhichOneof("value")
    if kind in (None, "bytes_value") or depth > DEEPEST:
        return None
    if kind == "array_value":
        listed = List.FromString(value.array_value).values
        return [_read_any(one, budget, depth + 1) for one in _take(listed, budget)]
    if kind == "kvlist_value":
        return _read_attributes(List.FromString(value.kvlist_value).values, budget, depth + 1)
    return getattr(value, kind)


def write_response(kind: str, rejected: int, why: str) -> bytes:
    """Write the answer to an export: how many of its spans will never be taken, and why."""
    if kind == JSON:
        partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": why}} if rejected else {}
        return msgspec.json.encode(partial)
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.CopyFrom(ExportTracePartialSuccess(rejected_spans=rejected, error_message=why))
    written: bytes = response.SerializeToString()
    return written
