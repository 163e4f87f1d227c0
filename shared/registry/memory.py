"""The model registry in memory, for tests that need no server."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.errors import NotFound
from shared.ids import new_id
from shared.registry import RESTORES, ModelVersion


class MemoryRegistry:
    def __init__(self, artifacts: Path) -> None:
        self._artifacts = artifacts
        self._versions: list[ModelVersion] = []
        self._last = 0
        self._aliases: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}

    def start_run(self, name: str, tags: Mapping[str, str]) -> str:
        for run_id, run in self.runs.items():
            if any(run["tags"].get(tag) == tags[tag] for tag in ("training_run_id", "evaluation_id") if tag in tags):
                return run_id
        run_id = new_id().hex
        self.runs[run_id] = {
            "name": name,
            "tags": dict(tags),
            "params": {},
            "metrics": [],
            "datasets": {},
            "status": "RUNNING",
        }
        return run_id

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        self.runs[run_id]["params"].update(params)

    def log_dataset(self, run_id: str, dataset_sha256: str, uri: str) -> None:
        self.runs[run_id]["datasets"][dataset_sha256] = uri

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int) -> None:
        self.runs[run_id]["metrics"].append((step, dict(metrics)))

    def log_folder(self, run_id: str, folder: Path, artifact_path: str) -> str:
        target = self._artifacts / run_id / artifact_path
        shutil.copytree(folder, target, dirs_exist_ok=True)
        return str(target)

    def end_run(self, run_id: str, *, succeeded: bool) -> None:
        self.runs[run_id]["status"] = "FINISHED" if succeeded else "FAILED"

    def find_version(self, tag: str, value: str) -> ModelVersion | None:
        return next((version for version in self._versions if version.tags.get(tag) == value), None)

    def register(self, source: str, run_id: str | None, tags: Mapping[str, str]) -> ModelVersion:
        self._last += 1
        version = ModelVersion(tags.get(RESTORES, str(self._last)), dict(tags))
        self._versions.append(version)
        return version

    def restore(self, version: ModelVersion) -> None:
        self.register(version.served_model, None, {**version.tags, RESTORES: version.version})

    def delete_version(self, version: str) -> None:
        """Do what somebody else does: forget a version, and the aliases that name it."""
        self._versions = [known for known in self._versions if known.version != version]
        self._aliases = {alias: named for alias, named in self._aliases.items() if named != version}

    def load_version(self, version: str) -> ModelVersion:
        for known in self._versions:
            if known.version == version:
                return known
        raise NotFound(f"no model version {version}")

    def list_versions(self) -> list[ModelVersion]:
        return list(self._versions)

    def tag_version(self, version: str, name: str, value: str) -> None:
        known = self.load_version(version)
        self._versions[self._versions.index(known)] = ModelVersion(version, {**known.tags, name: value})

    def set_alias(self, alias: str, version: str) -> None:
        self._aliases[alias] = self.load_version(version).version

    def clear_alias(self, alias: str) -> None:
        self._aliases.pop(alias, None)

    def load_alias(self, alias: str) -> str | None:
        return self._aliases.get(alias)

    def set_tag(self, name: str, value: str) -> None:
        self._tags[name] = value

    def load_tag(self, name: str) -> str | None:
        return self._tags.get(name)

    def check(self) -> None:
        """Find nothing wrong, ever."""
