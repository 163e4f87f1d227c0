"""Out of memory, out of disk, out of budget."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from services.trainer.domain.guards.rules import explain_overrun
from services.trainer.domain.planning.planner import shrink_micro_batch
from services.trainer.domain.recipe.sections import Budget
from services.trainer.domain.training import Job, OutOfMemory, TrainingFailed, TrainingResult
from services.trainer.handlers.memory_fallback import train_with_fitting_batch
from services.trainer.ports import RunReporter
from shared.errors import InvalidRequest
from tests.builders import make_recipe
from tests.unit.trainer.quiet_reporter import QuietReporter
from tests.unit.trainer.tiny_model import make_pairs, save_dataset, save_tiny_model


def make_job(folder: Path, **settings: Any) -> Job:
    return Job(make_recipe(**settings), folder / "parent", folder / "dataset", folder / "1", None, folder / "candidate")


@pytest.mark.parametrize(
    ("method", "batch", "accumulation", "expected"),
    [("dpo", 8, 1, (4, 2)), ("dpo", 6, 2, (3, 4)), ("dpo", 3, 1, (1, 3)), ("kto", 4, 1, (2, 2))],
)
def test_a_smaller_micro_batch_keeps_the_rows_of_a_step(
    method: str, batch: int, accumulation: int, expected: tuple[int, int]
):
    recipe = make_recipe(method=method, batch_size=batch, gradient_accumulation_steps=accumulation)
    smaller = shrink_micro_batch(recipe)
    assert smaller is not None
    assert (smaller.batch_size, smaller.gradient_accumulation_steps) == expected


@pytest.mark.parametrize(("method", "batch"), [("dpo", 1), ("kto", 2), ("kto", 3)])
def test_there_is_a_smallest_micro_batch(method: str, batch: int):
    assert shrink_micro_batch(make_recipe(method=method, batch_size=batch)) is None


class Narrow:
    """Room for two rows."""

    def __init__(self) -> None:
        self.tried: list[tuple[int, str | None]] = []

    def __call__(self, job: Job, reporter: RunReporter) -> TrainingResult:
        size = job.recipe.batch_size
        self.tried.append((size, job.resume_from.name if job.resume_from else None))
        if size > 2:
            checkpoint = job.checkpoints / f"checkpoint-{10 - size}"
            checkpoint.mkdir(parents=True)
            (checkpoint / "complete").touch()
            raise OutOfMemory(f"{size} rows")
        return TrainingResult(6, "0" * 64, "all steps taken", 16, 0)


def test_a_run_out_of_memory_goes_on_from_its_checkpoint_with_fewer_rows(tmp_path: Path):
    narrow, reporter = Narrow(), QuietReporter()
    trained = train_with_fitting_batch(narrow, make_job(tmp_path, batch_size=8), reporter)
    assert narrow.tried == [(8, None), (4, "checkpoint-2"), (2, "checkpoint-6")]
    assert trained.summary == "all steps taken; memory ran out, so 2 rows at a time in place of 8"
    assert [metrics for _, metrics in reporter.metrics] == [{"micro_batch": 4.0}, {"micro_batch": 2.0}]
    assert reporter.notes == [
        "memory ran out with 8 rows at a time: on with 4",
        "memory ran out with 4 rows at a time: on with 2",
    ]


def test_a_single_row_that_does_not_fit_fails_the_run(tmp_path: Path):
    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        raise OutOfMemory("wanted 80 GiB")

    with pytest.raises(TrainingFailed, match="out of memory with 1 rows at a time: wanted 80 GiB"):
        train_with_fitting_batch(train, make_job(tmp_path, batch_size=2), QuietReporter())


STARVED = """
import resource, sys, threading
from pathlib import Path
import psutil, torch
from services.trainer.bootstrap.methods import METHODS
from tests.unit.trainer.methods.test_shortages import make_job
from tests.unit.trainer.quiet_reporter import QuietReporter
torch.set_num_threads(1)
threading.stack_size(2**18)
class Reporter(QuietReporter):
    def on_phase(self, phase):
        if phase == "training" and self.phases.count(phase) == 0:
            now = psutil.Process().memory_info().vms
            resource.setrlimit(resource.RLIMIT_AS, (now + int(sys.argv[2]) * 2**20, resource.RLIM_INFINITY))
        super().on_phase(phase)
# Padded: what is too large is one array, so there is room for small things when it fails
job = make_job(Path(sys.argv[1]), batch_size=1024, max_steps=2, tuning="full", save_steps=1, prefix_sharing=False)
print(METHODS["dpo"](1, job, Reporter()).summary)
"""


def test_a_process_that_is_really_out_of_memory_trains_on(tmp_path: Path):
    pytest.importorskip("torch")
    save_tiny_model(tmp_path / "parent")
    save_dataset(tmp_path / "dataset", make_pairs(1024))
    command = [sys.executable, "-c", STARVED, str(tmp_path), "200"]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}  # an arena for each thread would take 64 MiB of addresses
    told = subprocess.run(
        command, capture_output=True, text=True, timeout=280, cwd=Path(__file__).parents[4], env=environment
    )
    assert "all steps taken; memory ran out" in told.stdout, told.stderr[-2000:]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_the_reason(tmp_path: Path, code: int):
    pytest.importorskip("torch")
    from services.trainer.adapters.methods import resource_errors

    with pytest.raises(TrainingFailed, match="no space is left"), resource_errors.translate_resource_errors(tmp_path):
        raise OSError(code, "written in vain")


def test_other_failures_stay_what_they_are(tmp_path: Path):
    pytest.importorskip("torch")
    from services.trainer.adapters.methods import resource_errors

    with pytest.raises(PermissionError), resource_errors.translate_resource_errors(tmp_path):
        raise PermissionError("not yours")


@pytest.mark.parametrize(
    ("budget", "seconds", "devices", "summary"),
    [
        (Budget(max_minutes=30), 1799, 1, None),
        (Budget(max_minutes=30), 1800, 1, "the budget of 30 minutes is used up"),
        (Budget(max_cost=10, cost_per_device_hour=4), 3600, 2, None),
        (Budget(max_cost=8, cost_per_device_hour=4), 3600, 2, "the budget of 8 is used up: 2 devices cost 8.00 so far"),
        (Budget(), 1e9, 8, None),
    ],
)
def test_a_budget_is_used_up_by_time_or_by_cost(budget: Budget, seconds: float, devices: int, summary: str | None):
    assert explain_overrun(budget, seconds, devices) == summary


def test_a_budget_of_money_needs_a_price():
    with pytest.raises(InvalidRequest) as raised:
        make_recipe(budget={"max_cost": 5})
    assert [error.field for error in raised.value.errors] == ["budget.cost_per_device_hour"]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning")
def test_a_run_over_its_budget_ends_there_and_keeps_what_it_learned(tmp_path: Path):
    pytest.importorskip("torch")
    from services.trainer.bootstrap.methods import METHODS

    save_tiny_model(tmp_path / "parent")
    save_dataset(tmp_path / "dataset", make_pairs(16))
    job = make_job(tmp_path, max_steps=400, budget={"max_minutes": 0.01})
    trained = METHODS["dpo"](1, job, QuietReporter())
    assert 0 < trained.steps < 400
    assert trained.summary == "the budget of 0.01 minutes is used up"
    assert (job.candidate / "config.json").is_file()
