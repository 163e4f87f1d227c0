"""What was trained outlives an outage of the registry or its artifact store."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from services.trainer.domain.guards.kl import Point
from services.trainer.domain.training import Job, TrainingResult
from services.trainer.handlers.context import WorkerContext
from services.trainer.handlers.execution import execute_next_run
from services.trainer.ports import RunReporter
from shared.registry.memory import MemoryRegistry
from tests.integration.trainer.scene import (
    Sessions,
    list_announced,
    load_run,
    make_context,
    make_request,
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


def test_a_movement_that_cannot_be_measured_fails_no_run_without_a_ceiling(sessions: Sessions, tmp_path: Path):
    run, method = request(sessions, make_request()), CountedMethod()

    def run_out_of_memory(job: Job, points: object) -> dict[Point, float]:
        raise RuntimeError("out of memory on every device")

    worker = make_worker(sessions, tmp_path, AwayRegistry(tmp_path / "artifacts", 0), method)
    execute_next_run(None, WorkerContext(**vars(worker) | {"measure_kl": run_out_of_memory}))
    done = load_run(sessions, run.run_id)
    assert (done.state, done.candidate_version) == ("succeeded", "2")
