"""What a span of OpenTelemetry's conventions for generative AI says of an answer that was served.

Content is read from `gen_ai.input.messages`, `gen_ai.output.messages` and `gen_ai.system_instructions` (JSON, as
attributes), or from the numbered attributes `gen_ai.prompt.0.content` of before them. A span without content is none of
ours: instrumentations leave it out unless they are told to keep it.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec

from shared.json_depth import check_depth

NAMESPACE = UUID("0d8c1d5e-6f57-5d38-9f59-6a0f2f1f7c55")
"""Of interactions that were spans: who has the ids of the trace and the span knows the interaction's."""
OPERATIONS = ("chat", "text_completion", "generate_content")
READ = ("gen_ai.", "llm.request.type", "enduser.id", "user.id", "session.id")
"""How the names of attributes begin that say something of an answer."""
MAX_NUMBERED = 1_000
"""Messages in numbered attributes."""


class Span(msgspec.Struct, frozen=True):
    """One span: its ids in lower-case hexadecimal, its end in ns since 1970."""

    trace_id: str
    span_id: str
    end_unix_nano: int
    attributes: Mapping[str, Any]


class Unreadable(ValueError):
    """A span that should be an answer, and cannot be read as one; the text says why."""


def is_read(name: str) -> bool:
    """Tell whether an attribute of this name may say something of an answer."""
    return name.startswith(READ)


def derive_interaction_id(trace_id: str, span_id: str) -> UUID:
    """Derive the interaction's id: the same however often the span is exported."""
    return uuid5(NAMESPACE, f"{trace_id}\0{span_id}")


def derive_body(span: Span) -> dict[str, Any] | None:
    """Derive the body of an interaction; None: the span is no answer of a model, or says nothing of its content.

    Raises: Unreadable.
    """
    said = span.attributes
    operation = said.get("gen_ai.operation.name") or said.get("llm.request.type")
    if operation not in OPERATIONS:
        return None
    messages = _read_messages(said, "gen_ai.input.messages", "gen_ai.prompt")
    answers = _read_messages(said, "gen_ai.output.messages", "gen_ai.completion")
    text = next((one["content"] for one in answers if one["content"]), None)
    if not messages or text is None:
        return None
    if any("tool_calls" in one for one in answers):
        raise Unreadable("gen_ai.output.messages: the answer calls tools, and its text alone is not what was said")
    system = _read_text(_parse(said.get("gen_ai.system_instructions")))
    body = {
        "interaction_id": str(derive_interaction_id(span.trace_id, span.span_id)),
        "messages": [*([{"role": "system", "content": system}] if system else []), *messages],
        "answer": text,
        "model_version": _read_name(said, "gen_ai.response.model", "gen_ai.request.model") or "unknown",
        "served_at": _read_time(span.end_unix_nano),
        "conversation_id": _read_name(said, "gen_ai.conversation.id", "session.id"),
        "user_id": _read_name(said, "enduser.id", "user.id"),
        "metadata": {"span": {"trace_id": span.trace_id, "span_id": span.span_id}},
    }
    return {name: value for name, value in body.items() if value is not None}


def _read_time(nanoseconds: int) -> str:
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise Unreadable("endTimeUnixNano: no time") from None


def _read_messages(said: Mapping[str, Any], name: str, numbered: str) -> list[dict[str, Any]]:
    listed = _parse(said.get(name))
    if listed is None:
        return _read_numbered(said, numbered)
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise Unreadable(f"{name}: no list of messages")
    return [_read_message(one) for one in listed]


def _read_message(one: Mapping[str, Any]) -> dict[str, Any]:
    parts = one.get("parts", one.get("content"))
    message: dict[str, Any] = {"role": str(one.get("role") or "user"), "content": _read_text(parts)}
    if calls := [_read_call(part) for part in _list_parts(parts) if part.get("type") == "tool_call"]:
        message["tool_calls"] = calls
    return message


def _read_call(part: Mapping[str, Any]) -> dict[str, Any]:
    arguments = part.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": str(part.get("id")), "type": "function", "function": {"name": part.get("name"), "arguments": text}}


def _read_text(parts: Any) -> str:
    """Read the texts of a message's parts, also of a tool's response; nothing of images and reasoning."""
    if isinstance(parts, str):
        return parts
    texts = [part.get("response", part.get("result", part.get("content"))) for part in _list_parts(parts)]
    kinds = [part.get("type", "text") for part in _list_parts(parts)]
    kept = [text for kind, text in zip(kinds, texts, strict=True) if kind in ("text", "tool_call_response")]
    return "\n".join(text if isinstance(text, str) else json.dumps(text) for text in kept if text is not None)


def _list_parts(parts: Any) -> list[Mapping[str, Any]]:
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []


def _read_numbered(said: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    while len(messages) < MAX_NUMBERED and f"{name}.{len(messages)}.content" in said:
        number = len(messages)
        role = said.get(f"{name}.{number}.role") or "user"
        messages.append({"role": str(role), "content": _read_text(said[f"{name}.{number}.content"])})
    return messages


def _read_name(said: Mapping[str, Any], *names: str) -> str | None:
    return next((str(said[name]) for name in names if said.get(name)), None)


def _parse(value: Any) -> Any:
    """Return an attribute's JSON, which instrumentations write as text."""
    if not isinstance(value, str):
        return value
    check_depth(value.encode("utf-8", "replace"))
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return value
