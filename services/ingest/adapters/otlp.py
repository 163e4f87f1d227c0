"""Spans as exporters post them: OTLP over HTTP, in protobuf or JSON."""

from collections.abc import Iterator
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from services.ingest.domain.genai_spans import Span
from shared.errors import HeliotropeError, MalformedBody, TooLarge
from shared.json_depth import check_depth

PROTOBUF, JSON = "application/x-protobuf", "application/json"
DEEPEST = 16
MOST_SPANS = 5_000
"""In one export; exporters send 512 by default."""


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


def read_spans(body: bytes, kind: str) -> list[Span]:
    """Read the spans of an export, with all their attributes. Raises: MalformedBody, TooLarge."""
    return list(_read_protobuf(body) if kind == PROTOBUF else _read_json(body))


def _read_json(body: bytes) -> Iterator[Span]:
    check_depth(body)
    try:
        request = _decode(body)
        spans = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
        _check_number(len(spans))
        for span in spans:
            said = {pair.key: _read_value(pair.value) for pair in span.attributes}
            yield Span(span.trace_id.lower(), span.span_id.lower(), int(span.end_time_unix_nano), said)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        raise MalformedBody("the body is no OTLP export of traces in JSON") from None


def _check_number(spans: int) -> None:
    if spans > MOST_SPANS:
        raise TooLarge(f"an export holds at most {MOST_SPANS} spans")


def _read_value(value: _Value | None) -> Any:
    if value is None:
        return None
    if value.array_value is not None:
        return [_read_value(one) for one in value.array_value.values]
    if value.kvlist_value is not None:
        return {pair.key: _read_value(pair.value) for pair in value.kvlist_value.values}
    said = (value.string_value, value.int_value, value.double_value, value.bool_value)
    return next((one for one in said if one is not None), None)


def _read_protobuf(body: bytes) -> Iterator[Span]:
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except (DecodeError, RecursionError):
        raise MalformedBody("the body is no OTLP export of traces in protobuf") from None
    _check_number(sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans))
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                said = {pair.key: _read_any(pair.value) for pair in span.attributes}
                yield Span(span.trace_id.hex(), span.span_id.hex(), span.end_time_unix_nano, said)


def _read_any(value: AnyValue, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind is None or depth > DEEPEST:
        return None
    if kind == "array_value":
        return [_read_any(one, depth + 1) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _read_any(pair.value, depth + 1) for pair in value.kvlist_value.values}
    return None if kind == "bytes_value" else getattr(value, kind)


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
