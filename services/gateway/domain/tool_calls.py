"""Assemble tool calls from the pieces of a stream, in the dialects that model servers speak.

- OpenAI: the first piece has index, id and name, the further ones index and arguments only.
- SGLang and others repeat id and name in every piece.
- Ollama and Gemini's proxies leave the index out, and some of them the id.
- Some releases of vLLM give every call the index 0, each with an id of its own; others give every piece of a call that
  was asked for by name a new id, and the name.
- LiteLLM sends the whole arguments again at the end; others begin with `{}`.
- LocalAI gives pieces of one call several indexes and one id; LiteLLM begins to count at 1.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
STRUCTURE = re.compile(r'\\.|["{}\[\]\\]', re.DOTALL)
LONGEST_NAME = 1_000


@dataclass
class Arguments:
    """The pieces of a call's arguments. Each is looked at once: a stream is not read anew with every piece."""

    pieces: list[str] = field(default_factory=list)
    is_whole: bool = False
    """Whether they are a JSON object, so that more cannot follow."""
    _is_broken: bool = False
    _is_in_text: bool = False
    _is_escaped: bool = False
    _depth: int = 0

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def add(self, piece: str) -> None:
        if self.is_whole and not piece.strip():
            return
        self.pieces.append(piece)
        self._is_broken = self._is_broken or self.is_whole
        self.is_whole = False
        if not self._is_broken and self._closes(piece):
            self.pieces = [self.text]
            self.is_whole = _is_object(self.pieces[0])
            self._is_broken = not self.is_whole

    def _closes(self, piece: str) -> bool:
        """Tell whether the outermost bracket closes in this piece."""
        start, self._is_escaped = int(self._is_escaped and bool(piece)), self._is_escaped and not piece
        has_closed = False
        for found in STRUCTURE.finditer(piece, start):
            mark = found[0]
            if mark == "\\":
                self._is_escaped = True
            elif mark == '"':
                self._is_in_text = not self._is_in_text
            elif mark in "{}[]" and not self._is_in_text:
                self._depth += 1 if mark in "{[" else -1
                has_closed = has_closed or self._depth <= 0
        return has_closed


@dataclass
class ToolCall:
    """One call, as far as its pieces have come."""

    index: int | None
    id: str = ""
    type: str = "function"
    name: str = ""
    arguments: Arguments = field(default_factory=Arguments)

    def describe(self) -> dict[str, Any]:
        """Return the call in the shape of a message's `tool_calls`."""
        function = {"name": self.name, "arguments": self.arguments.text}
        return ({"id": self.id} if self.id else {}) | {"type": self.type, "function": function}

    def add_arguments(self, piece: str) -> None:
        """Add a piece; what begins after a whole object says it once more, or says what an empty one stood for."""
        if self.arguments.is_whole and piece.lstrip().startswith("{"):
            self.arguments = Arguments()
        self.arguments.add(piece)


@dataclass
class ToolCalls:
    """The calls of an answer, in the order in which they began."""

    calls: list[ToolCall] = field(default_factory=list)
    _by_id: dict[str, ToolCall] = field(default_factory=dict)
    _by_index: dict[int, ToolCall] = field(default_factory=dict)
    """The last one of each index."""

    def add(self, piece: dict[str, Any]) -> None:
        """Add a piece to the call that it belongs to, or begin a new call with it."""
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        call_id, index, name = _text(piece.get("id")), _read_index(piece.get("index")), _text(function.get("name"))
        arguments = _read_arguments(function.get("arguments"))
        call = self._find(call_id, index, name, arguments) or self._begin(index)
        if call_id and not call.id:
            call.id = call_id
            self._by_id[call_id] = call
        call.type = _text(piece.get("type")) or call.type
        call.name = _join_name(call.name, name)
        if arguments:
            call.add_arguments(arguments)

    def _begin(self, index: int | None) -> ToolCall:
        call = ToolCall(index)
        self.calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _find(self, call_id: str, index: int | None, name: str, arguments: str) -> ToolCall | None:
        """Find the call of a piece: by its id, else by its index, else the last; unless the piece begins another."""
        if known := self._by_id.get(call_id):
            return known
        if index is not None:
            call = self._by_index.get(index)
        else:
            call = self.calls[-1] if self.calls and not call_id else None
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
        return call.name != name or call.arguments.is_whole
    if index is None and call.name not in ("", name):
        return True
    if not call.arguments.is_whole:
        return False
    said = call.arguments.text.strip()
    if call.name == name and said == "{}" and index is not None:
        return False
    return call.name != name or index is None or said != arguments.strip()


def _read_index(value: Any) -> int | None:
    """Return an index; some servers write it as text."""
    if isinstance(value, str) and value.isdecimal() and value.isascii():
        return int(value[:9])
    return value if isinstance(value, int) else None


def _join_name(before: str, piece: str) -> str:
    """Join the pieces of a name; a server that repeats it, whole or grown, means one name."""
    if not piece or piece == before or len(before) > LONGEST_NAME:
        return before
    return piece if piece.startswith(before) else before + piece


def _read_arguments(value: Any) -> str:
    """Return arguments as JSON text; some servers send an object."""
    return _encode(value).decode() if isinstance(value, dict) else _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
