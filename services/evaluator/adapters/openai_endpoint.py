"""Any server of OpenAI's chat protocol: as a model that answers prompts, and as a judge."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from services.evaluator.ports import EndpointFailed, Reply
from shared.conversation import Tool
from shared.errors import InvalidRequest
from shared.events import Message
from shared.finishes import classify_finish
from shared.rubric import derive_request, read_preference

TIMEOUT = httpx.Timeout(300.0, connect=5.0)
TRIES = 3
PAUSE_SECONDS = 1.0
DETAIL_LIMIT = 200
TOO_LONG = "context_length_exceeded"
JUDGE_TOKENS = 1_024
"""Room to think before the verdict."""


@dataclass(frozen=True)
class Place:
    """A model of a server: `base_url` ends with the protocol's version, as in `http://127.0.0.1:8000/v1`."""

    base_url: str
    model: str

    @property
    def name(self) -> str:
        return f"{self.base_url}#{self.model}"


def is_endpoint(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def parse_place(place: str) -> Place:
    """Parse `http://host/v1#model`.

    Raises:
        InvalidRequest: it names no host or no model.
    """
    parts = urlsplit(place)
    if not is_endpoint(place) or not parts.hostname or not parts.fragment:
        raise InvalidRequest(f"{place!r} is no endpoint: write http://HOST:PORT/v1#MODEL")
    if parts.username or parts.password:
        raise InvalidRequest(f"{parts.hostname}: give its key in the environment, not in its address")
    return Place(place.partition("#")[0].rstrip("/"), parts.fragment)


@dataclass(frozen=True)
class OpenAIEndpoint:
    """Asks one model of a server; safe for several threads."""

    place: Place
    key: str = ""
    transport: httpx.BaseTransport | None = None
    pause_seconds: float = PAUSE_SECONDS
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        client = httpx.Client(timeout=TIMEOUT, headers=headers, transport=self.transport)
        object.__setattr__(self, "client", client)

    def answer(
        self, messages: Sequence[Message], *, max_tokens: int, seed: int, greedy: bool, tools: Sequence[Tool] = ()
    ) -> Reply:
        """Ask once; a prompt that the server finds too long has no answer.

        Raises:
            EndpointFailed: it cannot be reached, refuses, or answers something else, three times.
        """
        body: dict[str, Any] = {
            "model": self.place.model, "messages": list(messages), "max_tokens": max_tokens, "seed": seed,
        }  # fmt: skip
        body |= {"temperature": 0} if greedy else {}
        body |= {"tools": list(tools)} if tools else {}
        problem = ""
        for attempt in range(TRIES):
            time.sleep(self.pause_seconds * attempt)
            started = time.monotonic()
            try:
                response = self.client.post(f"{self.place.base_url}/chat/completions", json=body)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__} {error}".strip()
                continue
            if response.status_code == httpx.codes.OK:
                return _read(response, time.monotonic() - started, self.place)
            problem = f"HTTP {response.status_code} {response.text[:DETAIL_LIMIT]}".strip()
            if response.status_code == httpx.codes.BAD_REQUEST and TOO_LONG in response.text:
                return Reply(text=None)
            if response.is_client_error and response.status_code not in (408, 429):
                break
        raise EndpointFailed(f"{self.place.name}: {problem}")

    def close(self) -> None:
        self.client.close()


def _read(response: httpx.Response, seconds: float, place: Place) -> Reply:
    try:
        content = response.json()
        choice = content["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        if calls := message.get("tool_calls"):
            text = "\n".join([*([text] if text else []), *(json.dumps(call.get("function")) for call in calls)])
        tokens = (content.get("usage") or {}).get("completion_tokens")
        finish = choice.get("finish_reason")
        ending = classify_finish(finish if isinstance(finish, str) else None)
        if ending == "failed":
            raise ValueError(f"generation broke off: {finish}")
        if not isinstance(text, str):
            raise TypeError("the content is no text")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise EndpointFailed(f"{place.name}: its answer is not of OpenAI's protocol ({error!r})") from error
    count = tokens if isinstance(tokens, int) else None
    return Reply(text=text.strip(), token_count=count, is_cut=ending != "whole", seconds=seconds)


@dataclass(frozen=True)
class EndpointJudge:
    """A judge with a rubric. A reply that names no winner, or several, is asked for once more."""

    endpoint: OpenAIEndpoint
    seed: int = 0

    @property
    def name(self) -> str:
        return self.endpoint.place.name

    def prefer(self, messages: list[Message], first: str, second: str) -> float | None:
        request = derive_request(messages, first, second)
        for seed in (self.seed, self.seed + 1):
            reply = self.endpoint.answer(request, max_tokens=JUDGE_TOKENS, seed=seed, greedy=seed == self.seed)
            preference = read_preference(reply.text or "")
            if preference is not None:
                return preference
        return None
