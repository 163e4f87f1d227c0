"""What was approved is what is served: a candidate's registry entry and files, held against its approval hash."""

from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from services.deployer.domain.approval import calculate_approval_hash
from services.deployer.ports import VersionFiles
from services.deployer.repository.lineage import load_run_hashes
from shared.artifacts import ArtifactStoreUnavailable
from shared.errors import Conflict, HeliotropeError, Unavailable
from shared.registry import ModelRegistry, ModelVersion
from shared.tables.deployer import Rollout

logger = structlog.get_logger(__name__)


class ApprovalVoid(Conflict):
    title = "Approval void"


@dataclass(frozen=True)
class Binding:
    """Compares what the registry and the disk hold now with what the trainer's table said when the rollout opened."""

    registry: ModelRegistry
    files: VersionFiles

    def check(self, session: Session, rollout: Rollout) -> ModelVersion:
        """Return the candidate's version, if it is still what the approval hash names.

        Raises:
            ApprovalVoid: a hash, the address or a file changed, or nobody whom we trust signed it.
            Unavailable: the registry or the store did not answer.
        """
        version = self._load(rollout.candidate_version)
        if self._calculate_hash(session, rollout, version) != rollout.approval_hash:
            raise ApprovalVoid("weights, dataset, recipe, report, files or their address changed since it was opened")
        try:
            self.files.check(version)
        except ArtifactStoreUnavailable as error:
            raise Unavailable(f"the candidate's files cannot be verified now: {error.detail}") from error
        except HeliotropeError as error:
            raise ApprovalVoid(f"the candidate's files are not those that were judged: {error.detail}") from error
        return version

    def _load(self, version: str) -> ModelVersion:
        try:
            return self.registry.load_version(version)
        except HeliotropeError:
            raise
        except Exception as error:
            logger.warning("registry_away", error=repr(error))
            raise Unavailable("the model registry does not answer, and an approval needs its hashes") from error

    def _calculate_hash(self, session: Session, rollout: Rollout, version: ModelVersion) -> str:
        """Of a run that knows no content, the registry's is left out as well: it was trained by release 0.1.0."""
        tags = version.tags
        content = tags.get("content_sha256", "") if self._knows_content(session, rollout) else ""
        return calculate_approval_hash(
            weights=tags.get("weights_sha256", ""),
            dataset=tags.get("dataset_sha256", ""),
            recipe=tags.get("recipe_sha256", ""),
            report=rollout.evaluation["report_sha256"],
            content=content,
            model=tags.get("served_model", ""),
        )

    def _knows_content(self, session: Session, rollout: Rollout) -> bool:
        return load_run_hashes(session, UUID(rollout.evaluation["run_id"]))["content"] != ""
