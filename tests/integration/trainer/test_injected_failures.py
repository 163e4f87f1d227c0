"""Runs that break inside the loop: each ends with its reason on the row, the event and the metrics, and no version.

Trainers, Postgres and MLflow are the real ones, entered where the Celery task enters them.
"""

import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from prometheus_client import REGISTRY
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, sessionmaker

from services.trainer.adapters.artifacts.recipe_files import load_recipe
from services.trainer.adapters.artifacts.run_storage import RunStorage
from services.trainer.bootstrap.methods import METHODS
from services.trainer.consumer import RetrainHandler
from services.trainer.domain.planning.scheduling import Patience
from services.trainer.domain.training import CAUSES, Cause, Job, TrainingResult
from services.trainer.handlers.context import WorkerContext
from services.trainer.handlers.execution import execute_next_run
from services.trainer.handlers.sweeper import Sweeper
from services.trainer.ports import RunReporter
from shared.bus import Record, decode
from shared.events import Reason, RetrainRequested, TrainingCompleted
from shared.ids import new_id
from shared.registry.mlflow import MlflowRegistry
from shared.tables.trainer import Outbox, Run
from tests.builders import make_artifacts
from tests.unit.trainer.methods.runs import freeze
from tests.unit.trainer.tiny_model import make_pairs, save_dataset, save_tiny_model

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    # MLflow's own mapping, seen by SQLAlchemy 2.1
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]
DISK_BYTES = 2**18
"""Less than one checkpoint takes."""
ROOM_BYTES = 2**25
"""Less than the logits of one pair take, in `wide_parent`'s vocabulary."""

DPO = {"name": "inject", "method": "dpo", "max_steps": 6, "batch_size": 4, "max_length": 96, "save_steps": 2}
JUDGE = {"name": "judge", "method": "reward", "max_steps": 8, "learning_rate": 1e-2, "max_length": 96}
RUNAWAY = {
    "name": "policy",
    "kl_coefficient": 0.0,
    "learning_rate": 1e-2,
    "tuning": "full",
    "batch_size": 8,
    "max_steps": 20,
    "max_length": 96,
    "sampling": {"max_new_tokens": 12},
    "guards": {"max_kl": 0.1, "patience": 2, "max_adjustments": 0},
}


@dataclass
class Loop:
    """What stands around the runs: a champion, version 1 of MLflow's registry, and the trainer's handlers."""

    sessions: "sessionmaker[Session]"
    registry: MlflowRegistry
    tracking_uri: str
    folder: Path
    champion: Path
    champion_files: dict[str, bytes]

    def train(self, recipe: dict[str, Any], dataset: Path, context: WorkerContext) -> Run:
        """The run of one request, after two messages of the queue and a sweep."""
        recipes = self.folder / "recipes"
        recipes.mkdir()
        (recipes / "inject.yaml").write_text(yaml.safe_dump(recipe))
        now = datetime.now(UTC)
        event = RetrainRequested(
            request_id=new_id(),
            reasons=[Reason(kind="volume", summary="60 new pairs", value=60, threshold=50)],
            dataset_sha256="d" * 64,
            dataset_uri=str(dataset),
            parent_version="1",
            requested_at=now,
            deadline_at=now + timedelta(minutes=30),
        )
        handler = RetrainHandler(partial(load_recipe, recipes), "inject", "")
        with self.sessions() as session, session.begin():
            handler.handle(session, event)
        for _ in range(2):
            execute_next_run(None, context)
        self.sweep()
        return self.load_run()

    def sweep(self) -> None:
        patience = Patience(timedelta(seconds=60), timedelta(seconds=30))
        Sweeper(self.sessions, lambda _device: None, patience, timedelta(seconds=30), "").sweep()

    def load_run(self) -> Run:
        with self.sessions() as session:
            return session.scalars(select(Run)).one()

    def list_announced(self) -> list[Any]:
        with self.sessions() as session:
            rows = session.scalars(select(Outbox).order_by(Outbox.sequence)).all()
        return [decode(Record(row.topic, row.key, row.value)) for row in rows]

    def make_context(self, **changes: Any) -> WorkerContext:
        settings: dict[str, Any] = {
            "sessions": self.sessions,
            "registry": self.registry,
            "methods": {name: partial(train, 1) for name, train in METHODS.items()},
            "measure_kl": lambda job, points: dict.fromkeys(points, 0.0),
            "runs_folder": self.folder / "runs",
            "worker": "worker-1",
            "code_version": "abc123",
            "topic_prefix": "",
            "heartbeat_seconds": 1.0,
            "heartbeat_timeout": timedelta(seconds=30),
            "stop": threading.Event(),
            "storage": RunStorage(make_artifacts(self.folder / "models"), self.folder / "runs"),
        }
        return WorkerContext(**settings | changes)


@pytest.fixture(scope="module")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's migrations take seconds, a copy takes none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("parent"))


@pytest.fixture(scope="module")
def wide_parent(tmp_path_factory: pytest.TempPathFactory, parent: Path) -> Path:
    """So many words that the logits of a single pair are the largest thing by far."""
    from transformers import AutoModelForCausalLM

    folder = shutil.copytree(parent, tmp_path_factory.mktemp("wide") / "parent")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(2**18, mean_resizing=False)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def champion(request: pytest.FixtureRequest) -> Path:
    """The tiny model, or the fixture that a test names in its place."""
    folder: Path = request.getfixturevalue(getattr(request, "param", "parent"))
    return folder


@pytest.fixture
def loop(database_url: str, mlflow_tables: Path, champion: Path, tmp_path: Path) -> Iterator[Loop]:
    from mlflow import MlflowClient

    shutil.copyfile(mlflow_tables, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    MlflowClient(uri).create_experiment("heliotrope", artifact_location=(tmp_path / "artifacts").as_uri())
    registry = MlflowRegistry(uri, "heliotrope")
    registry.register(str(champion), None, {"served_model": str(champion)})
    registry.set_alias("champion", "1")
    engine = create_engine(database_url)
    yield Loop(sessionmaker(engine, expire_on_commit=False), registry, uri, tmp_path, champion, read_files(champion))
    engine.dispose()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={DISK_BYTES},mode=755"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def assert_failed(loop: Loop, run: Run, words: str, cause: Cause) -> None:
    """Row, event, Prometheus and MLflow agree; nothing is registered, and the champion is what it was."""
    assert run.state == "failed"
    assert words in (run.reason or "")
    [event] = loop.list_announced()
    assert isinstance(event, TrainingCompleted)
    assert (event.run_id, event.outcome, event.reason) == (run.run_id, "failed", run.reason)
    assert (event.candidate_version, event.weights_sha256) == (None, None)
    assert count("heliotrope_training_runs", state="failed") == 1
    assert count("heliotrope_training_runs", state="running") == 0
    assert {name: count("heliotrope_training_failed_runs", cause=name) for name in CAUSES} == {
        name: name == cause for name in CAUSES
    }
    guarded = cause == "guard"
    assert count("heliotrope_training_guarded_runs", action="stop") == guarded
    assert [version.version for version in loop.registry.list_versions()] == ["1"]
    assert loop.registry.load_alias("champion") == "1"
    assert read_files(loop.champion) == loop.champion_files
    assert not (loop.folder / "runs" / str(run.run_id)).exists()
    if run.mlflow_run_id:
        from mlflow import MlflowClient

        tracked = MlflowClient(loop.tracking_uri).get_run(run.mlflow_run_id)
        assert tracked.info.status == "FAILED"
        assert ("guards/stop" in tracked.data.metrics) == guarded


def count(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_loss_that_is_no_number_fails_the_run(loop: Loop):
    run = loop.train(DPO | {"learning_rate": 1e30}, freeze(loop.folder / "datasets"), loop.make_context())
    assert_failed(loop, run, " is nan", "guard")
    assert any(note.startswith("stop at step ") for note in run.progress["notes"])


def test_a_reward_model_that_learns_to_tell_nothing_apart_fails_the_run(loop: Loop):
    """Every pair is there both ways round, so the best that it can do is to score all answers alike."""
    pair = make_pairs(1, epsilon=0.0)[0]
    pairs = [pair, pair | {"chosen": pair["rejected"], "rejected": pair["chosen"]}] * 8
    guards = {"min_reward_spread": 0.01, "patience": 3}
    judge = JUDGE | {"max_steps": 60, "tuning": "full", "batch_size": 16, "learning_rate": 1e-3, "guards": guards}
    policy = {**RUNAWAY, "method": "rloo", "sampling": {"max_new_tokens": 12, "cut_off_penalty": 0.0}}
    recipe = {"name": "inject", "method": "ladder", "stages": [judge, policy]}
    run = loop.train(recipe, save_dataset(loop.folder / "contradictory", pairs), loop.make_context())
    assert_failed(loop, run, "rewards no longer differ: spread below 0.01", "guard")
    assert run.progress["step"] > 3
    assert run.progress["notes"][-1].startswith("judge: stop at step ")


@pytest.mark.parametrize("method", ["rloo", "ppo"])
def test_a_kl_that_runs_away_fails_the_run(loop: Loop, method: str):
    recipe = {"name": "inject", "method": "ladder", "stages": [JUDGE, RUNAWAY | {"method": method}]}
    run = loop.train(recipe, freeze(loop.folder / "datasets"), loop.make_context())
    assert_failed(loop, run, "nats is above 0.1", "guard")
    assert (run.reason or "").startswith("policy: KL ")


class Starved:
    """The reporter of a run that has little memory from its first step on."""

    def __init__(self, reporter: RunReporter) -> None:
        self._reporter = reporter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reporter, name)

    def on_phase(self, phase: str) -> None:
        self._reporter.on_phase(phase)
        if phase == "training":
            room = psutil.Process().memory_info().vms + ROOM_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (room, resource.getrlimit(resource.RLIMIT_AS)[1]))


def train_starved(job: Job, reporter: RunReporter) -> TrainingResult:
    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        return METHODS["dpo"](1, job, Starved(reporter))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("champion", ["wide_parent"], indirect=True)
def test_a_pair_that_does_not_fit_into_memory_fails_the_run(loop: Loop):
    dataset, context = freeze(loop.folder / "datasets"), loop.make_context(methods={"dpo": train_starved})
    run = loop.train(DPO | {"batch_size": 2}, dataset, context)
    assert_failed(loop, run, "out of memory with 1 rows at a time: ", "memory")
    assert run.progress["notes"] == ["memory ran out with 2 rows at a time: on with 1"]


def test_a_full_disk_fails_the_run(loop: Loop, small_disk: Path):
    run = loop.train(DPO, freeze(loop.folder / "datasets"), loop.make_context(runs_folder=small_disk))
    assert_failed(loop, run, f"no space is left under '{small_disk}/{run.run_id}/1'", "disk")
    assert list(small_disk.iterdir()) == []


def test_a_broken_recipe_fails_the_run_before_it_is_queued(loop: Loop):
    recipe = DPO | {"learning_rate": "fast", "guards": {"max_kl": -1}}
    run = loop.train(recipe, loop.folder / "never-read", loop.make_context())
    assert_failed(loop, run, "recipe 'inject' cannot be used: ", "setup")
    assert (run.fencing_token, run.mlflow_run_id) == (0, None)
    assert "learning_rate" in (run.reason or "")
    assert "guards.max_kl" in (run.reason or "")
