"""A retrain request on Kafka, the trainer's own processes, and two machines of a real Ray cluster that loses one."""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest
import yaml

from shared.auth import create_key
from shared.signing import generate_key
from tests.launchers.ray_rig import TOKEN, RayRig
from tests.launchers.rigs import make_environment
from tests.launchers.test_training import RECIPE, TRAIN, assert_alike, load_weights, train_here
from tests.trainer_processes import (
    Trainer,
    ask_for_training,
    find_port,
    make_registry,
    read_completed,
    run_trainers,
    wait_until,
)

pytestmark = [
    pytest.mark.launchers,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # MLflow's
]

SPREAD = {"parallelism": {"strategy": "ddp", "processes": 2, "nodes": 2}, "batch_size": 2, "launcher": "rays"}


@pytest.fixture
def rig(ray_cluster: str) -> RayRig:
    return RayRig(ray_cluster, 2, TRAIN, cpus=0.5)


@pytest.fixture
def trainer(
    tmp_path: Path, rig: RayRig, database_url: str, redis_url: str, kafka_bootstrap: str, topic_prefix: str
) -> Iterator[Trainer]:
    home, launchers = tmp_path / "home", tmp_path / "launchers.yaml"
    engine = {
        "engine": "ray",
        "url": rig.settings.url,
        "cpus": rig.settings.cpus,
        "driver": list(rig.settings.driver),
        "command": list(rig.settings.command),
        "environment": make_environment(tmp_path / "elsewhere") | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        "limits": {"max_instances": 2},
    }
    launchers.write_text(yaml.safe_dump({"launchers": {"rays": engine}}))
    with run_trainers(
        home,
        yaml.safe_dump(RECIPE | SPREAD | {"name": "tiny"}),
        database_url=database_url,
        redis_url=redis_url,
        kafka_bootstrap=kafka_bootstrap,
        topic_prefix=topic_prefix,
        settings={
            "HELIOTROPE_ARTIFACTS_URI": (home / "store").as_uri(),
            "HELIOTROPE_TRAINER_LAUNCHERS_FILE": str(launchers),
            "HELIOTROPE_TRAINER_LAUNCHER_POLL_SECONDS": "0.5",
            "HELIOTROPE_TRAINER_MANIFEST_KEY": generate_key(),
            "RAY_AUTH_TOKEN": TOKEN,
        },
    ) as trainer:
        yield trainer


def find_remote(trainer: Trainer, request: Any) -> dict[str, Any]:
    run = trainer.load_run(request)
    return (run.remote if run else None) or {}


def has_stored(trainer: Trainer, request: Any) -> bool:
    run = trainer.load_run(request)
    place = trainer.home / "store" / "remote" / str(run.run_id if run else "none") / "checkpoints"
    return any(place.glob("*/checkpoint-*/*/manifest.json"))


def trains(run_id: UUID) -> bool:
    """Whether any process of this machine still trains the run, whatever Ray says."""
    lines = (process.info["cmdline"] or () for process in psutil.process_iter(["cmdline"]))
    return any("train" in line and any(str(run_id) in word for word in line) for line in lines)


def test_a_request_on_the_bus_trains_at_ray_through_the_loss_of_a_machine_and_of_its_worker(
    trainer: Trainer, rig: RayRig
):
    registry = make_registry(trainer)
    trainer.start(port=find_port())
    worker = trainer.start("worker", port=find_port())
    request = ask_for_training(trainer)
    wait_until(trainer, lambda: has_stored(trainer, request), "a checkpoint", 300)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    rig.evict(find_remote(trainer, request)["handle"])
    trainer.start("worker", port=find_port())
    [completed] = read_completed(trainer, 400)
    assert completed.outcome == "succeeded", trainer.read_logs()
    run = trainer.load_run(request)
    assert run is not None
    remote = run.remote or {}
    assert (remote["number"], remote["evictions"], remote["open"], run.fencing_token) == (2, 1, False, 2)
    assert any("going on from checkpoint-" in note for note in run.progress["notes"])
    version = registry.find_version("training_run_id", str(run.run_id))
    assert version is not None
    assert version.tags["signature"]
    dataset = trainer.home / "datasets" / ("d" * 64)
    wanted = train_here(trainer.home / "parent", dataset, trainer.home / "here")
    found = load_weights(Path(version.artifact_uri.removeprefix("file://")))
    assert_alike(found, wanted, load_weights(trainer.home / "parent"))


def test_a_run_at_ray_that_is_cancelled_over_http_is_over_within_seconds(trainer: Trainer, rig: RayRig):
    (trainer.home / "recipes" / "tiny.yaml").write_text(
        yaml.safe_dump(RECIPE | SPREAD | {"name": "tiny", "max_steps": 100_000})
    )
    make_registry(trainer)
    with trainer.sessions() as session, session.begin():
        key = create_key(session, "ann", "admin")
    port = find_port()
    trainer.start(port=port)
    trainer.start("worker", port=find_port())
    request = ask_for_training(trainer)
    wait_until(trainer, lambda: has_stored(trainer, request), "a checkpoint", 300)
    run = trainer.load_run(request)
    assert run is not None
    asked = time.monotonic()
    answer = httpx.post(
        f"http://127.0.0.1:{port}/v1/runs/{run.run_id}/cancel", headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.json()["state"] == "cancelled"
    wait_until(trainer, lambda: not trains(run.run_id), "no process trains", 20)
    sys.stdout.write(f"nothing trains any more after {time.monotonic() - asked:.1f} s\n")
    wait_until(trainer, lambda: not find_remote(trainer, request)["open"], "closed", 20)
    assert rig.launcher.look(find_remote(trainer, request)["handle"]).state == "cancelled"
