"""OTLP's messages with what they hold left as bytes: nothing in an export is parsed before it is counted.

An empty span takes two bytes of a body and a hundred of memory, packed a thousandth of one: OpenTelemetry's own classes
parse 8 MiB of them for seconds.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "heliotrope.otlp"

_MESSAGES: dict[str, dict[str, tuple[int, int, bool]]] = {
    "Export": {"resource_spans": (1, _FIELD.TYPE_BYTES, True)},
    "Resource": {"scope_spans": (2, _FIELD.TYPE_BYTES, True)},
    "Scope": {"spans": (2, _FIELD.TYPE_BYTES, True)},
    "Span": {
        "trace_id": (1, _FIELD.TYPE_BYTES, False),
        "span_id": (2, _FIELD.TYPE_BYTES, False),
        "end_time_unix_nano": (8, _FIELD.TYPE_FIXED64, False),
        "attributes": (9, _FIELD.TYPE_BYTES, True),
    },
    "Attribute": {"key": (1, _FIELD.TYPE_STRING, False), "value": (2, _FIELD.TYPE_BYTES, False)},
    "List": {"values": (1, _FIELD.TYPE_BYTES, True)},
}
"""Of `trace_service.proto`, `trace.proto` and `common.proto`: name -> field -> (number, type, whether repeated).

`List` is an array or a list of attributes."""
_ONE_OF: dict[str, tuple[int, int]] = {
    "string_value": (1, _FIELD.TYPE_STRING),
    "bool_value": (2, _FIELD.TYPE_BOOL),
    "int_value": (3, _FIELD.TYPE_INT64),
    "double_value": (4, _FIELD.TYPE_DOUBLE),
    "array_value": (5, _FIELD.TYPE_BYTES),
    "kvlist_value": (6, _FIELD.TYPE_BYTES),
    "bytes_value": (7, _FIELD.TYPE_BYTES),
}
"""Of `AnyValue`."""


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="heliotrope/otlp.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, is_repeated) in fields.items():
            label = _FIELD.LABEL_REPEATED if is_repeated else _FIELD.LABEL_OPTIONAL
            message.field.add(name=field, number=number, type=kind, label=label)
    value = file.message_type.add(name="Value")
    value.oneof_decl.add(name="value")
    for field, (number, kind) in _ONE_OF.items():
        value.field.add(name=field, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL, oneof_index=0)
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(_describe().SerializeToString())


def _find(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


Export, Resource, Scope, Span = _find("Export"), _find("Resource"), _find("Scope"), _find("Span")
Attribute, List, Value = _find("Attribute"), _find("List"), _find("Value")
