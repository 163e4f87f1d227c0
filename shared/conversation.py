"""What a conversation is: one canonical form of OpenAI-shaped messages, and what they say as text.

Prompt hashes, training rows, evaluation and drift all rest on the canonical form, so that the same question is one
prompt however a client wrote it down, and a training row is what the model saw.
"""

import hashlib
import json
import re
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from shared.events import InteractionRecorded, Message

Tool = dict[str, Any]  # one function that the model may call, OpenAI's shape

ROLES = ("system", "user", "assistant", "tool")
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_sorted_json = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the model saw: canonical messages, and the tools that it was offered."""

    messages: list[Message]
    tools: list[Tool] = field(default_factory=list)


def derive_conversation(event: InteractionRecorded) -> Conversation:
    """Return what the model saw; the gateway records the tools in the metadata."""
    return Conversation(canonicalize(event.messages), read_tools((event.metadata or {}).get("tools")))


def read_tools(offered: object) -> list[Tool]:
    """Return the tools of a request; what is no list of objects offered none."""
    return [tool for tool in offered if isinstance(tool, dict)] if isinstance(offered, list) else []


def calculate_prompt_hash(messages: Sequence[Message], tools: Sequence[Tool] = ()) -> str:
    """Return the SHA-256 (hex) of a conversation: two prompts are the same when it is equal."""
    canonical: Any = canonicalize(messages)
    if tools:
        canonical = {"messages": canonical, "tools": tools}
    return hashlib.sha256(_sorted_json.encode(canonical)).hexdigest()


def derive_template_messages(messages: Sequence[Message]) -> list[Message]:
    """Return canonical messages as model servers hand them to a chat template: arguments of calls as objects.

    Fields that a Parquet file filled with null are left out: some templates ask whether a field is there.
    """
    return [_derive_template_message(message) for message in messages]


def drop_nulls(value: Any) -> Any:
    """Return a JSON value without the members that are null: a Parquet file fills in what a row did not have."""
    if isinstance(value, dict):
        return {name: drop_nulls(item) for name, item in value.items() if item is not None}
    return [drop_nulls(item) for item in value] if isinstance(value, list) else value


def _derive_template_message(message: Message) -> Message:
    plain: Message = drop_nulls(message)
    if calls := plain.get("tool_calls"):
        plain["tool_calls"] = [
            call | {"function": {"name": call["function"]["name"], "arguments": _parse(call["function"]["arguments"])}}
            for call in calls
        ]
    return plain


def _parse(arguments: str) -> Any:
    try:
        return json.loads(mend_escapes(arguments)) if arguments else {}
    except (ValueError, RecursionError):
        return arguments


def canonicalize(messages: Sequence[Message]) -> list[Message]:
    """Return the messages in canonical form; doing it twice changes nothing.

    - `developer` is `system`, `function` is `tool`
    - text: Unicode NFC, outer white space trimmed, U+FFFD for half a character
    - text parts joined by a line break, as vLLM joins them
    - other parts (images, audio, files) by type and SHA-256, in a list of parts, never their bytes
    - a refusal in place of content is the content
    - `tool_calls` as id, name and arguments (a string of JSON), those of no function by type and SHA-256
    - `tool_call_id`, `name` and `reasoning_content` stay
    - a call without an id gets one, and a result that names none is the next one's that waits for it
    - every other field, and every empty one, goes
    """
    return _name_calls([_canonicalize_message(message) for message in messages])


def _name_calls(messages: list[Message]) -> list[Message]:
    waiting: OrderedDict[str, None] = OrderedDict()
    count = 0
    for message in messages:
        for call in message.get("tool_calls", ()):
            count += 1
            waiting.setdefault(call.setdefault("id", f"call{count:05}"))
        if message["role"] == "tool" and (answered := message.get("tool_call_id") or next(iter(waiting), None)):
            waiting.pop(answered, None)
            message["tool_call_id"] = answered
    return messages


def _canonicalize_message(message: Message) -> Message:
    role = {"developer": "system", "function": "tool"}.get(str(message.get("role")), str(message.get("role")))
    content = _canonicalize_content(message.get("content"))
    canonical: Message = {"role": role, "content": content or _canonicalize_text(message.get("refusal"))}
    if calls := list_calls(message):
        canonical["tool_calls"] = [_canonicalize_call(call) for call in calls]
    reasoning = message.get("reasoning_content") or message.get("reasoning") or read_details(message)
    optional = {
        "tool_call_id": message.get("tool_call_id"),
        "name": message.get("name"),
        "reasoning_content": _canonicalize_text(reasoning) if role == "assistant" else None,
    }
    return canonical | {
        name: mend_halves(value) for name, value in optional.items() if isinstance(value, str) and value
    }


def read_details(message: Message) -> str:
    """Read OpenRouter's `reasoning_details`: thoughts, or summaries of them; encrypted ones tell nothing."""
    details = given if isinstance(given := message.get("reasoning_details"), list) else []
    told = [one.get("text") or one.get("summary") for one in details if isinstance(one, dict)]
    return "".join(text for text in told if isinstance(text, str))


def _canonicalize_text(text: object) -> str:
    return unicodedata.normalize("NFC", mend_halves(text)).strip() if isinstance(text, str) else ""


def mend_halves(text: str) -> str:
    """Return the text with U+FFFD for each half of a surrogate pair that stands alone: no UTF-8 can hold one."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_ESCAPES = re.compile(
    r"\\(?:u[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.S
)


def mend_escapes(document: str) -> str:
    """Mend halves in a JSON document, also those that stand in it as escapes (`\\ud83d`); all else stays as written."""
    if "\\u" not in document:
        return mend_halves(document)
    return mend_halves(_ESCAPES.sub(lambda found: "\\ufffd" if found[1] else found[0], document))


def _canonicalize_content(content: object) -> str | list[dict[str, Any]]:
    if not isinstance(content, list):
        return _canonicalize_text(content)
    parts = [_canonicalize_part(part) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts).strip()
    return parts


def _canonicalize_part(part: object) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": _canonicalize_text(part)}
    fields = part if isinstance(part, dict) else {"type": "unknown", "value": part}
    kind = str(fields.get("type", "text" if "text" in fields else "unknown"))
    if kind in _TEXT_PARTS and isinstance(fields.get("text"), str):
        return {"type": "text", "text": _canonicalize_text(fields["text"])}
    if kind == "refusal" and isinstance(fields.get("refusal"), str):
        return {"type": "text", "text": _canonicalize_text(fields["refusal"])}
    if isinstance(fields.get("sha256"), str):
        return {"type": kind, "sha256": fields["sha256"]}
    source = fields.get(kind, fields)
    source = source.get("url", source) if isinstance(source, dict) else source
    return {"type": kind, "sha256": _hash_json(source)}


def list_calls(message: Message) -> list[dict[str, Any]]:
    """Return the calls of a turn, the retired `function_call` among them; what is no object is left out."""
    calls = message.get("tool_calls")
    listed = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    if isinstance(message.get("function_call"), dict):
        listed.append({"function": message["function_call"]})
    return listed


def _canonicalize_call(call: dict[str, Any]) -> dict[str, Any]:
    named = {"id": mend_halves(str(call["id"]))} if call.get("id") else {}
    function = call.get("function")
    if not isinstance(function, dict):
        known = call.get("sha256")
        kind = mend_halves(str(call.get("type", "unknown")))
        return named | {"type": kind, "sha256": known if isinstance(known, str) else _hash_json(call)}
    name = mend_halves(str(function.get("name", "")))
    return named | {"type": "function", "function": {"name": name, "arguments": _write(function)}}


def _write(function: dict[str, Any]) -> str:
    arguments = function.get("arguments", "")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, sort_keys=True, ensure_ascii=False)
    return mend_escapes(arguments)


def _hash_json(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode(errors="replace")).hexdigest()


def explain_unrenderable(messages: Sequence[Message]) -> str | None:
    """Return why chat templates or training on text cannot take canonical messages, as a word to count; or None.

    - media: a part that is no text, or a text that was recorded without the data URI in it
    - unknown_call: of something that is no function
    - unknown_role, late_system: a role that templates do not know; a system turn that is not the first
    - empty_turn: neither content nor tool calls
    - orphan_tool_result: a tool's result that follows neither a call nor another result
    - roles_do_not_alternate: two user or two assistant turns in a row, or an assistant who speaks first
    - no_question: the last turn is neither a user's nor a tool's
    """
    turns = list(messages)
    if any(_holds_media(turn.get("content")) for turn in turns):
        return "media"
    if any("function" not in call for turn in turns for call in turn.get("tool_calls") or ()):
        return "unknown_call"
    if any(turn["role"] not in ROLES for turn in turns):
        return "unknown_role"
    if any(turn["role"] == "system" for turn in turns[1:]):
        return "late_system"
    if not all(turn.get("content") or turn.get("tool_calls") for turn in turns):
        return "empty_turn"
    before = "start"
    for turn in turns:
        if reason := _explain_turn(turn["role"], before):
            return reason
        before = "call" if turn.get("tool_calls") else turn["role"]
    return None if before in ("user", "tool") else "no_question"


_HASHED_URI = re.compile(r";sha256,[0-9a-f]{64}")
"""What is left of a data URI in a text (`shared.recording`)."""


def _holds_media(content: object) -> bool:
    return isinstance(content, list) or (isinstance(content, str) and _HASHED_URI.search(content) is not None)


_MAY_FOLLOW = {
    "system": ("start",),
    "user": ("start", "system", "assistant"),
    "assistant": ("user", "tool"),
    "tool": ("call", "tool"),
}


def _explain_turn(role: str, before: str) -> str | None:
    if before in _MAY_FOLLOW[role]:
        return None
    return "orphan_tool_result" if role == "tool" else "roles_do_not_alternate"


UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Thai, Lao, Burmese, Khmer, Kana and Han, for a regular expression's class: no spaces divide their words, so lengths
are counted in characters."""


def derive_words(text: str) -> list[str]:
    """Split a text into words as they are compared: without case and punctuation, in Unicode NFKC."""
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


def derive_text(message: Message) -> str:
    """Return the text of one message; of a list of parts, the textual ones, one a line."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
    return ""


def derive_question(messages: Sequence[Message]) -> str:
    """Return the text of the last user message; of a prompt without one, of everything but the system's messages."""
    asked = [derive_text(message) for message in messages if message.get("role") == "user"]
    if asked:
        return asked[-1]
    return "\n".join(derive_text(message) for message in messages if message.get("role") != "system")


def derive_dialogue(messages: Sequence[Message]) -> str:
    """Return the text of what others than the system said, one message a line, empty ones left out."""
    return "\n".join(text for message in messages if message.get("role") != "system" if (text := derive_text(message)))
