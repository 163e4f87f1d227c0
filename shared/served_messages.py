"""A request's messages as a model server gets them: in canonical form, so that a training row is what was served."""

from collections.abc import Sequence
from typing import Any

from shared.conversation import canonicalize, list_calls
from shared.events import Message

_KNOWN = frozenset(
    {
        *("role", "content", "refusal", "tool_calls", "function_call", "tool_call_id", "name"),
        *("reasoning_content", "reasoning"),
    }
)


def derive_served_messages(messages: Sequence[Message]) -> list[Message]:
    """Return the canonical messages, with the bytes of their images, audio and files.

    Fields that the canonical form does not know (Mistral's `prefix`, say) stay, and so do calls of what is no function.
    Thoughts stand under both of their names where a client wrote the newer one: servers read one or the other.
    """
    return [_serve(message, form) for message, form in zip(messages, canonicalize(messages), strict=True)]


def _serve(message: Message, form: Message) -> Message:
    served = {name: value for name, value in message.items() if name not in _KNOWN} | form
    if isinstance(form["content"], list):
        parts = zip(message["content"], form["content"], strict=True)
        served["content"] = [_serve_part(given, part) for given, part in parts]
    elif message.get("content") is None and not form["content"]:
        served["content"] = None
    if "tool_calls" in form:
        calls = zip(list_calls(message), form["tool_calls"], strict=True)
        served["tool_calls"] = [call if "function" in call else given for given, call in calls]
    if "reasoning" in message and "reasoning_content" in form:
        served["reasoning"] = form["reasoning_content"]
    return served


def _serve_part(given: Any, part: dict[str, Any]) -> Any:
    return part if part["type"] == "text" else given
