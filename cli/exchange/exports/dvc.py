"""Datasets and models under DVC: what it tracks, and the stage that leads from a dataset to a candidate."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.errors import StackFailed

PIPELINE = "dvc.yaml"
DEADLINE_SECONDS = 3600.0


@dataclass(frozen=True)
class DvcRepository:
    """A folder in which `dvc init` was run, and the `dvc` that works on it (its own installation is best)."""

    root: Path
    command: str = "dvc"

    def run(self, *arguments: str) -> str:
        """Run dvc here; returns what it printed. Raises: StackFailed: there is none, or it failed."""
        if shutil.which(self.command) is None:
            raise StackFailed(f"{self.command} is not installed: pip install dvc, in an environment of its own")
        if not (self.root / ".dvc").is_dir():
            raise StackFailed(f"{self.root} is no DVC repository: run dvc init in it")
        done = subprocess.run(
            [self.command, *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        if done.returncode:
            raise StackFailed(f"dvc {' '.join(arguments)}: {(done.stderr or done.stdout).strip()[-1000:]}")
        return done.stdout

    def place(self, folder: Path, place: str) -> Path:
        """Copy a folder to its place in the repository, unless it is there. Raises: StackFailed: it is no folder."""
        if not folder.is_dir():
            raise StackFailed(f"{folder} is no folder")
        target = self.root / place
        if not target.exists():
            draft = target.with_name(f".{target.name}.new")
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(folder, draft)
            draft.rename(target)
        return target

    def track(self, folder: Path, place: str) -> Path:
        """Copy a folder to its place and track it; returns its `.dvc` file."""
        self.place(folder, place)
        self.run("add", place)
        return self.root / f"{place}.dvc"

    def push(self, *targets: str) -> None:
        """Push what is tracked to the default remote. Raises: StackFailed: there is none, or it does not answer."""
        self.run("push", *targets)

    def add_stage(self, name: str, stage: dict[str, Any]) -> None:
        """Write a stage into `dvc.yaml`, in the place of one of its name."""
        import yaml

        path = self.root / PIPELINE
        pipeline = (yaml.safe_load(path.read_text()) if path.exists() else None) or {}
        pipeline.setdefault("stages", {})[name] = stage
        path.write_text(yaml.safe_dump(pipeline, sort_keys=False))

    def record(self, stage: str) -> None:
        """Record that a stage's outputs are what its dependencies lead to, without running it."""
        self.run("commit", "--force", stage)


def derive_training_stage(name: str, dataset: str, recipe: str, base: str) -> dict[str, Any]:
    """Derive the stage that trains candidate `name` from places in the repository: a dataset, a recipe, a base model.

    It begins in an empty folder, so that running it again does not resume what is there.
    """
    output = f"models/{name}"
    train = f"heliotrope train {recipe} --base {base} --dataset {dataset} --output {output}.run"
    return {
        "cmd": [f"rm -rf {output}.run", f"{train} --threads 1", f"mv {output}.run/candidate {output}"],
        "deps": [dataset, recipe, base],
        "outs": [output],
    }
