"""What a run takes from and gives to other machines: models, checkpoints to go on from, the candidate."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import structlog

from services.trainer.adapters.artifacts.checkpoints import MIXED
from services.trainer.domain.training import TrainingFailed
from shared.artifacts import Artifacts, ArtifactStoreUnavailable
from shared.errors import HeliotropeError
from shared.registry import ModelVersion
from shared.registry.provenance import check_signed
from shared.signing import Verifier

logger = structlog.get_logger(__name__)

ANYBODY = Verifier([])


@contextmanager
def translate_store_errors(what: str) -> Iterator[None]:
    """Translate the artifact store's errors.

    Raises:
        ConnectionError: it does not answer; trying again may help.
        TrainingFailed: anything else.
    """
    try:
        yield
    except ArtifactStoreUnavailable as error:
        raise ConnectionError(error.detail) from error
    except HeliotropeError as error:
        raise TrainingFailed(f"{what} cannot be used: {error.detail}") from error


class RunStorage:
    """A run's files: on this disk, and where the deployment shares artifacts, in its store.

    Without a store every call but `fetch_model` does nothing: another attempt finds the run's folder on the same disk.
    """

    def __init__(self, artifacts: Artifacts, runs_folder: Path, verifier: Verifier = ANYBODY) -> None:
        """Take whose signatures on models are trusted; by default nobody's is asked for."""
        self._artifacts, self._runs, self._verifier = artifacts, runs_folder, verifier

    def fetch_model(self, version: ModelVersion) -> Path:
        """Fetch a version's files, each verified, if a trusted key signed for them; returns their folder.

        Raises:
            ConnectionError, TrainingFailed
        """
        with translate_store_errors(f"version {version.version}"):
            check_signed(version, self._verifier)
            return self._artifacts.fetch_model(version.artifact_uri, version.tags.get("content_sha256"))

    def restore(self, run_id: UUID) -> None:
        """Bring what earlier attempts stored onto this disk: of checkpoints the newest. Raises: as `fetch_model`."""
        if not self._artifacts.is_shared:
            return
        with translate_store_errors("the run's checkpoints"):
            stored = self._artifacts.list_below(self._locate(run_id))
            for place in choose_newest(stored):
                if not (self._runs / str(run_id) / place).exists():
                    self._artifacts.download(f"{self._locate(run_id)}/{place}", self._runs / str(run_id) / place)
                    logger.info("checkpoint_restored", checkpoint=place)

    def keep(self, folder: Path) -> None:
        """Store a complete checkpoint or stage, and delete what this disk no longer has of its and earlier attempts.

        A store that is away is no reason to end a run: the next checkpoint is stored again.
        """
        if not self._artifacts.is_shared:
            return
        place = folder.relative_to(self._runs)
        run_id, token = place.parts[0], int(place.parts[1])
        try:
            self._artifacts.store(folder, f"checkpoints/{place.as_posix()}")
            self._delete_outdated(UUID(run_id), token)
        except HeliotropeError as error:
            logger.warning("checkpoint_not_stored", checkpoint=folder.name, error=error.detail)

    def _delete_outdated(self, run_id: UUID, token: int) -> None:
        for place in self._artifacts.list_below(self._locate(run_id)):
            is_ours = int(place.partition("/")[0]) <= token
            if is_ours and not (self._runs / str(run_id) / place).exists():
                self._artifacts.delete(f"{self._locate(run_id)}/{place}")

    def store_candidate(self, run_id: UUID, token: int, candidate: Path) -> str | None:
        """Store the candidate; returns its address, None where the registry keeps it. Raises: as `fetch_model`."""
        if not self._artifacts.is_shared:
            return None
        with translate_store_errors("the candidate"):
            return self._artifacts.store(candidate, f"candidates/{run_id}/{token}")

    @property
    def artifacts(self) -> Artifacts:
        """Where all of it is stored."""
        return self._artifacts

    def locate_remote(self, run_id: UUID) -> str:
        """Return the address under which a run that trains elsewhere keeps everything. Raises: TrainingFailed."""
        if not self._artifacts.is_shared:
            raise TrainingFailed(
                "a run that trains elsewhere needs a place that both machines reach: set HELIOTROPE_ARTIFACTS_URI"
            )
        return self._artifacts.locate(f"remote/{run_id}")

    def holds_remote(self, run_id: UUID, *names: str) -> bool:
        """Tell whether artifacts with one of these names in their paths lie where the run trained elsewhere.

        A store that does not answer may hold them.
        """
        if not self._artifacts.is_shared:
            return False
        try:
            places = self._artifacts.list_below(self.locate_remote(run_id))
        except HeliotropeError as error:
            logger.warning("not_listed", run_id=str(run_id), error=error.detail)
            return True
        return any(name in place.split("/") for place in places for name in names)

    def delete(self, run_id: UUID) -> None:
        """Delete what a finished run stored on its way; what cannot be deleted is logged."""
        if self._artifacts.is_shared:
            self._delete(self._locate(run_id))
            self._delete(self.locate_remote(run_id))

    def delete_rows(self, run_id: UUID) -> None:
        """Delete the copy of users' rows that was made for a run that trained elsewhere; as `delete`."""
        if self._artifacts.is_shared:
            self._delete(f"{self.locate_remote(run_id)}/{MIXED}")

    def _delete(self, uri: str) -> None:
        try:
            self._artifacts.delete(uri)
        except HeliotropeError as error:
            logger.warning("not_deleted", uri=uri, error=error.detail)

    def _locate(self, run_id: UUID) -> str:
        return self._artifacts.locate(f"checkpoints/{run_id}")


def choose_newest(places: list[str]) -> list[str]:
    """Choose, of `<token>/[<stage>/]checkpoint-<step>`, the one with the most steps of each stage; all else stays."""
    newest: dict[str, tuple[int, int, str]] = {}
    others: list[str] = []
    for place in places:
        token, *stage, name = place.split("/")
        step = name.removeprefix("checkpoint-")
        if name != step and step.isdigit() and token.isdigit():
            key = "/".join(stage)
            newest[key] = max(newest.get(key, (-1, -1, "")), (int(step), int(token), place))
        elif name != "candidate":  # of a stage, within whose folder it comes
            others.append(place)
    return others + [place for _, _, place in newest.values()]
