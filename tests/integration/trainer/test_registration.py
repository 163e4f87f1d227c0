"""What was trained outlives an outage of the registry or its artifact store."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, update

from services.trainer.domain.recipe.sections import Point
from services.trainer.domain.training import Job, TrainingResult
from services.trainer.handlers.context import WorkerContext
from services.trainer.handlers.execution import execute_next_run
from services.trainer.ports import RunReporter
from shared.errors import InvalidRequest
from shared.registry import ModelVersion
from shared.registry.memory import MemoryRegistry
from shared.tables.trainer import Run
from tests.integration.trainer.scene import (
    Sessions,
    list_announced,
    load_run,
    make_context,
    make_request,
    make_sweeper,
    request,
    train_quickly,
)


class AwayRegistry(MemoryRegistry):
    """Answers no call to store a model until so many were made."""

    def __init__(self, artifacts: Path, failures: int) -> None:
        super().__init__(artifacts)
        self.failures = failures
        self.register("/models/base", None, {"served_model": "/models/base"})

    def log_folder(self, run_id: str, folder: Path, artifact_path: str) -> str:
        if artifact_path.endswith("/model") and self.failures:
            self.failures -= 1
            raise OSError("the bucket is away")
        return super().log_folder(run_id, folder, artifact_path)


class CountedMethod:
    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def __call__(self, job: Job, reporter: RunReporter) -> TrainingResult:
        self.jobs.append(job)
        return train_quickly(job, reporter)


def make_worker(sessions: Sessions, folder: Path, registry: MemoryRegistry, method: CountedMethod) -> WorkerContext:
    context = make_context(sessions, folder, method)
    return WorkerContext(**vars(context) | {"registry": registry, "registry_patience": timedelta(seconds=1)})


def test_an_outage_shorter_than_the_patience_is_waited_out(sessions: Sessions, tmp_path: Path):
    run, method = request(sessions, make_request()), CountedMethod()
    execute_next_run(None, make_worker(sessions, tmp_path, AwayRegistry(tmp_path / "artifacts", 1), method))
    assert (load_run(sessions, run.run_id).state, len(method.jobs)) == ("succeeded", 1)


def test_an_outage_longer_than_the_patience_hands_the_run_back_and_nothing_is_trained_twice(
    sessions: Sessions, tmp_path: Path
):
    run, method = request(sessions, make_request()), CountedMethod()
    registry = AwayRegistry(tmp_path / "artifacts", 100)
    worker = make_worker(sessions, tmp_path, registry, method)
    execute_next_run(None, worker)
    handed_back = load_run(sessions, run.run_id)
    assert (handed_back.state, handed_back.worker, list_announced(sessions)) == ("queued", None, [])
    assert handed_back.progress["notes"] == [
        "handed back: the registry does not answer: OSError: the bucket is away",
    ]
    assert (method.jobs[0].candidate / "model.safetensors").read_bytes() == b"weights"
    registry.failures = 0
    execute_next_run(None, worker)
    done = load_run(sessions, run.run_id)
    assert (done.state, done.fencing_token, len(method.jobs)) == ("succeeded", 2, 1)
    version = registry.load_version(done.candidate_version or "")
    assert (Path(version.served_model) / "model.safetensors").read_bytes() == b"weights"
    assert [event.outcome for event in list_announced(sessions)] == ["succeeded"]
    assert not (tmp_path / "runs" / str(run.run_id)).exists()


def test_a_registry_that_is_away_when_the_run_begins_is_waited_for_too(sessions: Sessions, tmp_path: Path):
    run, method = request(sessions, make_request()), CountedMethod()

    class Late(AwayRegistry):
        def start_run(self, name: str, tags: Mapping[str, str]) -> str:
            if self.failures:
                self.failures -= 1
                raise OSError("no route to MLflow")
            return super().start_run(name, tags)

    execute_next_run(None, make_worker(sessions, tmp_path, Late(tmp_path / "artifacts", 1), method))
    assert (load_run(sessions, run.run_id).state, len(method.jobs)) == ("succeeded", 1)


def run_out_of_memory(job: Job, points: object) -> dict[Point, float]:
    raise RuntimeError("out of memory on every device")


@pytest.mark.parametrize(
    ("drift", "unmeasured"),
    [
        ({}, None),
        (
            {"max_parent_kl": 1.0},
            "drift.max_parent_kl could not be checked: RuntimeError: out of memory on every device",
        ),
    ],
)
def test_a_movement_that_cannot_be_measured_costs_no_candidate_and_is_told_where_there_is_a_ceiling(
    sessions: Sessions, tmp_path: Path, drift: dict[str, float], unmeasured: str | None
):
    run, method = request(sessions, make_request(), drift=drift), CountedMethod()
    worker = make_worker(sessions, tmp_path, AwayRegistry(tmp_path / "artifacts", 0), method)
    execute_next_run(None, WorkerContext(**vars(worker) | {"measure_kl": run_out_of_memory}))
    done = load_run(sessions, run.run_id)
    assert (done.state, done.candidate_version) == ("succeeded", "2")
    [announced] = list_announced(sessions)
    assert announced.unmeasured_kl == unmeasured
    card = (Path(worker.registry.load_version("2").served_model) / "README.md").read_text()
    assert ("unmeasured kl" in card) == (unmeasured in done.progress.get("notes", ())) == (unmeasured is not None)


def test_an_anchor_that_is_gone_is_told_where_there_is_a_ceiling_for_it(sessions: Sessions, tmp_path: Path):
    request(sessions, make_request(), drift={"max_anchor_kl": 1.0})
    execute_next_run(None, make_worker(sessions, tmp_path, AwayRegistry(tmp_path / "artifacts", 0), CountedMethod()))
    [announced] = list_announced(sessions)
    assert announced.outcome == "succeeded"
    assert (announced.unmeasured_kl or "").startswith("drift.max_anchor_kl could not be checked")


def test_a_candidate_beyond_a_ceiling_fails_its_run_and_is_not_kept(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request(), drift={"max_parent_kl": 0.1})  # 0.25 are measured
    execute_next_run(None, make_worker(sessions, tmp_path, AwayRegistry(tmp_path / "artifacts", 0), CountedMethod()))
    assert (load_run(sessions, run.run_id).progress["cause"], list_kept(tmp_path, run)) == ("guard", [])


class RefusingRegistry(AwayRegistry):
    """Answers, but takes no model."""

    def register(self, source: str, run_id: str | None, tags: Mapping[str, str]) -> ModelVersion:
        if run_id is not None:
            raise InvalidRequest("the name is taken")
        return super().register(source, run_id, tags)


def list_kept(home: Path, run: Run) -> list[bytes]:
    return [path.read_bytes() for path in (home / "runs" / str(run.run_id)).glob("*/candidate/model.safetensors")]


def test_what_fails_after_training_is_tried_three_times_and_then_leaves_the_candidate_where_it_is(
    sessions: Sessions, tmp_path: Path
):
    run, method = request(sessions, make_request()), CountedMethod()
    worker = make_worker(sessions, tmp_path, RefusingRegistry(tmp_path / "artifacts", 0), method)
    for state in ("queued", "queued", "failed"):
        execute_next_run(None, worker)
        done = load_run(sessions, run.run_id)
        assert (done.state, list_kept(tmp_path, run), len(method.jobs)) == (state, [b"weights"], 1)
    assert (done.reason, done.progress["cause"]) == ("the name is taken", "registration")
    assert done.progress["notes"] == ["handed back with its candidate: the name is taken"]
    assert [event.outcome for event in list_announced(sessions)] == ["failed"]


def test_a_deadline_that_passes_after_training_leaves_the_candidate_where_it_is(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())

    def take_too_long(job: Job, points: object) -> dict[Point, float]:
        with sessions() as session, session.begin():
            session.execute(update(Run).values(deadline_at=func.now() - timedelta(minutes=1)))
        make_sweeper(sessions, lambda device: None).sweep()
        return {}

    worker = make_worker(sessions, tmp_path, AwayRegistry(tmp_path / "artifacts", 0), CountedMethod())
    execute_next_run(None, WorkerContext(**vars(worker) | {"measure_kl": take_too_long}))
    done = load_run(sessions, run.run_id)
    assert (done.state, done.progress["cause"], list_kept(tmp_path, run)) == ("failed", "deadline", [b"weights"])


def test_weights_that_could_not_be_saved_leave_their_checkpoints(sessions: Sessions, tmp_path: Path):
    def fail_to_save(job: Job, reporter: RunReporter) -> TrainingResult:
        train_quickly(job, reporter)
        reporter.on_phase("saving")
        raise OSError(28, "No space left on device")

    run = request(sessions, make_request())
    execute_next_run(None, make_context(sessions, tmp_path, fail_to_save))
    assert load_run(sessions, run.run_id).state == "failed"
    assert (tmp_path / "runs" / str(run.run_id) / "1" / "checkpoint-4").is_dir()
