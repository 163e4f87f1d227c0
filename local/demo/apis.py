"""The services as the demo's people use them: over HTTP, each with the key of a role."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from local.layout import Layout

TIMEOUT = httpx.Timeout(180, connect=10)
ATTEMPTS = 4


class DemoFailed(RuntimeError):
    """The loop did not do what it should; the message says which stage, and what was seen."""


@dataclass(frozen=True)
class Answer:
    """One answer that the gateway gave, and the version that wrote it."""

    interaction_id: str
    text: str
    model_version: str


class Apis:
    """HTTP clients of one stack; `credentials` maps role to key."""

    def __init__(self, layout: Layout, credentials: Mapping[str, str]) -> None:
        self._layout = layout
        self._credentials = credentials
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT, limits=limits, transport=httpx.AsyncHTTPTransport(retries=3, limits=limits)
        )

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
        """Send a request; a service that says 503 or 429 is asked again, a few times."""
        url = f"{self._layout.url(service)}{path}"
        sent = {"authorization": f"Bearer {self._credentials[role]}", **(headers or {})}
        for attempt in range(ATTEMPTS):
            response = await self._client.request(method, url, json=body, headers=sent)
            if response.status_code not in (429, 503) or attempt == ATTEMPTS - 1:
                break
            await asyncio.sleep(float(response.headers.get("retry-after", 1)))
        if response.status_code >= 400:
            raise DemoFailed(f"{method} {url} answered {response.status_code}: {response.text[:500]}")
        return response

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
        """Post one feedback event; its id, once it is accepted."""
        response = await self.request("ingest", "frontend", "POST", "/v1/feedback", body=dict(event))
        return str(response.json()["event_id"])

    async def send_feedback_batch(self, events: list[dict[str, Any]]) -> list[str]:
        """Post several events at once; the ids of those accepted.

        Raises:
            DemoFailed: one was rejected.
        """
        response = await self.request("ingest", "frontend", "POST", "/v1/feedback/batch", body={"events": events})
        outcomes = response.json()["outcomes"]
        if wrong := [outcome for outcome in outcomes if outcome["outcome"] != "accepted"]:
            raise DemoFailed(f"a batch of feedback was not accepted whole: {wrong[0]}")
        return [str(outcome["event_id"]) for outcome in outcomes]
