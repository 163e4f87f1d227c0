"""The services as the demo's people use them: over HTTP, each with the key of a role.

They do what a careful front end does. A feedback event carries an id of the client's making, and what was not answered
is sent again under the same id, until a deadline. A chat that failed is simply asked again. Both are counted.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from local.layout import Layout

TIMEOUT = httpx.Timeout(180, connect=10)
PATIENCE_SECONDS = 120.0
"""How long one request is sent again before the demo gives up."""
PAUSE_SECONDS = 0.5
PASSING = (429, 502, 503, 504)
"""Answers that say: not now."""


class DemoFailed(RuntimeError):
    """The loop did not do what it should; the message says which stage, and what was seen."""


class Refused(DemoFailed):
    """A service said no, and asking again would not help."""

    def __init__(self, told: str, status: int) -> None:
        super().__init__(told)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """One answer that the gateway gave, and the version that wrote it."""

    interaction_id: str
    text: str
    model_version: str


class Apis:
    """HTTP clients of one stack; `credentials` maps role to key."""

    def __init__(
        self,
        layout: Layout,
        credentials: Mapping[str, str],
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._layout = layout
        self._credentials = credentials
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        self._client = httpx.AsyncClient(timeout=TIMEOUT, limits=limits, transport=transport)
        self.sent_again: Counter[str] = Counter()
        """By service: requests that were not answered, or answered with "not now"."""

    async def close(self) -> None:
        await self._client.aclose()

    async def request(
        self,
        service: str,
        role: str,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request until it is answered.

        Raises:
            Refused: it was refused.
            DemoFailed: it was not answered for too long.
        """
        url = f"{self._layout.url(service)}{path}"
        sent = {"authorization": f"Bearer {self._credentials[role]}", **(headers or {})}
        give_up_at = time.monotonic() + self._patience_seconds
        while True:
            pause = PAUSE_SECONDS
            try:
                response = await self._client.request(method, url, json=body, headers=sent)
            except httpx.TransportError as error:
                problem = f"got no answer: {error!r}"
            else:
                if response.status_code < 400:
                    return response
                problem = f"answered {response.status_code}: {response.text[:500]}"
                if response.status_code not in PASSING:
                    raise Refused(f"{method} {url} {problem}", response.status_code)
                pause = float(response.headers.get("retry-after", PAUSE_SECONDS))
            if time.monotonic() > give_up_at:
                raise DemoFailed(f"{method} {url}, sent again for {self._patience_seconds:.0f} s, {problem}")
            self.sent_again[service] += 1
            await asyncio.sleep(pause)

    async def read(self, service: str, path: str, role: str = "ops") -> Any:
        return (await self.request(service, role, "GET", path)).json()

    async def chat(
        self, messages: list[dict[str, str]], *, user: str, max_tokens: int, version: str | None = None
    ) -> Answer:
        """Ask through the gateway; as a user, or as an operator for one version (which is not recorded)."""
        body = {"model": version or "heliotrope", "messages": messages, "user": user, "max_tokens": max_tokens}
        response = await self.request(
            "gateway", "ops" if version else "frontend", "POST", "/v1/chat/completions", body=body
        )
        content = response.json()
        told = content["heliotrope"]
        return Answer(
            interaction_id=next(iter(told["interaction_ids"]), ""),
            text=content["choices"][0]["message"]["content"] or "",
            model_version=told["model_version"],
        )

    async def send_feedback(self, event: Mapping[str, Any]) -> str:
        """Post one feedback event; return its id, once it is accepted."""
        response = await self.request("ingest", "frontend", "POST", "/v1/feedback", body=dict(event))
        return str(response.json()["event_id"])

    async def send_feedback_batch(self, events: list[dict[str, Any]]) -> list[str]:
        """Post several events at once, and those that were not stored again; return the ids, once all are accepted.

        Raises:
            DemoFailed: one was rejected, or not stored for too long.
        """
        give_up_at = time.monotonic() + self._patience_seconds
        waiting = events
        while waiting:
            response = await self.request("ingest", "frontend", "POST", "/v1/feedback/batch", body={"events": waiting})
            outcomes = response.json()["outcomes"]
            late = time.monotonic() > give_up_at
            for outcome in outcomes:
                if outcome["outcome"] == "rejected" or (late and outcome["outcome"] == "retry"):
                    raise DemoFailed(f"a batch of feedback was not accepted whole: {outcome}")
            waiting = [event for event, outcome in zip(waiting, outcomes, strict=True) if outcome["outcome"] == "retry"]
            if waiting:
                self.sent_again["ingest"] += 1
                await asyncio.sleep(PAUSE_SECONDS)
        return [str(event["event_id"]) for event in events]
