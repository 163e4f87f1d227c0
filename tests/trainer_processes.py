"""The trainer's processes around one home, started for real, and what they leave behind."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, sessionmaker

from shared.artifacts.manifest import write_manifest
from shared.bus import decode, encode
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer
from shared.events import Reason, RetrainRequested, TrainingCompleted
from shared.ids import new_id
from shared.tables.trainer import Run
from tests.unit.trainer.tiny_model import make_pairs, save_dataset, save_tiny_model

if TYPE_CHECKING:
    from shared.registry.mlflow import MlflowRegistry

ROOT = Path(__file__).parents[1]


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


@contextmanager
def run_trainers(
    home: Path,
    recipe: str,
    *,
    database_url: str,
    redis_url: str,
    kafka_bootstrap: str,
    topic_prefix: str,
    settings: dict[str, str] | None = None,
) -> Iterator[Trainer]:
    """A home with one recipe, named tiny; whatever was started around it is gone afterwards."""
    (home / "recipes").mkdir(parents=True)
    (home / "recipes" / "tiny.yaml").write_text(recipe)
    engine = create_engine(database_url, pool_pre_ping=True)
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
    trainer = Trainer(home, environment | (settings or {}), sessionmaker(engine, expire_on_commit=False))
    try:
        yield trainer
    finally:
        for process in trainer.processes:
            process.kill()
            process.wait(10)
        engine.dispose()


def make_registry(trainer: Trainer) -> "MlflowRegistry":
    """The trainer's MLflow, with the parent as version 1."""
    from mlflow import MlflowClient

    from shared.registry.mlflow import MlflowRegistry

    uri = trainer.environment["HELIOTROPE_MLFLOW_TRACKING_URI"]
    MlflowClient(uri).create_experiment("heliotrope", artifact_location=(trainer.home / "artifacts").as_uri())
    registry = MlflowRegistry(uri, "heliotrope")
    parent = save_tiny_model(trainer.home / "parent")
    registry.register(str(parent), None, {"served_model": str(parent)})
    return registry


def ask_for_training(trainer: Trainer, *, minutes: float = 10) -> RetrainRequested:
    now, dataset = datetime.now(UTC), save_dataset(trainer.home / "datasets" / ("d" * 64), make_pairs(24))
    write_manifest(dataset)  # what is not frozen is not trained on
    request = RetrainRequested(
        request_id=new_id(),
        reasons=[Reason(kind="volume", summary="24 new pairs", value=24, threshold=20)],
        dataset_sha256="d" * 64,
        dataset_uri=str(dataset),
        parent_version="1",
        requested_at=now,
        deadline_at=now + timedelta(minutes=minutes),
    )
    producer = KafkaBusProducer(trainer.environment["HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS"], client_id="test")
    prefix = trainer.environment["HELIOTROPE_TOPIC_PREFIX"]
    producer.send(encode(request, source="test", topic_prefix=prefix)).result(timeout=15)
    producer.close(5)
    return request


def read_completed(
    trainer: Trainer, wait_seconds: float, *, request: RetrainRequested | None = None, more_seconds: float = 0
) -> list[TrainingCompleted]:
    """What was announced, of one request or of all: until the first came, and for so many seconds more."""
    prefix = trainer.environment["HELIOTROPE_TOPIC_PREFIX"]
    consumer = KafkaBusConsumer(
        trainer.environment["HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS"],
        [prefix + TrainingCompleted.topic],
        None,
        client_id="test",
    )
    events: list[TrainingCompleted] = []
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        found = [event for event in map(decode, consumer.poll(1.0)) if isinstance(event, TrainingCompleted)]
        found = [event for event in found if request is None or event.request_id == request.request_id]
        if found and not events:
            deadline = time.monotonic() + more_seconds
        events += found
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
