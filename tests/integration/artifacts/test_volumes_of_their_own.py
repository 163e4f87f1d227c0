"""No two processes share a disk: curator, two trainers and evaluator each have a folder of their own and a real S3."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import sessionmaker

from services.evaluator.adapters.datasets import load_training_questions
from services.evaluator.adapters.generation_process import SubprocessGenerator
from services.evaluator.adapters.models import fetch_model
from services.evaluator.ports import GenerationJob, JobModel, JobPrompt
from services.trainer.adapters.artifacts.dataset import fetch_dataset
from services.trainer.bootstrap.methods import train_here
from services.trainer.domain.training import Job, TrainingResult
from services.trainer.handlers.context import WorkerContext
from services.trainer.handlers.execution import execute_next_run
from services.trainer.ports import RunReporter
from shared.artifacts import ArtifactNotFound, Artifacts, calculate_weights_sha256, open_artifacts
from shared.artifacts.models import BaseReference, is_adapter, read_base
from shared.registry import ModelRegistry
from shared.settings import Settings
from shared.signing import Verifier
from shared.tables.curator import Dataset
from tests.integration.curator.scene import WORDS, Curator, adopted, hashed, live, open_curator
from tests.integration.trainer.scene import Sessions, load_run, make_context, make_request, request
from tests.object_storage import BUCKET, serve_objects
from tests.unit.trainer.tiny_model import save_tiny_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

ROOT = f"s3://{BUCKET}/shop"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address that a deployment stores under, its server and credentials in the environment."""
    with (
        serve_objects(tmp_path_factory.mktemp("objects") / "data") as storage,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in storage.environment.items():
            patch.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield ROOT
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def open_own(home: Path) -> Artifacts:
    return open_artifacts(Settings(home=home, artifacts_uri=ROOT))


def freeze_history(curator: Curator) -> str:
    """Ines and Tomas live and a dataset is frozen; its address."""
    curator.hear(adopted(), *live(hashed("ines@shop"), 1, WORDS), *live(hashed("tomas@shop"), 1001, "tomas"))
    row = curator.freeze()
    with curator.sessions() as session:
        dataset = session.get(Dataset, row.dataset_sha256)
        assert dataset is not None
        return dataset.uri


def open_trainer(sessions: Sessions, home: Path, registry: ModelRegistry | None = None) -> WorkerContext:
    artifacts = open_own(home)
    context = make_context(sessions, home, train_really, artifacts)
    fetch = lambda uri: fetch_dataset(artifacts, uri)  # noqa: E731
    return replace(context, fetch_dataset=fetch, registry=registry or context.registry)


def train_really(job: Job, reporter: RunReporter) -> TrainingResult:
    return train_here(1, job, reporter)


def stop_at_step_two(context: WorkerContext) -> WorkerContext:
    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        on_step = reporter.on_step

        def count(step: int, total: int) -> None:
            if step == 2:
                context.stop.set()
            on_step(step, total)

        reporter.on_step = count  # type: ignore[method-assign]
        return train_here(1, job, reporter)

    return replace(context, methods={"dpo": train})


def test_a_dataset_a_run_moved_between_machines_and_its_candidate_travel_by_address(
    store: str, database_url: str, engine: Engine, tmp_path: Path
):
    sessions = sessionmaker(engine, expire_on_commit=False)
    base = open_own(tmp_path / "admin").store(save_tiny_model(tmp_path / "admin" / "base"), "models/base")
    with open_curator(database_url, tmp_path / "curator", artifacts_uri=store) as curator:
        dataset = freeze_history(curator)
    assert dataset.startswith(f"{store}/datasets/")
    for home in ("curator", "admin"):
        shutil.rmtree(tmp_path / home)

    run = request(sessions, make_request(dataset_uri=dataset))
    first = open_trainer(sessions, tmp_path / "trainer-1")
    first.registry.load_version("1").tags["served_model"] = base  # type: ignore[index]
    execute_next_run(None, stop_at_step_two(first))
    assert load_run(sessions, run.run_id).state == "queued"
    shutil.rmtree(tmp_path / "trainer-1")

    second = open_trainer(sessions, tmp_path / "trainer-2", first.registry)
    execute_next_run(None, second)
    done = load_run(sessions, run.run_id)
    assert (done.state, done.reason) == ("succeeded", "all steps taken")
    candidate = second.registry.load_version(str(done.candidate_version))
    assert candidate.artifact_uri.startswith(f"{store}/candidates/{run.run_id}/")
    assert open_own(tmp_path / "admin").list_below(f"{store}/checkpoints/{run.run_id}") == []
    shutil.rmtree(tmp_path / "trainer-2")
    stored = open_own(tmp_path / "admin").fetch(candidate.artifact_uri)
    assert is_adapter(stored)
    weights = calculate_weights_sha256(open_own(tmp_path / "admin").fetch(base))
    assert read_base(stored) == BaseReference(base, None, weights)

    evaluator = open_own(tmp_path / "evaluator")
    assert len(load_training_questions(evaluator, dataset)) > 10
    folders = [
        fetch_model(evaluator, Verifier([]), version) for version in (second.registry.load_version("1"), candidate)
    ]
    assert all(folder.is_relative_to(tmp_path / "evaluator") for folder in folders)
    job = GenerationJob(
        models=[JobModel(str(number), str(folder)) for number, folder in enumerate(folders)],
        prompts=[JobPrompt("p", [{"role": "user", "content": "where is my parcel?"}])],
        max_new_tokens=4,
        batch_size=1,
        dtype="float32",
        sampling="greedy",
        seed=0,
    )
    answers = SubprocessGenerator().generate(job, lambda progress: None).answers
    assert answers.keys() == {"0", "1"}


def test_erasing_a_user_replaces_the_stored_dataset_and_leaves_no_copy_behind(
    store: str, database_url: str, tmp_path: Path
):
    with open_curator(database_url, tmp_path / "curator", artifacts_uri=store) as curator:
        dataset = freeze_history(curator)
        assert curator.erase().status_code == 201
        with curator.sessions() as session:
            old = session.get(Dataset, dataset.rpartition("/")[2])
            assert old is not None
            successor = old.replaced_by
    artifacts = open_own(tmp_path / "trainer")
    with pytest.raises(ArtifactNotFound):
        artifacts.fetch(dataset)
    assert artifacts.fetch(f"{store}/datasets/{successor}").is_dir()
    assert not list((tmp_path / "curator" / "artifacts").glob("*/train.parquet"))
