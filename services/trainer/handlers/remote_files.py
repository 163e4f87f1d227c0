"""What a run that trains elsewhere is offered, and where its things lie."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from services.trainer.adapters.artifacts.checkpoints import MIXED
from services.trainer.domain.launching.endings import LauncherRefused
from services.trainer.domain.launching.limits import Limits
from services.trainer.domain.launching.orders import Addresses
from services.trainer.domain.recipe.parsing import dump_recipe
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Job
from services.trainer.ports import Launcher
from shared.artifacts import Artifacts
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

    def locate(self, run: Run, job: Job) -> Addresses:
        """Store the dataset if it was mixed for this run; returns every address.

        Raises:
            LauncherRefused: something lies where only this worker reaches it.
            HeliotropeError: as `Artifacts.upload`.
        """
        dataset = run.dataset_uri
        if job.recipe.replay.is_asked_for:
            dataset = f"{self.output}/{MIXED}"
            self.artifacts.upload(job.dataset, dataset)
        base = job.parent_uri or str(job.parent)
        reward_model = {"reward_model": job.recipe.reward_model} if job.recipe.reward_model else {}
        for name, uri in {"parent": base, "dataset": dataset, **reward_model}.items():
            if not self.artifacts.is_reachable(uri):
                raise LauncherRefused(f"the {name} lies on this worker's disk, where no other machine finds it: {uri}")
        return Addresses(
            base=base,
            base_sha256=job.parent_sha256,
            dataset=dataset,
            output=self.output,
        )

    def store_recipe(self, recipe: Recipe, name: str) -> str:
        """Store a recipe by this name among the run's orders; returns its address. Raises: as `Artifacts.upload`."""
        with TemporaryDirectory() as folder:
            (Path(folder) / RECIPE).write_text(json.dumps(dump_recipe(recipe), indent=1), encoding="utf-8")
            self.artifacts.upload(Path(folder), f"{self.output}/order/{name}")
        return f"{self.output}/order/{name}/{RECIPE}"
