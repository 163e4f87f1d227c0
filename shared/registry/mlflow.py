"""The model registry and run tracking in MLflow."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException

from shared.artifacts import locate_folder
from shared.errors import NotFound
from shared.registry import RESTORES, ModelVersion

FINDABLE_TAGS = ("training_run_id", "evaluation_id")
DIGEST_CHARACTERS = 36
"""MLflow has room for no more of a dataset's digest; its name holds the whole hash."""


class MlflowRegistry:
    """One experiment and one registered model, both named after the family."""

    def __init__(self, tracking_uri: str, family: str) -> None:
        self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        self._family = family

    def start_run(self, name: str, tags: Mapping[str, str]) -> str:
        experiment_id = self._load_experiment()
        for tag in FINDABLE_TAGS:
            if tag in tags:
                found = self._client.search_runs([experiment_id], f"tags.{tag} = '{tags[tag]}'", max_results=1)
                if found:
                    return str(found[0].info.run_id)
        return str(self._client.create_run(experiment_id, run_name=name, tags=dict(tags)).info.run_id)

    def _load_experiment(self) -> str:
        experiment = self._client.get_experiment_by_name(self._family)
        if experiment is not None:
            return str(experiment.experiment_id)
        try:
            return str(self._client.create_experiment(self._family))
        except MlflowException:  # another process was faster
            experiment = self._client.get_experiment_by_name(self._family)
            if experiment is None:
                raise
            return str(experiment.experiment_id)

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        self._client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params.items()])

    def log_dataset(self, run_id: str, dataset_sha256: str, uri: str) -> None:
        dataset = Dataset(
            name=dataset_sha256,
            digest=dataset_sha256[:DIGEST_CHARACTERS],
            source_type="local",
            source=json.dumps({"uri": uri}),
        )
        self._client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int) -> None:
        now_ms = int(time.time() * 1000)
        self._client.log_batch(run_id, metrics=[Metric(name, value, now_ms, step) for name, value in metrics.items()])

    def log_folder(self, run_id: str, folder: Path, artifact_path: str) -> str:
        self._client.log_artifacts(run_id, str(folder), artifact_path)
        uri = f"{self._client.get_run(run_id).info.artifact_uri}/{artifact_path}"
        return str(locate_folder(uri)) if uri.startswith("file:") else uri

    def end_run(self, run_id: str, *, succeeded: bool) -> None:
        self._client.set_terminated(run_id, "FINISHED" if succeeded else "FAILED")

    def find_version(self, tag: str, value: str) -> ModelVersion | None:
        return next(iter(self._search(f"name = '{self._family}' AND tags.{tag} = '{value}'")), None)

    def register(self, source: str, run_id: str | None, tags: Mapping[str, str]) -> ModelVersion:
        try:
            self._client.create_registered_model(self._family)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        if run_id is None:
            # the server refuses a local path outside a run's artifacts; nothing reads this but people
            source = f"served:/{quote(source.lstrip('/'))}"
        version = self._client.create_model_version(self._family, source, run_id=run_id, tags=dict(tags))
        return ModelVersion(str(version.version), dict(tags))

    def load_version(self, version: str) -> ModelVersion:
        return _read(self._find(version))

    def _find(self, version: str) -> Any:
        """Return the registration that goes by a number: its own, or that which stands in for it."""
        try:
            return self._client.get_model_version(self._family, version)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            stand_in = self._client.search_model_versions(f"name = '{self._family}' AND tags.{RESTORES} = '{version}'")
            if not stand_in:
                raise NotFound(f"no model version {version}") from error
            return stand_in[0]

    def restore(self, version: ModelVersion) -> None:
        try:
            self._client.get_registered_model(self._family)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise NotFound(f"the registered model {self._family} is gone, with all its versions") from error
            raise
        self.register(version.served_model, None, {**version.tags, RESTORES: version.version})

    def list_versions(self) -> list[ModelVersion]:
        return self._search(f"name = '{self._family}'")

    def _search(self, condition: str) -> list[ModelVersion]:
        versions = [_read(found) for found in self._client.search_model_versions(condition, max_results=1000)]
        return sorted(versions, key=lambda version: int(version.version))

    def tag_version(self, version: str, name: str, value: str) -> None:
        self._client.set_model_version_tag(self._family, str(self._find(version).version), name, value)

    def set_alias(self, alias: str, version: str) -> None:
        self._client.set_registered_model_alias(self._family, alias, str(self._find(version).version))

    def clear_alias(self, alias: str) -> None:
        self._client.delete_registered_model_alias(self._family, alias)

    def load_alias(self, alias: str) -> str | None:
        try:
            return _read(self._client.get_model_version_by_alias(self._family, alias)).version
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise

    def set_tag(self, name: str, value: str) -> None:
        self._client.set_registered_model_tag(self._family, name, value)

    def load_tag(self, name: str) -> str | None:
        try:
            value = self._client.get_registered_model(self._family).tags.get(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return None if value is None else str(value)

    def check(self) -> None:
        self._client.search_registered_models(max_results=1)


def _read(found: Any) -> ModelVersion:
    tags = dict(found.tags)
    return ModelVersion(str(tags.get(RESTORES, found.version)), tags)
