"""A run without the rest of the system."""

import json
import threading
from pathlib import Path

import pytest

from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Interrupted, Job, TrainingResult
from services.trainer.handlers.standalone import Order, run_standalone
from services.trainer.ports import RunReporter
from shared.errors import Conflict, InvalidRequest


def make_order(tmp_path: Path, **changes: object) -> Order:
    for folder, file in (("base", "config.json"), ("data", "train.parquet")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / file).touch()
    recipe: Recipe = parse_recipe({"name": "mine", "method": "dpo", "max_steps": 4} | changes)
    return Order(recipe, tmp_path / "base", tmp_path / "data", tmp_path / "out")


class Steps:
    """A method of four steps with a checkpoint after each; told to stop, it ends as a real one does."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def __call__(self, job: Job, reporter: RunReporter) -> TrainingResult:
        self.jobs.append(job)
        done = int(job.resume_from.name.removeprefix("checkpoint-")) if job.resume_from else 0
        for step in range(done + 1, 5):
            reporter.on_step(step, 4)
            reporter.on_metrics(step, {"loss": 1.0 / step})
            checkpoint = job.checkpoints / f"checkpoint-{step}"
            checkpoint.mkdir()
            reporter.on_checkpoint(checkpoint)
            if reporter.stopping:
                raise Interrupted(f"at step {step}")
        job.candidate.mkdir()
        return TrainingResult(4, "aa" * 32, "all steps taken", 24, 0)


def ignore(_: str) -> None:
    """Nobody listens."""


def test_a_run_leaves_its_candidate_metrics_and_recipe(tmp_path: Path):
    said: list[str] = []
    run_standalone(make_order(tmp_path), Steps(), said.append, threading.Event())
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["recipe"]["max_steps"] == 4
    assert record["result"]["weights_sha256"] == "aa" * 32
    logged = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert logged[-1] == {"step": 4, "loss": 0.25}
    assert said[0] == "step 1/4: loss 1"
    assert said[-1].endswith("s left")


def test_an_interrupted_run_goes_on_from_its_checkpoint(tmp_path: Path):
    stop, train = threading.Event(), Steps()
    stop.set()
    with pytest.raises(Interrupted):
        run_standalone(make_order(tmp_path), train, ignore, stop)
    run_standalone(make_order(tmp_path), train, ignore, threading.Event())
    assert train.jobs[1].resume_from == tmp_path / "out" / "checkpoints" / "1" / "checkpoint-1"


def test_a_finished_or_foreign_output_folder_is_left_alone(tmp_path: Path):
    run_standalone(make_order(tmp_path), Steps(), ignore, threading.Event())
    with pytest.raises(Conflict, match="finished run"):
        run_standalone(make_order(tmp_path), Steps(), ignore, threading.Event())
    (tmp_path / "out" / "run.json").unlink()
    with pytest.raises(Conflict, match="holds no run"):
        run_standalone(make_order(tmp_path), Steps(), ignore, threading.Event())


def test_another_recipe_does_not_go_on_where_one_stopped(tmp_path: Path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        run_standalone(make_order(tmp_path), Steps(), ignore, stop)
    with pytest.raises(Conflict, match="another recipe"):
        run_standalone(make_order(tmp_path, seed=1), Steps(), ignore, stop)


def test_a_folder_without_its_files_is_named(tmp_path: Path):
    order = make_order(tmp_path)
    (tmp_path / "data" / "train.parquet").unlink()
    with pytest.raises(InvalidRequest, match=r"dataset: .* holds no train\.parquet"):
        run_standalone(order, Steps(), ignore, threading.Event())
