"""What an answer says, gathered from a completion or from the chunks of a stream."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """One choice."""

    text: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None


@dataclass
class Answers:
    """The choices by index, and the tokens that the model server counted."""

    choices: dict[int, Answer] = field(default_factory=dict)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def add_completion(self, body: dict[str, Any]) -> None:
        for position, choice in enumerate(_dicts(body.get("choices"))):
            message = choice.get("message")
            message = message if isinstance(message, dict) else {}
            answer = self._answer(choice.get("index", position))
            answer.text += _text(message.get("content"))
            answer.tool_calls += _dicts(message.get("tool_calls"))
            answer.finish_reason = choice.get("finish_reason")
        self._count(body.get("usage"))

    def add_chunk(self, chunk: dict[str, Any]) -> None:
        for choice in _dicts(chunk.get("choices")):
            delta = choice.get("delta")
            delta = delta if isinstance(delta, dict) else {}
            answer = self._answer(choice.get("index", 0))
            answer.text += _text(delta.get("content"))
            for call in _dicts(delta.get("tool_calls")):
                _add_tool_call(answer.tool_calls, call)
            answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
        self._count(chunk.get("usage"))

    def _answer(self, index: Any) -> Answer:
        return self.choices.setdefault(index if isinstance(index, int) else 0, Answer())

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self.prompt_tokens = _whole(usage.get("prompt_tokens"))
            self.completion_tokens = _whole(usage.get("completion_tokens"))


def may_be_last(chunk: dict[str, Any]) -> bool:
    """Whether nothing but the end of the stream may follow: a choice ended here, or only usage is told."""
    choices = _dicts(chunk.get("choices"))
    return not choices or any(choice.get("finish_reason") for choice in choices)


def _add_tool_call(calls: list[dict[str, Any]], part: dict[str, Any]) -> None:
    """Arguments come in pieces that belong to the call with the same index."""
    index = part.get("index", len(calls))
    call = next((known for known in calls if known.get("index") == index), None)
    if call is None:
        calls.append({**part, "index": index, "function": dict(part.get("function") or {})})
        return
    for name, value in (part.get("function") or {}).items():
        call["function"][name] = _text(call["function"].get(name)) + _text(value)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None
