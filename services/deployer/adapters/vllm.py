"""vLLM, and the local stack's server: each version's adapter under a name of its own, on every replica.

Never under the name of another one: vLLM's prefix cache is keyed by name, and would answer stale.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import httpx
import structlog

from services.deployer.adapters.openai_endpoints import ask_for_a_token, open_client
from shared.errors import HeliotropeError, Unavailable
from shared.events import Route, RoutingTable
from shared.registry import ModelVersion

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Adapter:
    """Where a replica reads an adapter from; of a replica that starts empty, whole weights too."""

    path: str
    content_sha256: str | None = None
    """For an agent that fetches: what its manifest must hash to."""
    is_whole: bool = False
    """Whether it is no adapter, and goes by the name that it was registered with."""


Locate = Callable[[ModelVersion], Adapter | None]
"""None for whole weights, which the replicas were started with."""


class NotServed(HeliotropeError):
    """A replica does not serve what it was told to."""

    title = "Not served"


class VllmReplicas:
    """Replicas of one vLLM behind one address; each is told, and asked, by its own."""

    def __init__(
        self,
        base_url: str,
        list_replicas: Callable[[], Sequence[str]],
        locate: Locate,
        family: str,
        *,
        key: str = "",
        drain_seconds: float,
        have_flipped: Callable[[], bool],
        deadline_seconds: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        start_empty: bool = False,
        have_agents: bool = False,
    ) -> None:
        """Prepare.

        Args:
            base_url: what gateways are told.
            list_replicas: their own base URLs, which may change as replicas come and go.
            drain_seconds: from when nobody is routed to an adapter to when it is unloaded.
            have_flipped: whether every gateway has answered by the table in force; nothing is unloaded before.
            clock: seconds.
            start_empty: replicas serve nothing but what they were told to load.
            have_agents: replicas are told what is wanted of them, and are not ready before they serve it.
        """
        self._base_url, self._list_replicas, self._locate = base_url, list_replicas, locate
        self._prefix, self._drain_seconds, self._have_flipped = f"{family}-v", drain_seconds, have_flipped
        self._loaded_by_us = "" if start_empty else self._prefix
        self._have_agents = have_agents
        self._clock, self._client = clock, open_client(key, deadline_seconds)
        self._unwanted_since: dict[str, float] = {}

    def serve(self, version: ModelVersion, table: RoutingTable) -> Route:
        adapter = self._locate(version)
        model = version.served_model if adapter is None or adapter.is_whole else self.name_adapter(version)
        replicas = self._list_replicas()
        if not replicas:
            raise Unavailable("no replica of the model server is known")
        for replica in replicas:
            if adapter is not None:
                self._load(replica, model, adapter)
            self._verify(replica, model)
        return Route(version=version.version, model=model, base_url=self._base_url)

    def name_adapter(self, version: ModelVersion) -> str:
        """Return the name that a version's adapter is loaded under."""
        return f"{self._prefix}{version.version}"

    def maintain(self, wanted: Sequence[tuple[ModelVersion, Route]]) -> int:
        adapters = {route.model: version for version, route in wanted if route.model.startswith(self._loaded_by_us)}
        there = self._ask_replicas(sorted(adapters))
        outdated = self._find_outdated(adapters.keys(), there) if wanted else set()
        moved = 0
        for replica, loaded in there.items():
            for model in adapters.keys() - loaded:
                moved += self._put_back(replica, model, adapters[model])
            for model in loaded & outdated:
                self._unload(replica, model)
                moved += 1
        return moved

    def _ask_replicas(self, wanted: list[str]) -> dict[str, set[str]]:
        """Tell agents what is wanted, and ask what is loaded; who does not answer waits for the next turn."""
        there = {}
        for replica in self._list_replicas():
            try:
                if self._have_agents:
                    self._client.post(f"{replica}/wanted_adapters", json={"lora_names": wanted}).raise_for_status()
                there[replica] = self._list_models(replica)
            except httpx.HTTPError as error:
                logger.warning("replica_not_asked", replica=replica, error=repr(error))
        return there

    def _find_outdated(self, wanted: Collection[str], there: Mapping[str, set[str]]) -> set[str]:
        """Return the adapters that nobody has been routed to for long enough."""
        now = self._clock()
        seen = set().union(*there.values())
        unwanted = {model for model in seen if model.startswith(self._loaded_by_us) and model not in wanted}
        self._unwanted_since = {model: self._unwanted_since.get(model, now) for model in unwanted}
        if not unwanted or not self._have_flipped():
            return set()
        return {model for model, since in self._unwanted_since.items() if now - since >= self._drain_seconds}

    def _put_back(self, replica: str, model: str, version: ModelVersion) -> int:
        adapter = self._locate(version)
        if adapter is None:
            return 0
        self._load(replica, model, adapter)
        self._verify(replica, model)
        logger.warning("adapter_put_back", replica=replica, model=model)
        return 1

    def _list_models(self, replica: str) -> set[str]:
        response = self._client.get(f"{replica}/models")
        response.raise_for_status()
        return {str(model["id"]) for model in response.json()["data"]}

    def _load(self, replica: str, model: str, adapter: Adapter) -> None:
        """Load unless it is there: an adapter's name stands for one content for ever."""
        if model in self._list_models(replica):
            return
        body = {"lora_name": model, "lora_path": adapter.path}
        body |= {"content_sha256": adapter.content_sha256} if adapter.content_sha256 else {}
        response = self._client.post(f"{replica}/load_lora_adapter", json=body)
        if response.is_error:
            said = f"{response.status_code} {response.text[:300]}"
            raise NotServed(f"{replica} did not load {model} from {adapter.path}: {said}")
        logger.info("adapter_loaded", replica=replica, model=model)

    def _verify(self, replica: str, model: str) -> None:
        if model not in self._list_models(replica):
            raise NotServed(f"{replica} does not list {model}")
        ask_for_a_token(self._client, replica, model)

    def _unload(self, replica: str, model: str) -> None:
        response = self._client.post(f"{replica}/unload_lora_adapter", json={"lora_name": model})
        if response.is_error and response.status_code != httpx.codes.NOT_FOUND:
            raise NotServed(f"{replica} did not unload {model}: {response.status_code} {response.text[:300]}")
        logger.info("adapter_unloaded", replica=replica, model=model)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
