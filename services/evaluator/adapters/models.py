"""The files of registered versions."""

from pathlib import Path

from services.evaluator.ports import GenerationFailed
from shared.artifacts import Artifacts, ArtifactStoreUnavailable
from shared.errors import HeliotropeError
from shared.registry import ModelVersion
from shared.registry.provenance import check_signed
from shared.signing import Verifier


def fetch_model(artifacts: Artifacts, verifier: Verifier, version: ModelVersion) -> Path:
    """Fetch a version's files, each verified, if a trusted key signed for them; returns their folder.

    Raises:
        GenerationFailed: they are not there, or not those that were registered.
        ArtifactStoreUnavailable: trying again may help.
    """
    try:
        check_signed(version, verifier)
        return artifacts.fetch_model(version.artifact_uri, version.tags.get("content_sha256"))
    except ArtifactStoreUnavailable:
        raise
    except HeliotropeError as error:
        raise GenerationFailed(error.detail, version=version.version) from error
