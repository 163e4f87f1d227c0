"""What a run that trains elsewhere is offered, and where its things lie."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from services.trainer.adapters.artifacts.checkpoints import MIXED
from services.trainer.adapters.launching.run_store import RunStore, Seals
from services.trainer.domain.launching.endings import LauncherRefused
from services.trainer.domain.launching.limits import Limits
from services.trainer.domain.launching.orders import RUN_KEY, Addresses, Pinned
from services.trainer.domain.recipe.parsing import dump_recipe
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Job
from services.trainer.ports import Launcher
from shared.artifacts import Artifacts
from shared.artifacts.manifest import calculate_content_sha256, lists_files, load_manifest
from shared.signing import Verifier, derive_public_key
from shared.tables.trainer import Run

RECIPE = "recipe.yaml"


@dataclass(frozen=True)
class Offer:
    """A launcher of the deployment, and what a run may take of it."""

    name: str
    launcher: Launcher
    limits: Limits
    environment: dict[str, str]


@dataclass(frozen=True)
class RemoteFiles:
    """Where a run's things lie for the machines that train it."""

    artifacts: Artifacts
    output: str
    key: str | None = None
    """The private key with which its machines seal what they store; None: they seal nothing."""

    @property
    def public_key(self) -> str | None:
        return derive_public_key(self.key) if self.key else None

    @property
    def environment(self) -> dict[str, str]:
        """What a machine needs to seal."""
        return {RUN_KEY: self.key} if self.key else {}

    def open(self, keys: Sequence[str]) -> RunStore:
        """Open the run's store for reading what a holder of one of these keys has sealed; none: by anybody."""
        return RunStore(self.artifacts, self.output, Seals(verifier=Verifier(keys)))

    def locate(self, run: Run, job: Job) -> Addresses:
        """Store the dataset if it was mixed for this run; returns every address.

        Raises:
            LauncherRefused: something lies where only this worker reaches it.
            HeliotropeError: as `Artifacts.upload`.
        """
        dataset = self._place_dataset(run, job)
        base = job.parent_uri or str(job.parent)
        reward_model = {"reward_model": job.recipe.reward_model} if job.recipe.reward_model else {}
        for name, uri in {"parent": base, "dataset": dataset.uri, **reward_model}.items():
            if not self.artifacts.is_reachable(uri):
                raise LauncherRefused(f"the {name} lies on this worker's disk, where no other machine finds it: {uri}")
        return Addresses(base=Pinned(base, job.parent_sha256), dataset=dataset, output=self.output)

    def _place_dataset(self, run: Run, job: Job) -> Pinned:
        if job.recipe.replay.is_asked_for:
            uri = f"{self.output}/{MIXED}"
            return Pinned(uri, self.artifacts.upload(job.dataset, uri))
        listed = lists_files(job.dataset)
        return Pinned(run.dataset_uri, calculate_content_sha256(load_manifest(job.dataset)) if listed else None)

    def store_recipe(self, recipe: Recipe, name: str) -> Pinned:
        """Store a recipe by this name among the run's orders; returns its address. Raises: as `Artifacts.upload`."""
        with TemporaryDirectory() as folder:
            (Path(folder) / RECIPE).write_text(json.dumps(dump_recipe(recipe), indent=1), encoding="utf-8")
            sha256 = self.artifacts.upload(Path(folder), f"{self.output}/order/{name}")
        return Pinned(f"{self.output}/order/{name}/{RECIPE}", sha256)
