"""A worker executes runs: every way that they can end."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, update

from services.trainer.adapters.artifacts.run_storage import RunStorage
from services.trainer.domain.training import Interrupted, Job, TrainingFailed, TrainingResult
from services.trainer.handlers.context import WorkerContext
from services.trainer.handlers.execution import execute_next_run
from services.trainer.ports import Mirror, RunReporter
from shared.artifacts.manifest import calculate_content_sha256, write_manifest
from shared.registry.memory import MemoryRegistry
from shared.registry.provenance import check_signed, sign_tags
from shared.signing import SignatureInvalid, Signer, Verifier, generate_key
from shared.tables.trainer import Run
from tests.builders import make_artifacts
from tests.integration.trainer.scene import (
    Sessions,
    fall_silent,
    list_announced,
    load_run,
    make_context,
    make_header,
    make_request,
    request,
    stop_after_two_steps,
    train_quickly,
)

MADE_HERE = ("served_model", "content_sha256")


def test_a_run_that_was_stored_with_a_guard_for_other_methods_is_trained(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    of_an_earlier_release = run.recipe | {"guards": run.recipe["guards"] | {"max_kl": 0.5}}
    with sessions() as session, session.begin():
        session.execute(update(Run).where(Run.run_id == run.run_id).values(recipe=of_an_earlier_release))
    execute_next_run(None, make_context(sessions, tmp_path, train_quickly))
    assert load_run(sessions, run.run_id).state == "succeeded"


def test_a_run_ends_as_a_version_with_its_lineage_and_one_event(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    context = make_context(sessions, tmp_path, train_quickly)
    execute_next_run(None, context)
    execute_next_run(None, context)  # a second message for the same run
    done = load_run(sessions, run.run_id)
    assert (done.state, done.candidate_version, done.progress["step"]) == ("succeeded", "2", 4)
    version = context.registry.load_version("2")
    assert (Path(version.served_model) / "model.safetensors").read_bytes() == b"weights"
    card = (Path(version.served_model) / "README.md").read_text()
    assert "Made by `dpo`: done after 4 steps" in card
    assert f"- dataset sha256: `{'d' * 64}`" in card
    assert json.loads((Path(version.served_model) / "recipe.json").read_text())["max_steps"] == 4
    assert {name: version.tags[name] for name in version.tags if name not in MADE_HERE} == {
        "weights_sha256": "w" * 64,
        "dataset_sha256": "d" * 64,
        "recipe_sha256": run.recipe_sha256,
        "parent_version": "1",
        "training_run_id": str(run.run_id),
        "request_id": str(run.request_id),
        "code_version": "abc123",
        "anchor_version": "1",
    }
    [announced] = list_announced(sessions)
    assert (announced.outcome, announced.candidate_version, announced.weights_sha256) == ("succeeded", "2", "w" * 64)
    assert announced.mlflow_run_id == done.mlflow_run_id
    assert not (tmp_path / "runs" / str(run.run_id)).exists()


def test_a_worker_with_a_key_signs_what_it_registers_and_the_run_knows_its_content(sessions: Sessions, tmp_path: Path):
    run, signer = request(sessions, make_request()), Signer(generate_key())
    context = make_context(sessions, tmp_path, train_quickly)
    execute_next_run(None, WorkerContext(**vars(context) | {"signer": signer}))
    version, done = context.registry.load_version("2"), load_run(sessions, run.run_id)
    check_signed(version, Verifier([signer.public_key]))
    assert (done.content_sha256, done.served_model) == (version.tags["content_sha256"], version.served_model)
    with pytest.raises(SignatureInvalid):
        check_signed(version, Verifier([Signer(generate_key()).public_key]))
    context.registry.tag_version("2", "parent_version", "7")
    with pytest.raises(SignatureInvalid, match="changed after it was signed"):
        check_signed(context.registry.load_version("2"), Verifier([signer.public_key]))


@pytest.mark.parametrize("forged", ("signature", "tag", "bytes"))
def test_nothing_is_trained_from_a_parent_that_nobody_trusted_signed(sessions: Sessions, tmp_path: Path, forged: str):
    signer = Signer(generate_key())
    context = make_context(sessions, tmp_path, train_quickly)
    folder = tmp_path / "parent"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"the weights")
    content = calculate_content_sha256(write_manifest(folder))
    tags = {"served_model": str(folder), "content_sha256": content}
    theirs = Signer(generate_key()) if forged == "signature" else signer
    context.registry.register(str(folder), None, sign_tags(tags, theirs))
    if forged == "tag":
        context.registry.tag_version("2", "parent_version", "7")
    if forged == "bytes":
        (folder / "model.safetensors").write_bytes(b"others")
    storage = RunStorage(make_artifacts(tmp_path / "models"), tmp_path / "runs", Verifier([signer.public_key]))
    request(sessions, make_request(parent_version="2"))
    execute_next_run(None, WorkerContext(**vars(context) | {"storage": storage}))
    [announced] = list_announced(sessions)
    assert announced.outcome == "failed"
    assert "version 2 cannot be used" in (announced.reason or "")


def test_a_failure_is_announced_with_its_reason(sessions: Sessions, tmp_path: Path):
    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        raise TrainingFailed("loss is nan")

    request(sessions, make_request())
    execute_next_run(None, make_context(sessions, tmp_path, train))
    [announced] = list_announced(sessions)
    assert (announced.outcome, announced.reason, announced.candidate_version) == ("failed", "loss is nan", None)


def test_a_surprise_is_a_failure_too(sessions: Sessions, tmp_path: Path):
    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        raise OSError(28, "No space left on device")

    run = request(sessions, make_request())
    execute_next_run(None, make_context(sessions, tmp_path, train))
    assert load_run(sessions, run.run_id).reason == "OSError: [Errno 28] No space left on device"


def test_a_parent_that_is_not_registered_is_a_failure(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request(parent_version="9"))
    execute_next_run(None, make_context(sessions, tmp_path, train_quickly))
    assert load_run(sessions, run.run_id).reason == "no model version 9"


def test_a_worker_told_to_stop_hands_the_run_back_and_the_next_one_resumes(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    context = make_context(sessions, tmp_path, train_quickly)
    stopping = make_context(sessions, tmp_path, stop_after_two_steps)
    execute_next_run(None, stopping)
    released = load_run(sessions, run.run_id)
    assert (released.state, released.enqueued_at, released.worker) == ("queued", None, None)
    assert list_announced(sessions) == []
    resumed: list[str] = []

    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        assert job.resume_from is not None
        resumed.append(job.resume_from.name)
        return train_quickly(job, reporter)

    execute_next_run(None, WorkerContext(**vars(context) | {"methods": {"dpo": train}}))
    assert resumed == ["checkpoint-2"]
    assert load_run(sessions, run.run_id).fencing_token == 2
    assert [event.outcome for event in list_announced(sessions)] == ["succeeded"]


def test_what_was_done_to_a_run_is_told_whoever_goes_on_with_it(sessions: Sessions, client: TestClient, tmp_path: Path):
    run = request(sessions, make_request())

    def roll_back(job: Job, reporter: RunReporter) -> TrainingResult:
        reporter.on_note("roll back at step 7: loss is nan")
        raise Interrupted("at step 7")

    def stop(job: Job, reporter: RunReporter) -> TrainingResult:
        reporter.on_note("stop at step 9: loss is nan")
        raise TrainingFailed("loss is nan")

    execute_next_run(None, make_context(sessions, tmp_path, roll_back))
    execute_next_run(None, make_context(sessions, tmp_path, stop))
    seen = client.get(f"/v1/runs/{run.run_id}", headers=make_header(sessions, client, "ops")).json()
    assert seen["progress"]["notes"] == ["roll back at step 7: loss is nan", "stop at step 9: loss is nan"]


class Mirrored(Mirror):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def begin(self, run_id: str, name: str, config: Mapping[str, Any]) -> None:
        self.told.append(("begin", run_id, config["dataset_sha256"], config["dataset_uri"], config["code_version"]))

    def describe(self, config: Mapping[str, Any]) -> None:
        self.told.append(("describe", dict(config)))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.told.append(("log", step, metrics.get("loss")))

    def end(self, outcome: str, facts: Mapping[str, Any]) -> None:
        self.told.append(("end", outcome, facts["reason"], facts["candidate_version"]))

    def leave(self) -> None:
        self.told.append(("leave",))


def test_a_mirror_is_told_of_each_attempt_and_once_of_the_end(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    mirror = Mirrored()
    begun = ("begin", str(run.run_id), "d" * 64, "/datasets/d", "abc123")
    execute_next_run(None, replace(make_context(sessions, tmp_path, stop_after_two_steps), mirror=mirror))
    assert mirror.told == [begun, ("leave",)]
    execute_next_run(None, replace(make_context(sessions, tmp_path, train_quickly), mirror=mirror))
    assert mirror.told[2:] == [
        begun,
        ("log", 3, 0.5),
        ("log", 4, 0.5),
        ("log", 2, None),  # how far the candidate moved
        ("end", "succeeded", "done", "2"),
        ("leave",),
    ]


def test_a_worker_that_died_after_registering_leaves_no_twin(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    context = make_context(sessions, tmp_path, train_quickly)
    earlier = context.registry.register("/models/c", None, {"training_run_id": str(run.run_id), "served_model": "c"})
    execute_next_run(None, context)
    assert load_run(sessions, run.run_id).candidate_version == earlier.version
    assert len(context.registry.list_versions()) == 2


def test_a_worker_whose_run_was_taken_over_registers_nothing(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())

    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        trained = train_quickly(job, reporter)
        with sessions() as session, session.begin():
            session.execute(update(Run).values(fencing_token=Run.fencing_token + 1))
        return trained

    context = make_context(sessions, tmp_path, train)
    execute_next_run(None, context)
    assert len(context.registry.list_versions()) == 1
    assert list_announced(sessions) == []
    assert load_run(sessions, run.run_id).state == "running"


class LateRegistry(MemoryRegistry):
    """The first folder that is stored arrives late: something else happens first."""

    def __init__(self, artifacts: Path, first: Callable[[], None]) -> None:
        super().__init__(artifacts)
        self._first: Callable[[], None] | None = first

    def log_folder(self, run_id: str, folder: Path, artifact_path: str) -> str:
        if self._first:
            first, self._first = self._first, None
            folder = shutil.copytree(folder, folder.parents[3] / "late")  # what is read is read before it is deleted
            (folder / "model.safetensors").write_bytes(b"late")
            first()
        return super().log_folder(run_id, folder, artifact_path)


def test_a_stale_workers_late_files_are_not_the_registered_versions(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    context = make_context(sessions, tmp_path, train_quickly)

    def take_over() -> None:
        fall_silent(sessions, run.run_id)
        execute_next_run(None, WorkerContext(**vars(stale) | {"worker": "worker-2"}))

    registry = LateRegistry(tmp_path / "artifacts", take_over)
    registry.register("/models/base", None, {"served_model": "/models/base"})
    stale = WorkerContext(**vars(context) | {"registry": registry, "heartbeat_seconds": 60.0})
    execute_next_run(None, stale)
    done = load_run(sessions, run.run_id)
    assert (done.state, done.fencing_token, done.weights_sha256) == ("succeeded", 2, "w" * 64)
    [version] = [found for found in registry.list_versions() if "training_run_id" in found.tags]
    assert (version.version, version.tags["weights_sha256"]) == (done.candidate_version, "w" * 64)
    assert (Path(version.served_model) / "model.safetensors").read_bytes() != b"late"
    assert [event.outcome for event in list_announced(sessions)] == ["succeeded"]


def test_a_database_that_goes_away_leaves_the_run_to_the_sweeper(sessions: Sessions, engine: Engine, tmp_path: Path):
    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        raise ConnectionError("the database is away")

    run = request(sessions, make_request())
    with pytest.raises(ConnectionError):
        execute_next_run(None, make_context(sessions, tmp_path, train))
    assert load_run(sessions, run.run_id).state == "running"
    assert list_announced(sessions) == []
