"""The trainer's own processes on real servers: a killed worker's run goes on elsewhere, a stopped one hands it back."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, sessionmaker

from shared.bus import decode, encode
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer
from shared.events import Reason, RetrainRequested, TrainingCompleted
from shared.ids import new_id
from shared.tables.trainer import Run
from tests.unit.trainer.tiny_model import make_pairs, save_dataset, save_tiny_model

pytestmark = [
    pytest.mark.timeout(280),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # MLflow's
]

ROOT = Path(__file__).parents[2]
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


@dataclass
class Trainer:
    """The trainer's processes around one home, and what they left in the database."""

    home: Path
    environment: dict[str, str]
    sessions: "sessionmaker[Session]"
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *role: str, port: int) -> subprocess.Popen[bytes]:
        with (self.home / f"{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "services.trainer", *role],
                env=self.environment | {"HELIOTROPE_PORT": str(port)},
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def load_run(self, request: RetrainRequested) -> Run | None:
        with self.sessions() as session:
            return session.scalars(select(Run).where(Run.request_id == request.request_id)).one_or_none()

    def list_complete(self, request: RetrainRequested) -> list[str]:
        run = self.load_run(request)
        markers = (self.home / "runs" / str(run.run_id)).glob("*/checkpoint-*/complete") if run else []
        return sorted(marker.parent.name for marker in markers)

    def read_logs(self) -> str:
        return "\n".join(path.read_text()[-4000:] for path in sorted(self.home.glob("*.log")))


def find_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def trainer(
    tmp_path: Path, database_url: str, redis_url: str, kafka_bootstrap: str, topic_prefix: str
) -> Iterator[Trainer]:
    home = tmp_path / "ho me"
    (home / "recipes").mkdir(parents=True)
    (home / "recipes" / "tiny.yaml").write_text(RECIPE)
    engine = create_engine(database_url)
    environment = os.environ | {
        "HELIOTROPE_HOME": str(home),
        "HELIOTROPE_DATABASE_URL": database_url,
        "HELIOTROPE_REDIS_URL": redis_url,
        "HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "HELIOTROPE_TOPIC_PREFIX": topic_prefix,
        "HELIOTROPE_MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db",
        "HELIOTROPE_TRAINER_RECIPE": "tiny",
        "HELIOTROPE_TRAINER_RECIPES_DIR": str(home / "recipes"),
        "HELIOTROPE_TRAINER_HEARTBEAT_SECONDS": "0.3",
        "HELIOTROPE_TRAINER_HEARTBEAT_TIMEOUT_SECONDS": "4",
        "HELIOTROPE_TRAINER_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    trainer = Trainer(home, environment, sessionmaker(engine, expire_on_commit=False))
    yield trainer
    for process in trainer.processes:
        process.kill()
        process.wait()
    engine.dispose()


@pytest.fixture
def registry(trainer: Trainer) -> Any:
    """MLflow on SQLite, with the parent as version 1."""
    from mlflow import MlflowClient

    from shared.registry.mlflow import MlflowRegistry

    uri = trainer.environment["HELIOTROPE_MLFLOW_TRACKING_URI"]
    MlflowClient(uri).create_experiment("heliotrope", artifact_location=(trainer.home / "artifacts").as_uri())
    registry = MlflowRegistry(uri, "heliotrope")
    parent = save_tiny_model(trainer.home / "parent")
    registry.register(str(parent), None, {"served_model": str(parent)})
    return registry


def ask_for_training(trainer: Trainer) -> RetrainRequested:
    now = datetime.now(UTC)
    request = RetrainRequested(
        request_id=new_id(),
        reasons=[Reason(kind="volume", words="24 new pairs", value=24, threshold=20)],
        dataset_sha256="d" * 64,
        dataset_uri=str(save_dataset(trainer.home / "datasets" / ("d" * 64), make_pairs(24))),
        parent_version="1",
        requested_at=now,
        deadline_at=now + timedelta(minutes=10),
    )
    producer = KafkaBusProducer(trainer.environment["HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS"], client_id="test")
    prefix = trainer.environment["HELIOTROPE_TOPIC_PREFIX"]
    producer.send(encode(request, source="test", topic_prefix=prefix)).result(timeout=15)
    producer.close(5)
    return request


def read_completed(trainer: Trainer, wait_seconds: float) -> list[TrainingCompleted]:
    prefix = trainer.environment["HELIOTROPE_TOPIC_PREFIX"]
    consumer = KafkaBusConsumer(
        trainer.environment["HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS"],
        [prefix + TrainingCompleted.topic],
        None,
        client_id="test",
    )
    events: list[TrainingCompleted] = []
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline and not events:
        events += [event for event in map(decode, consumer.poll(1.0)) if isinstance(event, TrainingCompleted)]
    consumer.close()
    return events


def wait_until(trainer: Trainer, condition: Callable[[], object], words: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{words}: not within {seconds} s\n{trainer.read_logs()}")
        time.sleep(0.05)


def has_state(trainer: Trainer, request: RetrainRequested, state: str) -> bool:
    run = trainer.load_run(request)
    return run is not None and run.state == state


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
    assert {path.name for path in served.iterdir()} == {
        *(path.name for path in (trainer.home / "parent").iterdir()),
        "README.md",
        "recipe.json",
    }
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
