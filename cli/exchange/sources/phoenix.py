"""Arize Phoenix: spans and annotations, from the API, the UI's JSON lines, and data frames in Parquet."""

from collections.abc import Mapping
from typing import Any

from cli.exchange.calls import COLUMNS, read_question, read_reply
from cli.exchange.feedback import collect_feedback, collect_said
from cli.exchange.found import Found, Options, Refused
from cli.exchange.ports import Importer, Record, name_read
from cli.exchange.scales import derive_comment, derive_feedback
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    dig,
    list_objects,
    parse_json,
    read_messages,
    read_name,
    read_time,
)
from shared.events import AnyFeedback, Message

ANSWERING = ("CHAIN", "AGENT", "UNKNOWN")
"""Kinds of spans beside LLM whose input and output are the user's question and the answer, if they are outermost."""
DEEPEST = 12
"""Parts of an attribute's name that are nested; what lies deeper is left as it is."""


def read(record: Record, options: Options) -> Found:
    """Read a span (with its annotations, if they are in it) or an annotation; those by LLMs and code are refused."""
    if "annotator_kind" in record or "result" in record:
        return collect_feedback([record], lambda one: _read_annotation(one, options, None))
    span = read_name(_find(record, "context", "span_id") or record.get("span_id"))
    if span is None:
        raise Refused("no_id", "a span without a span_id")
    kind = str(record.get("span_kind") or record.get("openinference.span.kind") or "LLM").upper()
    outermost = read_name(record.get("parent_id")) is None
    if kind != "LLM" and not (kind in ANSWERING and outermost):
        raise Refused("inner_span", f"a span of kind {kind} is no answer to a user")
    attributes = _read_attributes(record)
    failed = str(record.get("status_code", "")).upper() == "ERROR"
    answer = build_answer(
        span,
        _read_side(attributes, "input") or read_question(_find(attributes, "input", "value"), options),
        read_reply(_read_side(attributes, "output") or _find(attributes, "output", "value"), options),
        user=read_name(_find(attributes, "user", "id")),
        conversation=read_name(_find(attributes, "session", "id")),
        at=read_time(record.get("start_time")),
        model=read_name(_find(attributes, "llm", "model_name")),
        error=str(record.get("status_message") or "failed") if failed else None,
    )
    annotations = list_objects(record.get("annotations") or record.get("span_annotations"))
    found = collect_feedback(annotations, lambda one: _read_annotation(one, options, span))
    return Found([answer], found.feedback, found.refused)


def _read_attributes(record: Record) -> dict[str, Any]:
    """Read the attributes nested, whether their names are dotted, nested, or half of each; or OTLP's list of them."""
    attributes = parse_json(record.get("attributes"))
    if isinstance(attributes, list):
        attributes = {str(one.get("key")): _read_typed(one.get("value")) for one in list_objects(attributes)}
    if not isinstance(attributes, Mapping):
        prefix = "attributes."
        attributes = {name.removeprefix(prefix): value for name, value in record.items() if name.startswith(prefix)}
    nested: Any = _nest(attributes)
    return nested if isinstance(nested, dict) else {}


def _read_typed(value: Any) -> Any:
    """Read a value of OTLP, which stands under its type's name."""
    return next(iter(value.values()), None) if isinstance(value, Mapping) else value


def _nest(value: Any) -> Any:
    """Nest members whose names are written with dots; those that are numbers make a list."""
    if isinstance(value, list):
        return [_nest(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    nested: dict[str, Any] = {}
    for name, one in value.items():
        *path, last = str(name).split(".", DEEPEST)
        place = nested
        for part in path:
            inner = place.setdefault(part, {})
            place = inner if isinstance(inner, dict) else {}
        held, new = place.get(last), _nest(parse_json(one) if last not in ("content", "text", "arguments") else one)
        place[last] = {**held, **new} if isinstance(held, dict) and isinstance(new, dict) else new
    return _list_numbered(nested)


def _list_numbered(nested: dict[str, Any]) -> Any:
    inner = {name: _list_numbered(one) if isinstance(one, dict) else one for name, one in nested.items()}
    if inner and all(name.isdecimal() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner


def _find(value: Any, *path: str) -> Any:
    """Find what stands at a path, or under its dotted name."""
    found = dig(value, *path)
    return found if found is not None else dig(value, ".".join(path))


def _read_side(attributes: Mapping[str, Any], side: str) -> list[Message]:
    """Read the messages of a side; none if the span has only its value."""
    listed = dig(attributes, "llm", f"{side}_messages")
    named = list_objects(listed)
    return read_messages([_read_message(dig(one, "message") or one) for one in named]) if named else []


def _read_message(message: Any) -> Any:
    """Read a message in OpenAI's shape: its texts are `contents` where there are several, its calls have a shape of
    their own.
    """
    if not isinstance(message, Mapping):
        return message
    said = {name: message[name] for name in ("role", "content", "tool_call_id", "name") if message.get(name)}
    if contents := list_objects(message.get("contents")):
        parts = [dig(one, "message_content") or one for one in contents]
        said["content"] = [{"type": dig(part, "type") or "text", **dict(part)} for part in parts]
    if calls := list_objects(message.get("tool_calls")):
        said["tool_calls"] = [_read_call(dig(one, "tool_call") or one) for one in calls]
        said.setdefault("content", "")
    return said


def _read_call(call: Any) -> dict[str, Any]:
    function = {name: dig(call, "function", name) for name in ("name", "arguments")}
    return {"id": dig(call, "id"), "type": "function", "function": function}


def _read_annotation(one: Record, options: Options, span: str | None) -> Found:
    name, kind = str(one.get("name") or one.get("annotation_name")), str(one.get("annotator_kind") or "").upper()
    if kind != "HUMAN":
        raise Refused("machine_score", f"{name} was given by {kind or 'nobody who is named'}, not by a person", name)
    about = read_name(one.get("span_id")) or span
    if about is None:
        raise Refused("no_answer_named", f"{name} is about a trace or session: about which answer is not said", name)
    key = read_name(one.get("id")) or calculate_key(one)
    label, score, text = (
        next((found for place in (("result", part), (part,)) if (found := _find(one, *place)) is not None), None)
        for part in ("label", "score", "explanation")
    )
    reads = [lambda: _read_result(name, label, score, options), lambda: derive_comment(text)]
    user, at = read_name(one.get("user_id")), read_time(one.get("updated_at") or one.get("created_at"))
    return collect_said(key, about, reads, user, at)


def _read_result(name: str, label: Any, score: Any, options: Options) -> AnyFeedback | None:
    """The label, if it is a vote; else the score. An annotation may be a note alone."""
    if label is None and score is None:
        return None
    try:
        return derive_feedback(name, label if label is not None else score, options.scales)
    except Refused:
        if label is None or score is None:
            raise
        return derive_feedback(name, score, options.scales)


READ = (
    "annotations", "span_annotations", "annotation_name", "annotator_kind", "label", "score", "explanation",
)  # fmt: skip
IMPORTER = Importer(
    "Arize Phoenix: spans, annotations",
    read,
    ("data", "spans", "annotations"),
    columns=COLUMNS,
    reads=name_read(*READ),
)
