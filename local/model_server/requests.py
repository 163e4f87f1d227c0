"""A chat request, checked field by field."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from local.model_server.errors import Refused

MOST_MESSAGES = 2_000
MOST_STOPS = 4


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """What of OpenAI's protocol and of vLLM's is served; what would change an answer and is not served is refused."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    model: str = Field(max_length=4_096)
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=MOST_MESSAGES)
    tools: list[dict[str, Any]] | None = None
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    seed: int | None = None
    stop: tuple[str, ...] = Field(default=(), max_length=MOST_STOPS)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=1)
    frequency_penalty: float | None = Field(default=None, ge=0, le=0)
    presence_penalty: float | None = Field(default=None, ge=0, le=0)

    @field_validator("stop", mode="before")
    @classmethod
    def _list_stops(cls, value: object) -> object:
        stops = [value] if isinstance(value, str) else value or []
        return [stop for stop in stops if stop] if isinstance(stops, list) else stops

    @field_validator("messages")
    @classmethod
    def _check_roles(cls, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not all(isinstance(message.get("role"), str) for message in messages):
            raise ValueError("each message needs a 'role'")
        return messages

    @property
    def most_tokens(self) -> int | None:
        """Return how many tokens the answer may have; None for as many as fit."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def includes_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


def read_request(body: bytes) -> ChatRequest:
    """Read a chat request.

    Raises:
        Refused: with the field that is wrong.
    """
    try:
        return ChatRequest.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Refused(400, f"{field or 'the body'}: {first['msg']}", "invalid_value", field or None) from error
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}", "invalid_json") from error
