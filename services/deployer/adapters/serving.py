"""Chooses how this deployment serves its versions."""

import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from services.deployer.adapters.candidate_files import CandidateFiles
from services.deployer.adapters.gateways import have_gateways_flipped
from services.deployer.adapters.openai_endpoints import OpenAIEndpoints
from services.deployer.adapters.vllm import Adapter, VllmReplicas
from services.deployer.ports import LoadGeneration
from services.deployer.settings import DeployerSettings
from shared.artifacts import check_weights
from shared.artifacts.models import ADAPTER, is_adapter
from shared.registry import ModelVersion
from shared.settings import Settings

DNS = "dns+"
"""Before a replica's URL: every address that its host name has is a replica of its own."""


def open_serving(
    settings: Settings, own: DeployerSettings, files: CandidateFiles, load_generation: LoadGeneration
) -> OpenAIEndpoints | VllmReplicas:
    """Open the model servers that the settings name."""
    key, urls, deadline = own.model_server_key.get_secret_value(), settings.model_server_urls, own.answer_seconds
    if own.serving == "endpoints":
        return OpenAIEndpoints(urls, key, deadline_seconds=deadline)
    locate = locate_model if own.serving == "local" else partial(locate_adapter, by_address=own.adapters_by_address)
    return VllmReplicas(
        urls[0],
        partial(list_replicas, own.replica_urls or urls),
        partial(locate, files),
        settings.family,
        key=key,
        drain_seconds=own.drain_seconds,
        have_flipped=lambda: have_gateways_flipped(list_replicas(own.gateway_urls), load_generation),
        deadline_seconds=deadline,
        start_empty=own.serving == "local",
        have_agents=own.adapters_by_address,
    )


def list_replicas(urls: Sequence[str]) -> list[str]:
    """List each replica's base URL; `dns+http://host:port/v1` stands for all addresses of the host.

    Raises:
        OSError: a name cannot be resolved.
    """
    return [replica for url in urls for replica in _resolve(url)]


def _resolve(url: str) -> list[str]:
    if not url.startswith(DNS):
        return [url]
    parts = urlsplit(url.removeprefix(DNS))
    found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    hosts = sorted({str(address[4][0]) for address in found})
    named = [f"[{host}]:{parts.port}" if ":" in host else f"{host}:{parts.port}" for host in hosts]
    return [urlunsplit(parts._replace(netloc=host)) for host in named]


def locate_adapter(files: CandidateFiles, version: ModelVersion, *, by_address: bool) -> Adapter | None:
    """Say where replicas read a version's adapter from; None for whole weights, which they were started with.

    Its files are fetched, and so verified, here in either case.

    Args:
        by_address: replicas have an agent that fetches (`serving_agent`); else they read the same disk as we.

    Raises: as `CandidateFiles.check` and `Artifacts.fetch`.
    """
    content = version.tags.get("content_sha256")
    if "adopted" in version.tags:
        return None
    files.check(version)
    folder = files.artifacts.fetch(version.artifact_uri, content, unlisted=True)
    if not is_adapter(folder):
        return None
    return Adapter(version.artifact_uri, content) if by_address else Adapter(str(Path(folder).resolve() / ADAPTER))


def locate_model(files: CandidateFiles, version: ModelVersion) -> Adapter:
    """Say where the local server reads a version from, whatever it is; its files and its base's are verified first.

    Raises: as `CandidateFiles.check` and `Artifacts.fetch_model`.
    """
    files.check(version)
    content = version.tags.get("content_sha256")
    folder = files.artifacts.fetch_model(version.artifact_uri, content)
    check_weights(folder, version.tags.get("weights_sha256") if content is None else None)
    return Adapter(str(folder), is_whole=not is_adapter(folder))
