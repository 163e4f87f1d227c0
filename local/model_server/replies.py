"""Answers in OpenAI's form."""

import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from local.model_server.batch import End, Piece
from local.model_server.models import Served
from local.model_server.sampling import Likelihood

DONE = b"data: [DONE]\n\n"


def list_models(served: Iterable[Served]) -> dict[str, Any]:
    """List the names; an adapter says what it goes on, as vLLM's do."""
    models = [
        {
            "id": each.name,
            "object": "model",
            "created": each.since,
            "owned_by": "heliotrope",
            "root": str(each.source),
            "max_model_len": each.base.context,
        }
        for each in served
    ]
    return {"object": "list", "data": models}


@dataclass(frozen=True)
class Reply:
    """One answer to one request."""

    model: str
    tokenizer: Any
    prompt_tokens: int
    tells_likelihood: bool
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def complete(self, pieces: list[Piece], end: End) -> dict[str, Any]:
        """Return the whole answer."""
        message = {"role": "assistant", "content": "".join(piece.text for piece in pieces)}
        choice = {"index": 0, "message": message, "finish_reason": end.reason, "logprobs": self._tell_all(pieces)}
        return self._frame("chat.completion", [choice]) | {"usage": self._count(end)}

    def begin(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""}, None, None)

    def go_on(self, piece: Piece) -> bytes:
        return self._chunk({"content": piece.text}, None, self._tell_all([piece]))

    def end(self, end: End, *, includes_usage: bool) -> Iterable[bytes]:
        yield self._chunk({}, end.reason, None)
        if includes_usage:
            yield _encode(self._frame("chat.completion.chunk", []) | {"usage": self._count(end)})
        yield DONE

    def _chunk(self, delta: dict[str, Any], reason: str | None, logprobs: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": logprobs}
        return _encode(self._frame("chat.completion.chunk", [choice]))

    def _frame(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}

    def _count(self, end: End) -> dict[str, int]:
        total = self.prompt_tokens + end.tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": end.tokens, "total_tokens": total}

    def _tell_all(self, pieces: list[Piece]) -> dict[str, Any] | None:
        if not self.tells_likelihood:
            return None
        return {"content": [self._tell(piece.likelihood) for piece in pieces if piece.likelihood]}

    def _tell(self, likelihood: Likelihood) -> dict[str, Any]:
        likeliest = [self._name(token) | {"logprob": logprob} for token, logprob in likelihood.likeliest]
        return self._name(likelihood.token) | {"logprob": likelihood.logprob, "top_logprobs": likeliest}

    def _name(self, token: int) -> dict[str, Any]:
        text = self.tokenizer.decode([token])
        return {"token": text, "bytes": list(text.encode())}


def _encode(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()
