"""The one way to files that another process wrote: fetch an artifact by its address, store a folder under one.

An artifact is a folder with a `manifest.json` that lists every file by size and SHA-256. Addresses are those of
fsspec (`s3://bucket/prefix`), MLflow's (`mlflow-artifacts:`, `runs:`, `models:`), a hub's model at a pinned commit
(`hf://owner/name@commit`), `file:`, or a plain path. `HELIOTROPE_ARTIFACTS_URI` is where a deployment stores its own.
"""

import shutil
from pathlib import Path
from typing import Any

from shared.artifacts import hub, models
from shared.artifacts.cache import Cache
from shared.artifacts.errors import (
    ArtifactCorrupt,
    ArtifactDenied,
    ArtifactNotFound,
    ArtifactStoreUnavailable,
    ArtifactTooLarge,
)
from shared.artifacts.manifest import (
    Files,
    Note,
    calculate_content_sha256,
    lists_files,
    load_manifest,
    verify_files,
    write_manifest,
)
from shared.artifacts.storage import FsspecStorage, Storage, find_local_folder, locate_folder, open_storage, translate
from shared.artifacts.weights import WeightsNotFound, calculate_weights_sha256, check_weights
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
    "check_weights",
    "find_local_folder",
    "locate_folder",
    "open_artifacts",
]


def open_artifacts(settings: Settings) -> "Artifacts":
    """Open the deployment's artifacts, with the cache in its home."""
    return Artifacts(
        settings.home.absolute() / "artifacts",
        max_cache_bytes=settings.artifact_cache_bytes,
        root=settings.artifacts_uri,
        tracking_uri=settings.mlflow_tracking_uri,
    )


class Artifacts:
    """The artifacts of a deployment, with a cache on this machine's disk."""

    def __init__(
        self,
        cache: Path,
        *,
        max_cache_bytes: int,
        root: str | None = None,
        tracking_uri: str | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        """Prepare to fetch and store.

        Args:
            cache: folder for what is fetched.
            root: address that this deployment stores under; None where all its processes share one disk.
            tracking_uri: MLflow's.
            storage_options: for fsspec's drivers.
        """
        self._cache, self._folder = Cache(cache, max_cache_bytes), cache
        self._root = root.rstrip("/") if root else None
        self._tracking_uri, self._options = tracking_uri, storage_options or {}

    @property
    def is_shared(self) -> bool:
        """Whether what is stored can be fetched by a process on another machine."""
        return self._root is not None

    def locate(self, place: str) -> str:
        """Return the address of a place under the root, for instance `datasets/<hash>`. Call where `is_shared`."""
        assert self._root is not None
        return f"{self._root}/{place}"

    def is_reachable(self, uri: str) -> bool:
        """Tell whether another machine finds what is at an address: a local folder only under a root that is one."""
        shares_disk = self._root is not None and find_local_folder(self._root) is not None
        return shares_disk or find_local_folder(uri) is None

    def fetch(self, uri: str, content_sha256: str | None = None, *, unlisted: bool = False) -> Path:
        """Return a local folder with the artifact's files, each verified against the manifest.

        A local folder is verified where it is and not copied.

        Args:
            uri: as the module says, or `hf://owner/name@commit`.
            content_sha256: what the manifest itself must hash to.
            unlisted: take a local folder whose manifest lists no files as it is: made by hand, or by release 0.1.0.

        Raises:
            ArtifactNotFound: nothing is there, or no manifest: a store that was interrupted leaves none.
            ArtifactDenied: wrong credentials.
            ArtifactCorrupt: the files are not those of the manifest, or the manifest not the one that was asked for.
            ArtifactTooLarge: the cache or the disk has no room.
            ArtifactStoreUnavailable: the store did not answer; trying again may help.
        """
        if uri.startswith(hub.SCHEME):
            return hub.fetch_model(uri, self._folder / "hub")
        if local := find_local_folder(uri):
            if unlisted and not lists_files(local):
                return local
            files = _expect(load_manifest(local), uri, content_sha256)
            verify_files(local, files)
            return local
        storage = self._open(uri)
        files = _expect(storage.load_manifest(), uri, content_sha256)
        return self._cache.fetch(files, lambda folder: storage.download(files, folder))

    def fetch_model(self, uri: str, content_sha256: str | None = None) -> Path:
        """Fetch a model's files and, of an adapter, its base's; returns the folder to read it through (`models`).

        Raises: as `fetch`.
        """
        return models.fetch_model(self.fetch, uri, content_sha256, self._folder / "views", check_weights)

    def download(self, uri: str, folder: Path) -> str:
        """Copy an artifact into a folder that is not there yet, for those who go on writing in it; verified.

        Returns the hash that what was copied is known by.

        Raises: as `fetch`.
        """
        storage = self._open(uri)
        files = storage.load_manifest()
        draft = folder.with_name(f".{folder.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        with translate(uri):
            storage.download(files, draft)
            verify_files(draft, files)
            draft.rename(folder)
        return calculate_content_sha256(files)

    def copy_unlisted(self, uri: str, folder: Path) -> None:
        """Copy what is at an address, as it is, into a folder that is not there yet: files of other people's making.

        Raises:
            ArtifactNotFound: nothing is there, or the address is of a store that has manifests only.
            ArtifactDenied, ArtifactCorrupt, ArtifactTooLarge, ArtifactStoreUnavailable: as `fetch`.
        """
        storage = self._open(uri)
        if not isinstance(storage, FsspecStorage):
            raise ArtifactNotFound(f"nothing at {uri} without a manifest")
        folder.mkdir(parents=True)
        storage.copy_unlisted(folder)

    def store(self, folder: Path, place: str) -> str:
        """Write the folder's manifest, copy it to its place under the root, and return the address it is fetched by.

        Without a root it stays where it is, and that is its address. Storing the same folder again is harmless.

        Raises: as `upload`.
        """
        if self._root is None:
            write_manifest(folder)
            return str(folder)
        self.upload(folder, self.locate(place))
        return self.locate(place)

    def upload(self, folder: Path, uri: str, note: Note | None = None) -> str:
        """Copy a folder to an address, its manifest last, and return the hash that it is known by.

        Uploading the same folder again is harmless. A local address that is the folder itself only gets its manifest.

        `note`: what the manifest is to say beside the files.

        Raises:
            ArtifactDenied, ArtifactTooLarge, ArtifactStoreUnavailable: as for `fetch`.
            ArtifactNotFound: there is no such bucket.
        """
        files = write_manifest(folder, note)
        if find_local_folder(uri) != folder:
            self._open(uri).upload(folder, files)
        return calculate_content_sha256(files)

    def delete(self, uri: str) -> None:
        """Delete an artifact; harmless where nothing is. What is cached of it goes when room is needed.

        Raises: as `fetch`, and OSError for a local folder that cannot be deleted.
        """
        if local := find_local_folder(uri):
            shutil.rmtree(local, ignore_errors=True)
            if local.exists():
                raise OSError(f"could not delete {local}")
        else:
            self._open(uri).delete()

    def list_below(self, uri: str) -> list[str]:
        """List the complete artifacts below an address, by their paths relative to it, sorted. Raises: as `fetch`."""
        return self._open(uri).list_below()

    def _open(self, uri: str) -> Storage:
        return open_storage(uri, self._options, self._tracking_uri)

    def drop(self, folder: Path) -> None:
        """Delete a fetched copy that nobody else on this machine holds; a folder that was not copied stays.

        For what people may want erased, which must not lie in caches.
        """
        self._cache.drop(folder)

    def drop_unused(self, file: str) -> None:
        """Delete the fetched copies with a file of this name that no process on this machine holds.

        What a reader that was killed could not drop: a dataset, say, whose user is erased meanwhile.
        """
        self._cache.drop_unused(file)

    def close(self) -> None:
        """Let go of what was fetched: the cache may remove it."""
        self._cache.close()


def _expect(files: Files, uri: str, content_sha256: str | None) -> Files:
    if content_sha256 is not None and calculate_content_sha256(files) != content_sha256:
        raise ArtifactCorrupt(f"{uri} is another artifact than the one that was asked for")
    return files
