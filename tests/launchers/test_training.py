"""Real trainings elsewhere: a tiny model by DPO, on machines that lose one, equal to a single process's."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.trainer.adapters.launching.machines import Machine, MachinesLauncher
from services.trainer.bootstrap.methods import METHODS
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.training import Job
from services.trainer.ports import Launcher
from shared.artifacts.manifest import write_manifest
from tests.integration.trainer.scene import load_run, make_request
from tests.launchers.conftest import Scene
from tests.launchers.ray_rig import RayRig
from tests.launchers.rigs import MachinesRig, Rig
from tests.unit.trainer.quiet_reporter import QuietReporter
from tests.unit.trainer.tiny_model import make_pairs, save_dataset, save_tiny_model

pytestmark = [pytest.mark.launchers, pytest.mark.timeout(600)]

TRAIN = (sys.executable, "-m", "cli.main")
RECIPE: dict[str, Any] = {
    "name": "real", "method": "dpo", "max_steps": 60, "save_steps": 10, "max_length": 64, "tuning": "full",
    "learning_rate": 2e-4, "drift": {"examples": 0},
}  # fmt: skip
"""Fifty steps are left when the first checkpoint is there: time enough to take a machine away."""
TOLERANCE = 2e-4
"""Of a weight: sums over two processes round otherwise than sums in one."""


class RealMachines(MachinesRig):
    """Machines that execute `heliotrope train` itself."""

    def _make(self, machines: list[Machine]) -> Launcher:
        return MachinesLauncher(machines, "jobs", TRAIN, 29611)


@pytest.fixture(params=["local", "accelerate", "ray"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    (tmp_path / "engine").mkdir()
    if request.param == "ray":
        return RayRig(request.getfixturevalue("ray_cluster"), 2, TRAIN, cpus=0.5)
    return RealMachines(tmp_path / "engine", 1 if request.param == "local" else 2)


def load_weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    weights: dict[str, Any] = load_file(folder / "model.safetensors")
    return weights


def train_here(parent: Path, dataset: Path, folder: Path, content: dict[str, Any] = RECIPE) -> dict[str, Any]:
    """The same rows a step, in this process."""
    recipe = parse_recipe(content | {"batch_size": 4})
    METHODS["dpo"](1, Job(recipe, parent, dataset, folder, None, folder / "candidate"), QuietReporter())
    return load_weights(folder / "candidate")


def assert_alike(found: dict[str, Any], wanted: dict[str, Any], before: dict[str, Any]) -> None:
    """Two trainings of the same parent came to the same weights, and moved them by much more than they differ."""
    worst, moved = find_largest_difference(found, wanted), find_largest_difference(wanted, before)
    sys.stdout.write(f"largest difference of a weight: {worst:.2e}; training moved one by {moved:.2e}\n")
    assert worst < TOLERANCE < moved / 20


def find_largest_difference(ones: dict[str, Any], others: dict[str, Any]) -> float:
    assert ones.keys() == others.keys()
    return max(float((ones[name] - weight).abs().max()) for name, weight in others.items())


def test_a_run_that_loses_a_machine_ends_with_a_single_process_weights(scene: Scene, tmp_path: Path):
    parent, dataset = save_tiny_model(tmp_path / "model"), save_dataset(tmp_path / "pairs", make_pairs(24))
    write_manifest(dataset)
    version = scene.context.registry.register(str(parent), None, {"served_model": str(parent)})
    nodes = scene.rig.nodes
    spread = {"strategy": "ddp", "processes": 2, "nodes": 2} if nodes > 1 else {}
    event = make_request(dataset_uri=str(dataset), parent_version=version.version)
    run = scene.ask_by(event, RECIPE | {"parallelism": spread, "batch_size": 4 // nodes})
    environment = {"OMP_NUM_THREADS": "1", "HELIOTROPE_TRAINER_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    context = scene.offer()
    offer = context.offers["engine"]
    context = replace(context, offers={"engine": replace(offer, environment=offer.environment | environment)})
    stored = scene.folder / "store" / "remote" / str(run.run_id) / "checkpoints" / "1"
    with scene.working(context, seconds=500):
        scene.wait(run, lambda _: any(stored.glob("checkpoint-*/*/manifest.json")), "a checkpoint", seconds=300)
        scene.rig.evict(str((load_run(scene.sessions, run.run_id).remote or {})["handle"]))
    done = scene.load(run)
    assert (done.state, done.remote and done.remote["evictions"]) == ("succeeded", 1), done.reason
    candidate = Path(
        scene.context.registry.load_version(done.candidate_version or "").artifact_uri.removeprefix("file://")
    )
    assert_alike(load_weights(candidate), train_here(parent, dataset, tmp_path / "here"), load_weights(parent))
