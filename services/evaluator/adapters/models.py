"""The files of registered versions."""

from pathlib import Path

from services.evaluator.ports import GenerationFailed
from shared.artifacts import Artifacts, ArtifactStoreUnavailable
from shared.errors import HeliotropeError
from shared.registry import ModelVersion


def fetch_model(artifacts: Artifacts, version: ModelVersion) -> Path:
    """Fetch a version's files, each verified; returns their folder.

    Raises:
        GenerationFailed: they are not there, or not those that were registered.
        ArtifactStoreUnavailable: trying again may help.
    """
    try:
        return artifacts.fetch(version.artifact_uri, version.tags.get("content_sha256"), unlisted=True)
    except ArtifactStoreUnavailable:
        raise
    except HeliotropeError as error:
        raise GenerationFailed(error.detail, version=version.version) from error
