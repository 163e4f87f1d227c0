"""The trainer's own processes on real servers: a killed worker's run goes on elsewhere, a stopped one hands it back."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.trainer_processes import (
    Trainer,
    ask_for_training,
    find_port,
    has_state,
    make_registry,
    read_completed,
    run_trainers,
    wait_until,
)

pytestmark = [
    pytest.mark.timeout(280),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # MLflow's
]

RECIPE = """
name: tiny
method: dpo
max_steps: 240
learning_rate: 1.0e-3
batch_size: 4
max_length: 96
lora: {r: 4, alpha: 8}
save_steps: 20
logging_steps: 20
"""


@pytest.fixture
def trainer(
    tmp_path: Path, database_url: str, redis_url: str, kafka_bootstrap: str, topic_prefix: str
) -> Iterator[Trainer]:
    with run_trainers(
        tmp_path / "ho me",
        RECIPE,
        database_url=database_url,
        redis_url=redis_url,
        kafka_bootstrap=kafka_bootstrap,
        topic_prefix=topic_prefix,
        settings={"HELIOTROPE_TRAINER_WANDB": "offline"},
    ) as trainer:
        yield trainer


@pytest.fixture
def registry(trainer: Trainer) -> Any:
    return make_registry(trainer)


def test_a_killed_workers_run_goes_on_from_its_checkpoint_on_another_worker(trainer: Trainer, registry: Any):
    port = find_port()
    trainer.start(port=port)
    worker = trainer.start("worker", port=find_port())
    request = ask_for_training(trainer)
    wait_until(trainer, lambda: len(trainer.list_complete(request)) >= 2, "two checkpoints")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert has_state(trainer, request, "running")
    trainer.start("worker", port=find_port())
    [completed] = read_completed(trainer, 120)
    assert completed.outcome == "succeeded", trainer.read_logs()
    run = trainer.load_run(request)
    assert run is not None
    assert run.fencing_token == 2
    assert '"resume_from": "checkpoint-' in (trainer.home / "2.log").read_text()
    version = registry.find_version("training_run_id", str(run.run_id))
    assert version.version == completed.candidate_version == "2"
    served = Path(version.served_model)
    parents = {path.name for path in (trainer.home / "parent").iterdir()}
    own = {"MLmodel", "README.md", "recipe.json", "manifest.json", "base.json", "adapter"}
    assert {path.name for path in served.iterdir()} == parents - {"model.safetensors"} | own
    assert version.tags["weights_sha256"] == completed.weights_sha256 == run.weights_sha256
    counted = 'heliotrope_training_runs{state="succeeded"} 1.0'
    wait_until(trainer, lambda: counted in httpx.get(f"http://127.0.0.1:{port}/metrics").text, "counted", 5)


def test_a_worker_told_to_stop_hands_its_run_back_within_seconds(trainer: Trainer, registry: Any):
    trainer.start(port=find_port())
    port = find_port()
    worker = trainer.start("worker", port=port)
    request = ask_for_training(trainer)
    wait_until(trainer, lambda: trainer.list_complete(request), "a checkpoint")
    ready = httpx.get(f"http://127.0.0.1:{port}/readyz").json()
    assert ready == {"ready": True, "checks": {"queue": "ok", "database": "ok"}}
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=20) == 0, trainer.read_logs()
    assert has_state(trainer, request, "queued"), trainer.read_logs()
    trainer.start("worker", port=find_port())
    [completed] = read_completed(trainer, 120)
    assert completed.outcome == "succeeded", trainer.read_logs()
    shown = [file.name for file in trainer.home.glob("wandb/offline-run-*/run-*.wandb")]
    run = trainer.load_run(request)
    assert run is not None
    assert shown == [f"run-{run.run_id}.wandb"] * 2
