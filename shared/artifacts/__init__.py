"""The one way to files that another process wrote: fetch an artifact by its address, store a folder under one.

An artifact is a folder with a `manifest.json` that lists every file by size and SHA-256. Addresses are those of
fsspec (`s3://bucket/prefix`), MLflow's (`mlflow-artifacts:`, `runs:`, `models:`), `file:`, or a plain path.
"""

from pathlib import Path
from typing import Any

from shared.artifacts.cache import Cache
from shared.artifacts.errors import (
    ArtifactCorrupt,
    ArtifactDenied,
    ArtifactNotFound,
    ArtifactStoreUnavailable,
    ArtifactTooLarge,
)
from shared.artifacts.manifest import Files, calculate_content_sha256, load_manifest, verify_files, write_manifest
from shared.artifacts.storage import find_local_folder, locate_folder, open_storage
from shared.artifacts.weights import WeightsNotFound, calculate_weights_sha256
from shared.settings import Settings

__all__ = [
    "ArtifactCorrupt",
    "ArtifactDenied",
    "ArtifactNotFound",
    "ArtifactStoreUnavailable",
    "ArtifactTooLarge",
    "Artifacts",
    "WeightsNotFound",
    "calculate_weights_sha256",
    "locate_folder",
    "open_artifacts",
]


def open_artifacts(settings: Settings) -> "Artifacts":
    """Open the deployment's artifacts, with the cache in its home."""
    return Artifacts(
        settings.home.absolute() / "artifacts",
        max_cache_bytes=settings.artifact_cache_bytes,
        tracking_uri=settings.mlflow_tracking_uri,
    )


class Artifacts:
    """The artifacts of a deployment, with a cache on this machine's disk."""

    def __init__(
        self,
        cache: Path,
        *,
        max_cache_bytes: int,
        tracking_uri: str | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        """Take the cache's folder; `tracking_uri` is MLflow's, `storage_options` go to fsspec's drivers."""
        self._cache = Cache(cache, max_cache_bytes)
        self._tracking_uri, self._options = tracking_uri, storage_options or {}

    def fetch(self, uri: str, content_sha256: str | None = None) -> Path:
        """Return a local folder with the artifact's files, each verified against the manifest.

        A local folder is verified where it is and not copied. `content_sha256`: what the manifest itself must hash to.

        Raises:
            ArtifactNotFound: nothing is there, or no manifest: a store that was interrupted leaves none.
            ArtifactDenied: wrong credentials.
            ArtifactCorrupt: the files are not those of the manifest, or the manifest not the one that was asked for.
            ArtifactTooLarge: the cache or the disk has no room.
            ArtifactStoreUnavailable: the store did not answer; trying again may help.
        """
        if local := find_local_folder(uri):
            files = _expect(load_manifest(local), uri, content_sha256)
            verify_files(local, files)
            return local
        storage = open_storage(uri, self._options, self._tracking_uri)
        files = _expect(storage.load_manifest(), uri, content_sha256)
        return self._cache.fetch(files, lambda folder: storage.download(files, folder))

    def store(self, folder: Path, uri: str) -> str:
        """Copy a folder to an address, its manifest last, and return the hash that it is known by.

        Storing the same folder again is harmless. A local address that is the folder itself only gets its manifest.

        Raises:
            ArtifactDenied, ArtifactTooLarge, ArtifactStoreUnavailable: as for `fetch`.
            ArtifactNotFound: there is no such bucket.
        """
        files = write_manifest(folder)
        if find_local_folder(uri) != folder:
            open_storage(uri, self._options, self._tracking_uri).upload(folder, files)
        return calculate_content_sha256(files)

    def close(self) -> None:
        """Let go of what was fetched: the cache may remove it."""
        self._cache.close()


def _expect(files: Files, uri: str, content_sha256: str | None) -> Files:
    if content_sha256 is not None and calculate_content_sha256(files) != content_sha256:
        raise ArtifactCorrupt(f"{uri} is another artifact than the one that was asked for")
    return files
