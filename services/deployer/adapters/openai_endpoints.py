"""Model servers over the OpenAI protocol whose models are their own affair: they serve whatever name a request has."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx

from services.deployer.domain.routing import choose_server
from shared.artifacts import Artifacts
from shared.artifacts.models import is_adapter
from shared.errors import Unavailable
from shared.events import Route, RoutingTable
from shared.registry import ModelVersion

MERGE_SECONDS = 600.0


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


class LocalServers(OpenAIEndpoints):
    """The servers of a local stack, which load a folder of whole weights by its path: adapters are merged for them."""

    def __init__(
        self, urls: Sequence[str], artifacts: Artifacts, folder: Path, merge: Sequence[str], *, deadline_seconds: float
    ) -> None:
        """Take the folder for merged weights, and the command that is given an address and a folder to merge into."""
        super().__init__(urls, deadline_seconds=deadline_seconds)
        self._artifacts, self._folder, self._merge = artifacts, folder, list(merge)

    def find_model(self, version: ModelVersion) -> str:
        model = self._artifacts.fetch_model(version.artifact_uri, version.tags.get("content_sha256"))
        if not is_adapter(model):
            return str(model)
        target = self._folder / f"{version.version}-{version.tags.get('weights_sha256', '')[:16]}"
        if not target.is_dir():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._run_merge(version, target)
        return str(target)

    def _run_merge(self, version: ModelVersion, target: Path) -> None:
        command = [*self._merge, version.artifact_uri, str(target)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MERGE_SECONDS, check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["nothing"]
            raise Unavailable(f"version {version.version} could not be merged with its base: {said[0]}")
