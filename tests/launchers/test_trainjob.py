"""A DPO run as a TrainJob of two pods with disks of their own, in a cluster that has Kubeflow Trainer.

`KUBECONFIG` names it, `HELIOTROPE_TEST_GPU_IMAGE` an image of this release's `gpu` target there, and
`HELIOTROPE_TEST_STORE` an s3:// address that pods and this machine reach alike, by this process's AWS_* variables.
"""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from services.trainer.adapters.artifacts.dataset import fetch_dataset
from services.trainer.adapters.launching.kubeflow import KubeflowLauncher
from services.trainer.adapters.launching.kubernetes_api import KubernetesApi, find_login
from services.trainer.domain.launching.settings import Kubeflow
from services.trainer.handlers.context import WorkerContext
from shared.artifacts import Artifacts
from tests.integration.trainer.scene import make_request
from tests.launchers.conftest import Scene, open_scene
from tests.launchers.rigs import Rig
from tests.launchers.runtimes import have_runtime
from tests.launchers.test_contract import cancel, find_handle, is_under_way
from tests.launchers.test_training import load_weights, train_here
from tests.unit.trainer.tiny_model import make_pairs, save_dataset, save_tiny_model

pytestmark = [pytest.mark.launchers, pytest.mark.timeout(1800)]

NEEDED = ("KUBECONFIG", "HELIOTROPE_TEST_GPU_IMAGE", "HELIOTROPE_TEST_STORE", "AWS_ACCESS_KEY_ID")
STORE_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
SPREAD = {"parallelism": {"strategy": "ddp", "processes": 2, "nodes": 2}, "batch_size": 2}
RECIPE: dict[str, Any] = {
    "name": "real", "method": "dpo", "max_steps": 24, "save_steps": 4, "max_length": 64, "tuning": "full",
    "learning_rate": 1e-4, "drift": {"examples": 0},
}  # fmt: skip
TOLERANCE = 2e-4
"""Of a weight: sums over two processes round otherwise than sums in one."""
CANCEL_SECONDS = 20.0


def select(handle: str) -> str:
    return f"jobset.sigs.k8s.io/jobset-name={handle}"


class TrainJobs:
    """Kubeflow Trainer in a namespace of ours that enforces `restricted`."""

    nodes = 2

    def __init__(self, name: str) -> None:
        self.api = KubernetesApi(find_login(), name)
        pods = {"cpu": "50m", "memory": "2Gi", "shared_memory": "64Mi", "volume": "2Gi", "runtime": name}
        image = os.environ["HELIOTROPE_TEST_GPU_IMAGE"]
        self.launcher = KubeflowLauncher(self.api, Kubeflow(image=image, namespace=name, **pods))  # type: ignore[arg-type]

    def evict(self, handle: str) -> None:
        """Delete the last pod, at once."""
        (*_, last) = sorted(str(pod["metadata"]["name"]) for pod in self.api.list_pods(select(handle)))
        self.api._call("DELETE", f"{self.api._locate('v1', 'pods')}/{last}", {"gracePeriodSeconds": 0})


@pytest.fixture(scope="module")
def jobs() -> Iterator[TrainJobs]:
    if missing := [name for name in NEEDED if name not in os.environ]:
        pytest.skip(f"NOT SHOWN: {', '.join(missing)} not set")
    name = f"heliotrope-trainjob-{uuid4().hex[:8]}"
    made = TrainJobs(name)
    call = made.api._call
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    login = {name: os.environ[name] for name in STORE_VARIABLES if name in os.environ}
    with have_runtime(made.api, name, with_secret=True):
        call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        call("POST", made.api._locate("v1", "secrets"), {"metadata": {"name": "objects"}, "stringData": login})
        yield made
        call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def scene(jobs: TrainJobs, tmp_path: Path, database_url: str) -> Iterator[Scene]:
    root = f"{os.environ['HELIOTROPE_TEST_STORE']}/{uuid4().hex}"
    with open_scene(cast("Rig", jobs), tmp_path, database_url, root) as opened:
        yield opened


def prepare(scene: Scene) -> WorkerContext:
    """The worker's context, with pods that have a home of their own."""
    store = scene.context.storage.artifacts
    environment = {"HELIOTROPE_HOME": "/var/lib/heliotrope", "HELIOTROPE_TRAINER_THREADS": "1", "OMP_NUM_THREADS": "1"}
    context = scene.offer()
    offers = {"engine": replace(context.offers["engine"], environment=environment)}
    return replace(context, offers=offers, fetch_dataset=partial(fetch_dataset, store), launcher_poll_seconds=1.0)


def store_inputs(scene: Scene, store: Artifacts) -> tuple[Path, Path, dict[str, Any]]:
    """Put a base and pairs where pods find them; returns their folders here, and a request's fields."""
    parent = save_tiny_model(scene.folder / "model")
    dataset = save_dataset(scene.folder / "pairs", make_pairs(48))
    uris = {"base": store.locate("bases/tiny"), "dataset": store.locate("datasets/pairs")}
    content_sha256 = store.upload(parent, uris["base"])
    store.upload(dataset, uris["dataset"])
    tags = {"served_model": "tiny", "artifact_uri": uris["base"], "content_sha256": content_sha256}
    version = scene.context.registry.register(str(parent), None, tags)
    return parent, dataset, {"dataset_uri": uris["dataset"], "parent_version": version.version}


def find_largest(first: dict[str, Any], second: dict[str, Any]) -> float:
    """Find the largest difference of a weight."""
    assert first.keys() == second.keys()
    return max(float((second[name] - weight).abs().max()) for name, weight in first.items())


def test_a_run_that_loses_a_pod_ends_with_a_single_process_weights(scene: Scene, jobs: TrainJobs, tmp_path: Path):
    context = prepare(scene)
    store = context.storage.artifacts
    parent, dataset, fields = store_inputs(scene, store)
    run = scene.ask_by(make_request(**fields), RECIPE | SPREAD)
    checkpoints = store.locate(f"remote/{run.run_id}/checkpoints")
    with scene.working(context, seconds=900):
        scene.wait(run, lambda _: any("checkpoint-4/" in at for at in store.list_below(checkpoints)), "saved", 600)
        lost = find_handle(scene.load(run))
        assert len(jobs.api.list_pods(select(lost))) == jobs.nodes
        jobs.evict(lost)
    done = scene.load(run)
    assert (done.state, done.remote and done.remote["evictions"]) == ("succeeded", 1), done.reason
    assert find_handle(done) != lost
    notes = " | ".join(done.progress["notes"])
    sys.stdout.write(f"{notes}\n")
    version = context.registry.load_version(done.candidate_version or "")
    found = load_weights(store.fetch(version.artifact_uri))
    moved = find_largest(load_weights(parent), found)
    worst = find_largest(train_here(parent, dataset, tmp_path / "here", RECIPE), found)
    sys.stdout.write(f"largest difference of a weight: {worst:.2e}; from its parent: {moved:.2e}\n")
    assert worst < TOLERANCE < moved / 5


def test_a_cancelled_run_ends_there_within_seconds(scene: Scene, jobs: TrainJobs):
    context = prepare(scene)
    _, _, fields = store_inputs(scene, context.storage.artifacts)
    run = scene.ask_by(make_request(**fields), RECIPE | SPREAD | {"max_steps": 100_000})
    with scene.working(context, seconds=300) as worker:
        under_way = scene.wait(run, is_under_way, "steps", 600)
        cancel(scene, run.run_id)
        began = time.monotonic()
        worker.join(CANCEL_SECONDS)
        assert not worker.is_alive()
        scene.wait(run, lambda _: not jobs.api.list_pods(select(find_handle(under_way))), "no pods")
    took = time.monotonic() - began
    sys.stdout.write(f"no pod {took:.0f} s after the cancellation\n")
    assert took < CANCEL_SECONDS
    assert scene.load(run).state == "cancelled"
