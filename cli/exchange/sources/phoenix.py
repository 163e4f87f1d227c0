"""Arize Phoenix: spans and annotations, from the API, the UI's JSON lines, and data frames in Parquet."""

import re
from collections.abc import Mapping
from typing import Any

from cli.exchange.found import Found, ImportedFeedback, Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.scales import derive_comment, derive_feedback
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    dig,
    parse_json,
    read_answer,
    read_messages,
    read_name,
    read_time,
)
from shared.events import AnyFeedback, Message

NUMBERED = re.compile(r"(\d+)\.message\.(role|content)")
ANSWERING = ("CHAIN", "AGENT")
"""Kinds of spans beside LLM whose input and output are the user's question and the answer, if they are outermost."""


def read(record: Record, options: Options) -> Found:
    """Read a span (with its annotations, if they are in it) or an annotation; those by LLMs and code are refused."""
    if "annotator_kind" in record or "result" in record:
        return _read_annotations([record], options, None)
    context = record.get("context")
    span = read_name(dig(context, "span_id") or record.get("context.span_id") or record.get("span_id"))
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
        _read_side(attributes, "input") or read_messages(_find(attributes, "input.value")),
        read_answer(_read_side(attributes, "output") or _find(attributes, "output.value")),
        user=read_name(_find(attributes, "user.id")),
        conversation=read_name(_find(attributes, "session.id")),
        at=read_time(record.get("start_time")),
        model=read_name(_find(attributes, "llm.model_name")),
        error=str(record.get("status_message") or "failed") if failed else None,
    )
    annotations = parse_json(record.get("annotations") or record.get("span_annotations") or [])
    found = _read_annotations([one for one in annotations if isinstance(one, Mapping)], options, span)
    return Found([answer], found.feedback, found.refused)


def _read_attributes(record: Record) -> dict[str, Any]:
    attributes = parse_json(record.get("attributes"))
    if isinstance(attributes, Mapping):
        return dict(attributes)
    prefix = "attributes."
    return {name.removeprefix(prefix): value for name, value in record.items() if name.startswith(prefix)}


def _find(attributes: Mapping[str, Any], path: str) -> Any:
    """Find an attribute whose name is written with dots, nested, or half of each."""
    if path in attributes:
        return parse_json(attributes[path])
    head, _, rest = path.partition(".")
    while rest:
        if isinstance(inner := parse_json(attributes.get(head)), Mapping) and (found := _find(inner, rest)) is not None:
            return found
        more, _, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None


def _read_side(attributes: Mapping[str, Any], side: str) -> list[Message]:
    """Read the messages of a side; none if the span has only its value."""
    listed = _find(attributes, f"llm.{side}_messages")
    if isinstance(listed, list):
        return read_messages([_unfold(one) for one in listed]) if listed else []
    numbered: dict[int, Message] = {}
    prefix = f"llm.{side}_messages."
    for name, value in attributes.items():
        if name.startswith(prefix) and (part := NUMBERED.fullmatch(name.removeprefix(prefix))):
            numbered.setdefault(int(part[1]), {})[part[2]] = value
    return read_messages([numbered[place] for place in sorted(numbered)]) if numbered else []


def _unfold(message: object) -> object:
    if not isinstance(message, Mapping) or "message" in message:
        return dig(message, "message") or message
    return {name.removeprefix("message."): value for name, value in message.items() if value is not None}


def _read_annotations(annotations: list[Record], options: Options, span: str | None) -> Found:
    found = Found()
    for one in annotations:
        try:
            found.feedback.extend(_read_annotation(one, options, span))
        except Refused as refused:
            found.refused.append(refused)
    return found


def _read_annotation(one: Record, options: Options, span: str | None) -> list[ImportedFeedback]:
    name, kind = str(one.get("name") or one.get("annotation_name")), str(one.get("annotator_kind") or "").upper()
    if kind != "HUMAN":
        raise Refused("machine_score", f"{name} was given by {kind or 'nobody who is named'}, not by a person")
    about = read_name(one.get("span_id")) or span
    if about is None:
        raise Refused("no_answer_named", f"{name} is about a trace or session: about which answer is not said")
    key = read_name(one.get("id")) or calculate_key(one)
    result = one.get("result") or one
    says = [*_read_result(name, result, options), derive_comment(dig(result, "explanation"))]
    user, at = read_name(one.get("user_id")), read_time(one.get("updated_at") or one.get("created_at"))
    named = [(f"{key}:{place}", said) for place, said in enumerate(says) if said is not None]
    return [ImportedFeedback(place, about, said, user, at) for place, said in named]


def _read_result(name: str, result: Any, options: Options) -> list[AnyFeedback]:
    """The label, if it is a vote; else the score. An annotation may be a note alone."""
    label, score = dig(result, "label"), dig(result, "score")
    if label is None and score is None:
        return []
    try:
        return [derive_feedback(name, label if label is not None else score, options.scales)]
    except Refused:
        if label is None or score is None:
            raise
        return [derive_feedback(name, score, options.scales)]


IMPORTER = Importer("Arize Phoenix: spans, annotations", read, ("data", "spans", "annotations"))
