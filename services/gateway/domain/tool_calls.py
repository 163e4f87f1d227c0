"""Assemble tool calls from the pieces of a stream, in the dialects that model servers speak.

- OpenAI: the first piece has index, id and name, the further ones index and arguments only.
- SGLang and others repeat id and name in every piece.
- Ollama and Gemini's proxies leave the index out, and some of them the id.
- Some releases of vLLM give every call the index 0, each with an id of its own; others give every piece of a call that
  was asked for by name a new id, and the name.
- LiteLLM sends the whole arguments again at the end; others begin with `{}`.
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
        function = {"name": self.name, "arguments": self.text}
        return ({"id": self.id} if self.id else {}) | {"type": self.type, "function": function}

    @property
    def text(self) -> str:
        return "".join(self.arguments)

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are a JSON object, so that more cannot follow."""
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        try:
            return isinstance(msgspec.json.decode(self.text), dict)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False

    def add_arguments(self, piece: str) -> None:
        """Add a piece; what begins after a whole object says it once more, or says what an empty one stood for."""
        if piece.lstrip().startswith("{") and self.is_whole:
            self.arguments.clear()
        self.arguments.append(piece)


def add_piece(calls: list[ToolCall], piece: dict[str, Any]) -> None:
    """Add a piece to the call that it belongs to, or begin a new call with it."""
    function = piece.get("function")
    function = function if isinstance(function, dict) else {}
    call_id, index, name = _text(piece.get("id")), _read_index(piece.get("index")), _text(function.get("name"))
    arguments = _read_arguments(function.get("arguments"))
    call = _find(calls, call_id, index, name, arguments)
    if call is None:
        call = ToolCall(index)
        calls.append(call)
    call.id = call.id or call_id
    call.type = _text(piece.get("type")) or call.type
    call.name = _join_name(call.name, name)
    if arguments:
        call.add_arguments(arguments)


def _find(calls: list[ToolCall], call_id: str, index: int | None, name: str, arguments: str) -> ToolCall | None:
    """Find the call of a piece: by its id, else by its index, else the last one; unless the piece begins another."""
    if call_id and (known := next((call for call in calls if call.id == call_id), None)):
        return known
    if index is not None:
        call = next((call for call in reversed(calls) if call.index == index), None)
    else:
        call = calls[-1] if calls and not call_id else None
    return None if call is None or _begins_another(call, call_id, index, name, arguments) else call


def _begins_another(call: ToolCall, call_id: str, index: int | None, name: str, arguments: str) -> bool:
    """Tell whether a piece begins another call although it points at this one.

    - without a name it never does
    - one with an id of its own does, unless this call has none yet, or is the same function's and not whole
    - else it does after a whole call of another function, or of the same one with other arguments
    - without an index, another name is another call
    """
    if not name:
        return False
    if call_id and call.id:
        return call.name != name or call.is_whole
    if index is None and call.name not in ("", name):
        return True
    if not call.is_whole or (call.name == name and call.text.strip() == "{}" and index is not None):
        return False
    return call.name != name or index is None or call.text.strip() != arguments.strip()


def _read_index(value: Any) -> int | None:
    """Return an index; some servers write it as text."""
    if isinstance(value, str) and value.isdecimal() and value.isascii():
        return int(value[:9])
    return value if isinstance(value, int) else None


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
