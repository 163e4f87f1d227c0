"""Assemble an answer from a completion or from the chunks of a stream; merge several into one reply."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """One choice, and the tokens that the model server counted for it."""

    text: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def add_completion(self, body: dict[str, Any]) -> None:
        for choice in _dicts(body.get("choices"))[:1]:
            message = choice.get("message")
            message = message if isinstance(message, dict) else {}
            self.text += _text(message.get("content"))
            self.tool_calls += _dicts(message.get("tool_calls"))
            self.finish_reason = choice.get("finish_reason")
        self._count(body.get("usage"))

    def add_chunk(self, chunk: dict[str, Any]) -> None:
        for choice in _dicts(chunk.get("choices"))[:1]:
            delta = choice.get("delta")
            delta = delta if isinstance(delta, dict) else {}
            self.text += _text(delta.get("content"))
            for call in _dicts(delta.get("tool_calls")):
                _add_tool_call(self.tool_calls, call)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        self._count(chunk.get("usage"))

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self.prompt_tokens = _whole(usage.get("prompt_tokens"))
            self.completion_tokens = _whole(usage.get("completion_tokens"))


def may_be_last(chunk: dict[str, Any]) -> bool:
    """Whether nothing but the end of the stream may follow: the chunk ends a choice, or holds only usage."""
    choices = _dicts(chunk.get("choices"))
    return not choices or any(choice.get("finish_reason") for choice in choices)


def place_choice(body: dict[str, Any], index: int) -> dict[str, Any]:
    """Return the body with its only choice under this index."""
    return body | {"choices": [choice | {"index": index} for choice in _dicts(body.get("choices"))[:1]]}


def merge_completions(bodies: Sequence[dict[str, Any]], answers: Sequence[Answer]) -> dict[str, Any]:
    """Return one reply with a choice of each body, in order; its other fields are the first one's."""
    choices = [choice for place, body in enumerate(bodies) for choice in place_choice(body, place)["choices"]]
    return bodies[0] | {"choices": choices, "usage": sum_usage(answers)}


def sum_usage(answers: Sequence[Answer]) -> dict[str, Any]:
    """Count as OpenAI counts several choices: the prompt once, the completions together."""
    prompt = max(answer.prompt_tokens or 0 for answer in answers)
    completion = sum(answer.completion_tokens or 0 for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _add_tool_call(calls: list[dict[str, Any]], part: dict[str, Any]) -> None:
    """Append a piece of a tool call to the call with the same index."""
    index = part.get("index", len(calls))
    call = next((known for known in calls if known.get("index") == index), None)
    function = part.get("function")
    function = function if isinstance(function, dict) else {}
    if call is None:
        calls.append({**part, "index": index, "function": dict(function)})
        return
    for name, value in function.items():
        call["function"][name] = _text(call["function"].get(name)) + _text(value)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None
