"""The first champion."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.deployer.handlers.commands import Commands
from services.deployer.repository.rollouts import lock_adoption
from shared.artifacts import WeightsNotFound
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
    calculate_weights: Callable[[Path], str]
    base_url: str
    signer: Signer | None = None

    def adopt(self, model: str, name: str | None) -> str:
        """Adopt a model and return what happened, for people to read.

        `model` is a checkpoint folder, or the name that its server knows it by.
        """
        with self.commands.sessions() as session, session.begin():
            lock_adoption(session)
            table = self.commands.rollouts.find_table(session)
            if table is not None:
                self._vouch(table.champion)
                return f"version {table.champion.version} is champion already; nothing changed"
            version = self._register(model, name)
            route = Route(version=version.version, model=version.served_model, base_url=self.base_url)
            self.commands.adopt(route, actor=ACTOR)
        self._set_alias(version)
        return f"version {version.version} ({version.tags.get('name', model)}) is the champion"

    def _register(self, model: str, name: str | None) -> ModelVersion:
        folder = Path(model)
        local = folder.is_dir()
        served = str(folder.resolve()) if local else model
        weights = self._find_weights(folder) if local else None
        tag, value = ("weights_sha256", weights) if weights else ("served_model", served)
        registry = self.commands.registry
        if (known := registry.find_version(tag, value)) is not None:
            return known
        tags = {"served_model": served, "name": name or folder.name, "adopted": "true"}
        tags |= {"weights_sha256": weights} if weights else {}
        return registry.register(served, None, sign_tags(tags, self.signer) if self.signer else tags)

    def _vouch(self, champion: Route) -> None:
        """Sign the champion, if it was registered before there were keys and is what our own table says."""
        version = self.commands.registry.load_version(champion.version)
        if self.signer and TAG not in version.tags and version.served_model == champion.model:
            self.commands.registry.tag_version(version.version, TAG, sign_tags(version.tags, self.signer)[TAG])

    def _find_weights(self, folder: Path) -> str | None:
        try:
            return self.calculate_weights(folder)
        except WeightsNotFound:
            return None

    def _set_alias(self, version: ModelVersion) -> None:
        """Set the alias now, so that nobody waits for the deployer, which sets it later if this fails."""
        try:
            self.commands.registry.set_alias("champion", version.version)
        except Exception as error:
            logger.warning("alias_not_set", error=repr(error))
