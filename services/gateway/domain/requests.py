"""Read the fields of a chat request that the gateway acts on; all others pass through untouched."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.gateway.domain.errors import InvalidChatRequest
from shared.events import Message
from shared.recording import split_conversation
from shared.served_messages import derive_served_messages

MAX_CHOICES = 16


@dataclass(frozen=True)
class ChatRequest:
    body: dict[str, Any]
    model: str
    messages: list[Message]
    stream: bool
    choices: int
    user: str | None
    conversation_id: str | None

    def body_for(self, model: str, choice: int = 0) -> dict[str, Any]:
        """Return the request for a model server: under the name that it knows, in canonical form.

        What is served is then what a training row says, to the token (`shared.served_messages`).

        Of several choices each is a request of its own, since not every server knows `n`; with a `seed`, choice i has
        seed + i, or all would be the same.
        """
        body = {**self.body, "model": model, "messages": derive_served_messages(self.messages)}
        if self.choices > 1:
            del body["n"]
            if isinstance(body.get("seed"), int):
                body["seed"] += choice
        return body

    @property
    def solicits(self) -> bool:
        """Whether the user will be asked: side-by-side answers ask for a choice, and a front end may say so."""
        return self.choices > 1 or str((self.body.get("metadata") or {}).get("solicited")).lower() == "true"


def read_request(body: Any, conversation_header: str | None) -> ChatRequest:
    """Check the fields that the gateway acts on.

    Raises:
        InvalidChatRequest: one of them is missing or of a wrong type.
    """
    if not isinstance(body, dict):
        raise InvalidChatRequest("the body must be a JSON object")
    choices = _read(body, "n", int, 1)
    if not 1 <= choices <= MAX_CHOICES:
        raise InvalidChatRequest(f"'n' must be between 1 and {MAX_CHOICES}", param="n")
    conversation, _ = split_conversation(_read(body, "metadata", dict, {}))
    return ChatRequest(
        body=body,
        model=_read(body, "model", str),
        messages=_read_messages(body),
        stream=_read(body, "stream", bool, False),
        choices=choices,
        user=_read(body, "user", str, "") or _read(body, "safety_identifier", str, "") or None,
        conversation_id=conversation or conversation_header or None,
    )


_NAMES: Mapping[type, str] = {str: "a string", int: "an integer", bool: "a boolean", dict: "an object", list: "a list"}


def _read(body: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value = body.get(name)
    if value is None:
        if default is None:
            raise InvalidChatRequest(f"'{name}' is missing", param=name)
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidChatRequest(f"'{name}' must be {_NAMES[kind]}", param=name)
    return value


def _read_messages(body: dict[str, Any]) -> list[Message]:
    messages: list[Message] = _read(body, "messages", list)
    if not messages:
        raise InvalidChatRequest("'messages' must hold at least one message", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidChatRequest("a message must be an object with a 'role'", param=f"messages.{index}")
        _check_content(message.get("content"), f"messages.{index}.content")
    return messages


def _check_content(content: Any, param: str) -> None:
    """Check that content is text, nothing, or parts that each name their type; texts are texts."""
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise InvalidChatRequest("content must be a string, null or a list of parts", param=param)
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str) or not kind:
            raise InvalidChatRequest("a part must be an object with a 'type'", param=f"{param}.{index}")
        if kind == "text" and not isinstance(part.get("text"), str):
            raise InvalidChatRequest("a part of the type text must have a 'text'", param=f"{param}.{index}.text")
