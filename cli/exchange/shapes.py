"""Shapes that several sources share: texts, times, messages, and the answer at their end."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cli.exchange.found import ImportedAnswer, Refused, Time, WrongTime
from shared.errors import MalformedBody
from shared.events import Message
from shared.json_depth import check_depth

ROLES = {
    "human": "user",
    "customer": "user",
    "client": "user",
    "visitor": "user",
    "ai": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "agent": "assistant",
    "observation": "tool",
}
"""Words for the roles of a conversation that are not OpenAI's."""
OPENAI_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
SPEAKERS = ("author", "speaker", "sender")
"""Members that name who said a message, where its role is not said."""
PROMPTS = ("messages", "input", "prompt", "question", "query", "user_input", "human_input", "instruction")
"""Members of a call's input that hold what was asked."""
HISTORIES = ("chat_history", "history")
PAIR = ("user", "assistant")
MILLISECONDS, MICROSECONDS, NANOSECONDS = 1e11, 1e14, 1e17
"""Numbers from here on count these since 1970, and smaller ones seconds: 1e11 seconds are the year 5138."""


def calculate_key(*parts: object) -> str:
    """Calculate a key for what has no id of its own: the hash of its content."""
    content = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def dig(value: object, *path: str | int) -> Any:
    """Return what stands at a path of members and indices; None if any of them is missing."""
    for step in path:
        if isinstance(step, str) and isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def parse_json(value: Any) -> Any:
    """Return a text that holds a JSON object or list parsed (tables hold them so), and anything else as it is.

    Raises: Refused: what it holds is nested too deep to be walked.
    """
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
        return value
    try:
        parsed = json.loads(value)
        check_depth(value.encode(errors="replace"))
    except MalformedBody as error:
        raise Refused("too_deep", error.detail) from None
    except (ValueError, RecursionError):
        return value
    return parsed


def list_objects(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list, or of a text that holds one as JSON; none of anything else."""
    value = parse_json(value)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def read_name(value: object) -> str | None:
    """Return an id or a name: a text that is not empty, or a whole number as a text."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return str(value)


def read_time(value: object) -> Time:
    """Return a time: ISO 8601 (without a zone: UTC), or a number since 1970 in s, ms, µs or ns.

    None if there is nothing; a `WrongTime` if there is something else.
    """
    if value is None or value == "":
        return None
    return _parse_time(value) or WrongTime(str(value)[:40])


def _parse_time(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
        return _read_iso(value)
    try:
        return _read_epoch(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _read_iso(value: str) -> datetime | None:
    try:
        return _parse_time(datetime.fromisoformat(value.strip().removesuffix(" UTC")))
    except ValueError:
        return None


def _read_epoch(number: float) -> datetime | None:
    if isinstance(number, bool) or number <= 0:
        return None
    units = ((NANOSECONDS, 1e9), (MICROSECONDS, 1e6), (MILLISECONDS, 1e3))
    return datetime.fromtimestamp(number / next((unit for least, unit in units if number >= least), 1), UTC)


def read_text(value: object) -> str:
    """Return the text of a message's content: a text, or the texts of its parts; "" if there is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [part if isinstance(part, str) else dig(part, "text") for part in value]
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""


def read_message(value: object) -> Message:
    """Return one message in OpenAI's shape, from that shape, from `from` and `value`, or from LangChain's.

    Raises: Refused: it is none.
    """
    if not isinstance(value, Mapping):
        raise Refused("no_messages", f"a message is {type(value).__name__}, not an object")
    wrapped = (value.get(name) for name in ("kwargs", "data", "message"))
    inner = next((one for one in wrapped if one and isinstance(one, Mapping)), value)
    role = _read_role(value, inner)
    content = next(
        (inner[name] for name in ("content", "content_parts", "value", "text") if inner.get(name) is not None), None
    )
    kept = {
        name: inner[name]
        for name in ("tool_calls", "tool_call_id", "name", "refusal", "reasoning_content")
        if inner.get(name)
    }
    if isinstance(kept.get("tool_calls"), list):
        kept["tool_calls"] = [_read_call(call) for call in kept["tool_calls"]]
    if not role or (content is None and not kept):
        raise Refused("no_messages", "a message without a role or a content")
    return {"role": ROLES.get(role, role), "content": content, **kept}


def _read_role(value: Mapping[str, Any], inner: Mapping[str, Any]) -> str:
    """Read whose a message is. Raises: Refused: it names somebody, and not whether that is the model or its user."""
    role = value.get("role") or value.get("from") or value.get("type") or dig(value, "id", -1)
    role = inner.get("role") or inner.get("type") or role
    if role:
        return str(role).removesuffix("MessageChunk").removesuffix("Message").lower()
    said = str(first_filled(value, SPEAKERS) or "")
    if said and said.casefold() not in (*ROLES, *OPENAI_ROLES):
        raise Refused("unknown_speaker", f"{said[:40]!r} says something: is that the model or its user?", said)
    return said.casefold()


def _read_call(call: Any) -> Any:
    """Return a tool's call in OpenAI's shape; LangChain has its name and arguments beside its id."""
    if not isinstance(call, Mapping) or "function" in call or "name" not in call:
        return call
    function = {"name": call["name"], "arguments": json.dumps(call.get("args") or {})}
    return {"id": call.get("id"), "type": "function", "function": function}


def read_messages(value: object) -> list[Message]:
    """Return a conversation: a text is one question; messages, a list of one list of them, or an object around them.

    Raises: Refused: it is none of these, or empty.
    """
    value = parse_json(value)
    if isinstance(value, Mapping):
        inner = first_filled(value, PROMPTS)
        if inner is not None and not value.get("messages"):
            return [*read_history(first_filled(value, HISTORIES)), *read_messages(inner)]
        value = inner if inner is not None else [value]
    if isinstance(value, str) and value.strip():
        return [{"role": "user", "content": value}]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if isinstance(value, list) and value:
        return [read_message(message) for message in value]
    raise Refused("no_prompt", "no text and no messages that were answered")


def first_filled(value: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Return the first of these members that holds something; None if none does."""
    return next((value[name] for name in names if value.get(name)), None)


def read_history(value: Any) -> list[Message]:
    """Read what was said before a question: messages, pairs of a question and its answer, or nothing.

    Raises: Refused: it is something else, so that nobody knows what the model saw.
    """
    if value is None:
        return []
    listed = parse_json(value)
    if not isinstance(listed, list):
        raise Refused("unknown_history", "what was said before the question is no list of messages")
    messages: list[Message] = []
    for one in listed:
        if isinstance(one, list) and len(one) == 2 and all(isinstance(text, str) for text in one):
            messages += [{"role": role, "content": text} for role, text in zip(PAIR, one, strict=True)]
        else:
            messages.append(read_message(one))
    return messages


def read_answer(value: object) -> Message:
    """Return an answer as a message: of a text, a message, a list that ends with one, or a chat completion.

    Raises: Refused: there is no text and no tool call in it.
    """
    value = parse_json(value)
    for path in (("choices", 0), ("generations", 0), ("messages",), ("output",), ("content",)):
        inner = dig(value, *path)
        if inner is not None and not (path == ("content",) and says_who(value)):
            return read_answer(inner)
    if isinstance(value, list) and value and isinstance(value[-1], Mapping | list):
        if dig(value, -1, "message") is None and read_text(value):
            return {"role": "assistant", "content": read_text(value)}
        return read_answer(value[-1])
    if isinstance(value, str) and value.strip():
        return {"role": "assistant", "content": value}
    if isinstance(value, Mapping):
        return _read_answering_message(value)
    raise Refused("no_answer", "no text that could be an answer")


def read_side(record: Mapping[str, Any], name: str) -> Message:
    """Read the answer that a member of this name is. Raises: Refused: it is none, or not there."""
    if record.get(name) in (None, "", [], {}):
        raise Refused("no_answer", f"{name} is empty, or not there")
    return read_answer(record[name])


def says_who(value: object) -> bool:
    """Say whether a message says whose it is: by its role, or as LangChain does by its type."""
    return bool(dig(value, "role")) or str(dig(value, "type")) in (*ROLES, "user", "system", "assistant", "tool")


def _read_answering_message(value: Mapping[str, Any]) -> Message:
    message = value.get("message")
    if not isinstance(message, Mapping):
        named = any(name in value for name in ("role", "from", "kwargs", "type"))
        message = value if named else {"role": "assistant", "content": value.get("text") or value.get("value")}
    try:
        nameless = {} if any(name in message for name in ("role", "from", "type", "id")) else {"role": "assistant"}
        answer = read_message({**nameless, **message})
    except Refused:
        raise Refused("no_answer", "no text that could be an answer") from None
    if answer["role"] in ("user", "system", "developer", "tool"):
        raise Refused("no_answer", f"what ends it is not an assistant's, but said by {answer['role'][:40]!r}")
    if not read_text(answer["content"]).strip() and not answer.get("tool_calls"):
        raise Refused("no_answer", "the answer has neither text nor tool calls")
    return answer


def read_tools(value: object) -> list[Any] | None:
    """Return the tools that a model was offered; None if it was offered none."""
    value = parse_json(value)
    return value if isinstance(value, list) and value else None


def build_answer(key: str, messages: Sequence[Message], answer: Message, **said: Any) -> ImportedAnswer:
    """Build an answer of a conversation and the message that answered it."""
    text = read_text(answer["content"])
    return ImportedAnswer(key, list(messages), text, tool_calls=list_objects(answer.get("tool_calls")) or None, **said)


def split_last_answer(messages: Sequence[Message]) -> tuple[list[Message], Message]:
    """Split a conversation into what was asked and the assistant's last word.

    Raises: Refused: it does not end with an assistant's, or nothing was asked.
    """
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise Refused("no_answer", "the conversation does not end with an assistant's answer")
    return list(messages[:-1]), read_answer(messages[-1])
