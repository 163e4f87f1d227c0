"""Assemble tool calls from the pieces of a stream, in the dialects that model servers speak.

- OpenAI: the first piece has index, id and name, the further ones index and arguments only.
- SGLang and others repeat id and name in every piece.
- Ollama and Gemini's proxies leave the index out, and some of them the id.
- Some releases of vLLM give every call the index 0, each with an id of its own.
- LocalAI gives pieces of one call several indexes and one id; LiteLLM begins to count at 1.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


@dataclass
class ToolCall:
    """One call, as far as its pieces have come."""

    index: int | None
    id: str = ""
    type: str = "function"
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """Return the call in the shape of a message's `tool_calls`."""
        function = {"name": self.name, "arguments": "".join(self.arguments)}
        return ({"id": self.id} if self.id else {}) | {"type": self.type, "function": function}

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are a JSON document, so that more cannot follow."""
        try:
            msgspec.json.decode("".join(self.arguments))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False
        return True


def add_piece(calls: list[ToolCall], piece: dict[str, Any]) -> None:
    """Add a piece to the call that it belongs to, or begin a new call with it."""
    function = piece.get("function")
    function = function if isinstance(function, dict) else {}
    call_id, index, name = _text(piece.get("id")), piece.get("index"), _text(function.get("name"))
    index = index if isinstance(index, int) else None
    call = _find(calls, call_id, index, name)
    if call is None:
        call = ToolCall(index)
        calls.append(call)
    call.id = call.id or call_id
    call.type = _text(piece.get("type")) or call.type
    call.name = _join_name(call.name, name)
    if arguments := _read_arguments(function.get("arguments")):
        call.arguments.append(arguments)


def _find(calls: list[ToolCall], call_id: str, index: int | None, name: str) -> ToolCall | None:
    """Find the call of a piece: by its id, else by its index, else the last one unless the piece begins another.

    - an id that is known names its call;
    - an id that is not known belongs to the call with the same index, if that has no id yet;
    - without id and index, a piece with a name begins another call once the last one is whole.
    """
    if call_id:
        known = next((call for call in calls if call.id == call_id), None)
        unnamed = (call for call in calls if index is not None and call.index == index and not call.id)
        return known or next(unnamed, None)
    if index is not None:
        return next((call for call in reversed(calls) if call.index == index), None)
    last = calls[-1] if calls else None
    begins = bool(name) and last is not None and (last.name not in ("", name) or last.is_whole)
    return None if begins else last


def _join_name(before: str, piece: str) -> str:
    """Join the pieces of a name; a server that repeats it, whole or grown, means one name."""
    if not piece or piece == before:
        return before
    return piece if piece.startswith(before) else before + piece


def _read_arguments(value: Any) -> str:
    """Return arguments as JSON text; some servers send an object."""
    return _encode(value).decode() if isinstance(value, dict) else _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
