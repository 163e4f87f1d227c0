"""Where artifacts live: anything fsspec knows, MLflow's artifact store, or a pinned model of a hub."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlparse

import fsspec

from shared.artifacts.errors import (
    ArtifactCorrupt,
    ArtifactDenied,
    ArtifactNotFound,
    ArtifactStoreUnavailable,
    ArtifactTooLarge,
)
from shared.artifacts.manifest import MAX_BYTES, NAME, Files, read_manifest

MLFLOW_SCHEMES = ("mlflow-artifacts", "models", "runs")
FULL = (errno.ENOSPC, errno.EDQUOT)


def locate_folder(uri: str) -> Path:
    """Return the local folder that a URI names: a plain path or `file:`."""
    return Path(unquote(urlparse(uri).path)) if uri.startswith("file:") else Path(uri)


def find_local_folder(uri: str) -> Path | None:
    """Return the folder that a `file:` address or a plain path names; None for any other address."""
    scheme = urlparse(uri).scheme
    if scheme == "file":
        return Path(unquote(urlparse(uri).path))
    return None if (scheme and "://" in uri) or scheme in MLFLOW_SCHEMES else Path(uri)


class Storage(Protocol):
    """One artifact's place in a store."""

    def load_manifest(self) -> Files:
        """Read which files the artifact holds. Raises: ArtifactNotFound, ArtifactCorrupt and those of `translate`."""

    def download(self, files: Files, folder: Path) -> None:
        """Copy these files into an empty folder. Raises: those of `translate`."""

    def upload(self, folder: Path, files: Files) -> None:
        """Copy these files and then the folder's manifest: without it nobody takes an artifact for complete."""

    def delete(self) -> None:
        """Delete the artifact, its manifest first; harmless where nothing is."""

    def list_below(self) -> list[str]:
        """List the complete artifacts below this place, by their paths relative to it, sorted."""


@contextmanager
def translate(uri: str) -> Iterator[None]:
    """Turn a store's own errors into ours, with the address in them.

    Raises:
        ArtifactNotFound, ArtifactDenied, ArtifactTooLarge, ArtifactStoreUnavailable
    """
    try:
        yield
    except FileNotFoundError as error:
        raise ArtifactNotFound(f"nothing at {uri}: {_tell(error)}") from error
    except PermissionError as error:
        raise ArtifactDenied(f"no access to {uri}: {_tell(error)}") from error
    except OSError as error:
        if error.errno in FULL:
            raise ArtifactTooLarge(f"no space left while copying {uri}") from error
        raise ArtifactStoreUnavailable(f"{uri} could not be reached: {_tell(error)}") from error
    except Exception as error:  # botocore's own are no OSErrors, and it may not be installed
        if not type(error).__module__.startswith("botocore."):
            raise
        kind = ArtifactDenied if "Credential" in type(error).__name__ else ArtifactStoreUnavailable
        raise kind(f"{uri} could not be reached: {_tell(error)}") from error


def _tell(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


class FsspecStorage:
    """An address that fsspec knows: `s3://bucket/prefix`, `gs://...`, `memory://...`."""

    def __init__(self, uri: str, options: dict[str, Any]) -> None:
        """Raises: ArtifactStoreUnavailable: no driver for this address is installed."""
        own = {"auto_mkdir": True} if urlparse(uri).scheme in ("file", "local") else {}
        try:
            self._files, self._root = fsspec.core.url_to_fs(uri, use_listings_cache=False, **own, **options)
        except (ImportError, ValueError) as error:
            raise ArtifactStoreUnavailable(f"no driver for {uri}: {_tell(error)}") from error
        self._uri = uri

    def load_manifest(self) -> Files:
        with translate(self._uri):
            path = f"{self._root}/{NAME}"
            if self._files.size(path) > MAX_BYTES:
                raise ArtifactCorrupt(f"the manifest of {self._uri} is larger than {MAX_BYTES} bytes")
            return read_manifest(self._files.cat_file(path), self._uri)

    def download(self, files: Files, folder: Path) -> None:
        with translate(self._uri):
            for name in [*files, NAME]:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(f"{self._root}/{name}", str(target))

    def copy_unlisted(self, folder: Path) -> None:
        """Copy everything that is there into an empty folder, whatever lists it.

        Raises: ArtifactNotFound: nothing is there; and those of `translate`.
        """
        with translate(self._uri):
            found = self._files.find(self._root)
            if not found:
                raise FileNotFoundError(self._root)
            start = len(self._root.rstrip("/")) + 1
            for path in found:
                target = folder / path[start:]
                if not target.resolve().is_relative_to(folder.resolve()):
                    raise ArtifactCorrupt(f"{path} of {self._uri} leads out of it")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(path, str(target))

    def upload(self, folder: Path, files: Files) -> None:
        with translate(self._uri):
            for name in [*files, NAME]:
                self._files.put_file(str(folder / name), f"{self._root}/{name}")

    def delete(self) -> None:
        with translate(self._uri):
            for path in (f"{self._root}/{NAME}", self._root):
                with suppress(FileNotFoundError):
                    self._files.rm(path, recursive=path == self._root)

    def list_below(self) -> list[str]:
        with translate(self._uri):
            try:
                found = self._files.find(self._root)
            except FileNotFoundError:
                return []
        start = len(self._root.rstrip("/")) + 1
        return sorted(path[start:].removesuffix(f"/{NAME}") for path in found if path[start:].endswith(f"/{NAME}"))


class MlflowStorage:
    """`mlflow-artifacts:`, `runs:` and `models:` addresses, by MLflow's own client. Written through the registry."""

    def __init__(self, uri: str, tracking_uri: str | None) -> None:
        self._uri, self._tracking_uri = uri, tracking_uri

    def load_manifest(self) -> Files:
        import tempfile

        with tempfile.TemporaryDirectory() as name:
            return read_manifest(self._download(NAME, Path(name)).read_bytes(), self._uri)

    def download(self, files: Files, folder: Path) -> None:
        for name in [*files, NAME]:
            self._download(name, folder)

    def _download(self, name: str, folder: Path) -> Path:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        with translate(self._uri):
            try:
                return Path(
                    download_artifacts(
                        artifact_uri=f"{self._uri.rstrip('/')}/{name}",
                        dst_path=str((folder / name).parent),
                        tracking_uri=self._tracking_uri,
                    )
                )
            except MlflowException as error:
                raise _translate_mlflow(self._uri, error) from error

    def upload(self, folder: Path, files: Files) -> None:
        raise self._refuse()

    def delete(self) -> None:
        raise self._refuse()

    def list_below(self) -> list[str]:
        raise self._refuse()

    def _refuse(self) -> ArtifactDenied:
        return ArtifactDenied(f"{self._uri} is written and listed through the model registry, not as files")


def _translate_mlflow(uri: str, error: Any) -> Exception:
    status = error.get_http_status_code()
    if status == 404:
        return ArtifactNotFound(f"nothing at {uri}: {_tell(error)}")
    if status in (401, 403):
        return ArtifactDenied(f"no access to {uri}: {_tell(error)}")
    return ArtifactStoreUnavailable(f"{uri} could not be read: {_tell(error)}")


def open_storage(uri: str, options: dict[str, Any], tracking_uri: str | None) -> Storage:
    """Choose the driver of an address. Raises: ArtifactStoreUnavailable: none is installed."""
    if urlparse(uri).scheme in MLFLOW_SCHEMES:
        return MlflowStorage(uri, tracking_uri)
    return FsspecStorage(uri, options)
