"""A version's files, held against its signed manifest before users may meet it."""

from dataclasses import dataclass

from shared.artifacts import ArtifactCorrupt, Artifacts
from shared.artifacts.storage import find_local_folder
from shared.registry import ModelVersion
from shared.registry.provenance import check_signed
from shared.signing import Verifier


@dataclass(frozen=True)
class CandidateFiles:
    """Checks versions by the keys that are trusted."""

    artifacts: Artifacts
    verifier: Verifier

    def check(self, version: ModelVersion) -> None:
        """Check signature and files; where this disk does not have them, whoever fetches them checks their bytes.

        A version without a content hash was registered by release 0.1.0, or adopted as a name: it has no manifest.

        Raises:
            SignatureInvalid: a trusted key did not sign what its tags say.
            ArtifactCorrupt, ArtifactNotFound: its files are not those that were registered.
            ArtifactStoreUnavailable: trying again may help.
        """
        check_signed(version, self.verifier)
        content = version.tags.get("content_sha256")
        if content is None:
            if self.verifier and "adopted" not in version.tags:
                raise ArtifactCorrupt(f"version {version.version} has no manifest to verify its files by")
            return
        if find_local_folder(version.artifact_uri):
            self.artifacts.fetch(version.artifact_uri, content)
