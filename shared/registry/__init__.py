"""The model registry port: candidates, their lineage, and the two aliases. Adapters: `mlflow` and in-memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

RESTORES = "restores_version"
"""Tag of a registration that stands in for a deleted one of this number."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version; tags carry the lineage.

    Tags: `served_model` (the name its model server knows it by), `artifact_uri` (where its files are; without it,
    at `served_model`), `weights_sha256`, `dataset_sha256`, `recipe_sha256`,
    `parent_version`, `anchor_version` (the first champion of its line; an adopted one carries none), `training_run_id`,
    `request_id`, `code_version`, `content_sha256` (of the files in its manifest), `signature` (`provenance`).
    """

    version: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def served_model(self) -> str:
        return self.tags["served_model"]

    @property
    def artifact_uri(self) -> str:
        """The address that its files are fetched by."""
        return self.tags.get("artifact_uri", self.served_model)


class ModelRegistry(Protocol):
    def start_run(self, name: str, tags: Mapping[str, str]) -> str:
        """Open a tracking run and return its id; the same `training_run_id` or `evaluation_id` tag finds it again."""

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None: ...

    def log_dataset(self, run_id: str, dataset_sha256: str, uri: str) -> None:
        """Record the frozen dataset that a run reads; once, however often it is said."""

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int) -> None: ...

    def log_folder(self, run_id: str, folder: Path, artifact_path: str) -> str:
        """Store a folder with a run; return its URI, a plain path when the artifact store is a local disk."""

    def end_run(self, run_id: str, *, succeeded: bool) -> None: ...

    def find_version(self, tag: str, value: str) -> ModelVersion | None:
        """Return the version that carries this tag: registration looks here first, so that a repeat makes no twin."""

    def register(self, source: str, run_id: str | None, tags: Mapping[str, str]) -> ModelVersion: ...

    def load_version(self, version: str) -> ModelVersion:
        """Raises: NotFound."""

    def restore(self, version: ModelVersion) -> None:
        """Register a version again that was deleted; from then on all of these methods know it by its old number.

        Raises: NotFound: the whole registered model is gone, and numbers would begin anew.
        """

    def list_versions(self) -> list[ModelVersion]: ...

    def tag_version(self, version: str, name: str, value: str) -> None:
        """Tag a registered version. Raises: NotFound."""

    def set_alias(self, alias: str, version: str) -> None: ...

    def clear_alias(self, alias: str) -> None: ...

    def load_alias(self, alias: str) -> str | None:
        """Return the version that the alias names, if any."""

    def set_tag(self, name: str, value: str) -> None:
        """Tag the family's registered model, which has to have a version."""

    def load_tag(self, name: str) -> str | None:
        """Return the family's tag of this name, if any."""

    def check(self) -> None:
        """Raise when the registry does not answer."""
