"""Assemble an answer from a completion or from the chunks of a stream; merge several into one reply."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.gateway.domain.tool_calls import ToolCalls
from shared.conversation import read_details
from shared.finishes import has_reason

REASONING_FIELDS = ("reasoning_content", "reasoning")
"""DeepSeek, SGLang and LiteLLM write the first; OpenRouter, Ollama and newer vLLM the second. Of some models OpenRouter
writes `reasoning_details` alone."""


@dataclass
class Answer:
    """One choice, and the tokens that the model server counted for it."""

    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    _text: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _refusal: list[str] = field(default_factory=list)
    _calls: ToolCalls = field(default_factory=ToolCalls)

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    @property
    def refusal(self) -> str:
        return "".join(self._refusal)

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        return [call.describe() for call in self._calls.calls]

    def add_completion(self, body: dict[str, Any]) -> None:
        self._add(body, "message")

    def add_chunk(self, chunk: dict[str, Any]) -> None:
        self._add(chunk, "delta")

    def _add(self, body: dict[str, Any], name: str) -> None:
        for choice in _dicts(body.get("choices"))[:1]:
            message = choice.get(name) or choice.get("message")
            self._add_message(message if isinstance(message, dict) else {})
            self.finish_reason = read_finish(choice) or self.finish_reason
        self._count(body.get("usage"))

    def _add_message(self, message: dict[str, Any]) -> None:
        content = message.get("content")
        self._text += _texts(content, "text")
        named = next((_texts(message[name]) for name in REASONING_FIELDS if message.get(name)), [])
        self._reasoning += named or [read_details(message)]
        self._reasoning += _texts(content, "thinking") if isinstance(content, list) else []
        self._refusal += _texts(message.get("refusal"))
        for piece in _dicts(message.get("tool_calls")):
            self._calls.add(piece)
        if isinstance(function := message.get("function_call"), dict):
            self._calls.add({"index": 0, "function": function})

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self.prompt_tokens = _whole(usage.get("prompt_tokens"))
            self.completion_tokens = _whole(usage.get("completion_tokens"))


def read_finish(choice: dict[str, Any]) -> str | None:
    """Return a choice's finish reason; None for one that goes on."""
    reason = choice.get("finish_reason")
    return str(reason) if has_reason(reason) else None


def has_choices(body: dict[str, Any]) -> bool:
    """Return whether a completion has a choice with a message."""
    return any(isinstance(choice.get("message"), dict) for choice in _dicts(body.get("choices"))[:1])


def may_be_last(chunk: dict[str, Any]) -> bool:
    """Return whether nothing but the end of the stream may follow: the chunk ends a choice, or holds only usage."""
    return not _dicts(chunk.get("choices")) or ends_choice(chunk)


def ends_choice(chunk: dict[str, Any]) -> bool:
    """Return whether a choice has its finish reason in this chunk."""
    return any(read_finish(choice) for choice in _dicts(chunk.get("choices")))


def make_chunk(completion: dict[str, Any]) -> dict[str, Any]:
    """Return the one chunk of a completion, for a server that answers a streamed request with a whole body."""
    choices = [
        {name: value for name, value in choice.items() if name != "message"} | {"delta": choice.get("message")}
        for choice in _dicts(completion.get("choices"))
    ]
    return completion | {"object": "chat.completion.chunk", "choices": choices}


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


def _texts(value: Any, kind: str = "text") -> list[str]:
    """Return the texts of a string, or of a list of content parts (Mistral) those of one kind."""
    if isinstance(value, str):
        return [value] if value and kind == "text" else []
    return [text for part in _dicts(value) for text in _part_texts(part, kind)]


def _part_texts(part: dict[str, Any], kind: str) -> Iterable[str]:
    inner = part.get(kind)
    return _texts(inner) if part.get("type") == kind else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None
