"""The model servers, over the OpenAI protocol."""

import httpx

from shared.events import Route


class ModelServer:
    """Makes a server load a model before users meet it."""

    def __init__(self, *, deadline_seconds: float = 120.0) -> None:
        self._client = httpx.Client(timeout=httpx.Timeout(deadline_seconds, connect=5.0))

    def load(self, route: Route) -> None:
        """Ask for one token. No sampling settings: those of a server's first request may hold for all later ones.

        Raises:
            httpx.HTTPError: the server did not answer, or not with success.
        """
        response = self._client.post(
            f"{route.base_url}/chat/completions",
            json={"model": route.model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1},
        )
        response.raise_for_status()

    def close(self) -> None:
        self._client.close()
