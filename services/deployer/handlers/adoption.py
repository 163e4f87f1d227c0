"""The first champion."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.deployer.handlers.commands import Commands
from services.deployer.repository.rollouts import lock_adoption
from shared.artifacts import ArtifactNotFound, Artifacts, calculate_weights_sha256, find_local_folder
from shared.artifacts.models import explain_unloadable
from shared.errors import InvalidRequest
from shared.events import Route
from shared.registry import ModelVersion
from shared.registry.provenance import TAG, sign_tags
from shared.signing import Signer

logger = structlog.get_logger(__name__)

ACTOR = "heliotrope adopt"


@dataclass(frozen=True)
class Adoption:
    """Registers a served model, unless its weights are registered already, and makes it the first champion."""

    commands: Commands
    artifacts: Artifacts
    base_url: str
    signer: Signer | None = None

    def adopt(self, model: str, name: str | None = None, files: str | None = None) -> str:
        """Adopt a model and return what happened, for people to read.

        Args:
            model: its folder or address; with `files`, the name that its server knows it by.
            name: what people call it.
            files: the address of its files, which trainer and evaluator load; where they are not listed by a manifest,
                they are copied to where this deployment stores its own.

        Raises:
            InvalidRequest: they could not load it.
            ArtifactNotFound, ArtifactDenied, ArtifactCorrupt, ArtifactTooLarge, ArtifactStoreUnavailable
        """
        with self.commands.sessions() as session, session.begin():
            lock_adoption(session)
            table = self.commands.rollouts.find_table(session)
            if table is not None:
                self._vouch(table.champion)
                return f"version {table.champion.version} is champion already; nothing changed"
            version = self._register(model, name, files)
            route = Route(version=version.version, model=version.served_model, base_url=self.base_url)
            self.commands.adopt(route, actor=ACTOR)
        self._set_alias(version)
        return f"version {version.version} ({version.tags.get('name', model)}) is the champion"

    def _register(self, model: str, name: str | None, files: str | None) -> ModelVersion:
        source = files or model
        with tempfile.TemporaryDirectory() as draft:
            try:
                folder, is_own = self.artifacts.fetch(source, unlisted=True), _is_listed(source)
            except ArtifactNotFound:
                if find_local_folder(source) is not None or not self.artifacts.is_shared:
                    raise
                folder, is_own = Path(draft, "plain"), False
                self.artifacts.copy_unlisted(source, folder)
            if problem := explain_unloadable(folder):
                hint = "" if files else "; of a model that a server knows by a name, give the address of its files too"
                raise InvalidRequest(f"{source} cannot be adopted: {problem}{hint}")
            weights = calculate_weights_sha256(folder)
            registry = self.commands.registry
            if (known := registry.find_version("weights_sha256", weights)) is not None:
                return known
            uri = source if is_own else self._share(folder, weights)
        served = model if files else uri
        tags = {"served_model": served, "name": name or Path(model).name, "adopted": "true", "weights_sha256": weights}
        tags |= {"artifact_uri": uri} if uri != served else {}
        return registry.register(served, None, sign_tags(tags, self.signer) if self.signer else tags)

    def _vouch(self, champion: Route) -> None:
        """Sign the champion, if it was registered before there were keys and is what our own table says."""
        version = self.commands.registry.load_version(champion.version)
        if self.signer and TAG not in version.tags and version.served_model == champion.model:
            self.commands.registry.tag_version(version.version, TAG, sign_tags(version.tags, self.signer)[TAG])

    def _share(self, folder: Path, weights_sha256: str) -> str:
        """Return the address that other machines fetch the files by: they are stored where those can."""
        if not self.artifacts.is_shared:
            return str(folder.resolve())
        with tempfile.TemporaryDirectory() as draft:  # the hub's cache is made of links, and a manifest is written
            copy = Path(draft, "model")
            shutil.copytree(folder, copy)
            return self.artifacts.store(copy, f"models/{weights_sha256}")

    def _set_alias(self, version: ModelVersion) -> None:
        """Set the alias now, so that nobody waits for the deployer, which sets it later if this fails."""
        try:
            self.commands.registry.set_alias("champion", version.version)
        except Exception as error:
            logger.warning("alias_not_set", error=repr(error))


def _is_listed(source: str) -> bool:
    """Tell whether an address is one that every machine fetches by its manifest."""
    return find_local_folder(source) is None and not source.startswith("hf://")
