"""Model servers over the OpenAI protocol whose models are their own affair: they serve whatever name a request has."""

from collections.abc import Sequence

import httpx

from services.deployer.domain.routing import choose_server
from shared.events import Route, RoutingTable
from shared.registry import ModelVersion


def open_client(key: str, deadline_seconds: float) -> httpx.Client:
    """Open a client for model servers; `key` is empty where they ask for none."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(timeout=httpx.Timeout(deadline_seconds, connect=5.0), headers=headers)


def ask_for_a_token(client: httpx.Client, base_url: str, model: str) -> None:
    """Ask for one token. No sampling settings: those of a server's first request may hold for all later ones.

    Raises:
        httpx.HTTPError: the server did not answer, or not with success.
    """
    response = client.post(
        f"{base_url}/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1},
    )
    response.raise_for_status()


class OpenAIEndpoints:
    """Endpoints that load what they are asked for, or have it; the canary gets one that the champion is not on."""

    def __init__(self, urls: Sequence[str], key: str = "", *, deadline_seconds: float = 120.0) -> None:
        self.urls = list(urls)
        self._client = open_client(key, deadline_seconds)

    def serve(self, version: ModelVersion, table: RoutingTable) -> Route:
        route = Route(version=version.version, model=self.find_model(version), base_url=choose_server(table, self.urls))
        ask_for_a_token(self._client, route.base_url, route.model)
        return route

    def find_model(self, version: ModelVersion) -> str:
        """Return the name that a server knows the version by."""
        return version.served_model

    def maintain(self, wanted: Sequence[tuple[ModelVersion, Route]]) -> int:
        """Do nothing: such servers forget nothing that a request does not bring back."""
        return 0

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
