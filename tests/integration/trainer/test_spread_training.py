"""A run spread over two processes on the CPU: really divided, the same losses, one whole candidate."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.trainer.adapters.distributed import launcher
from services.trainer.adapters.distributed.launcher import ProcessesDied
from services.trainer.bootstrap.methods import METHODS
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.training import Interrupted, Job, TrainingFailed, TrainingResult
from shared.errors import StaleClaim
from tests.unit.trainer.quiet_reporter import QuietReporter
from tests.unit.trainer.tiny_model import make_pairs, save_dataset, save_tiny_model

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
]
SAME_LOSS = 5e-4
"""Sums over two processes round otherwise than sums in one."""


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("parent"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, pairs = tmp_path_factory.mktemp("dataset"), make_pairs(16)
    labels = [
        {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
        for pair in pairs
        for side in ("chosen", "rejected")
    ]
    pq.write_table(pa.Table.from_pylist(labels), folder / "labels.parquet")
    return save_dataset(folder, pairs)


def make_job(checkpoints: Path, parent: Path, dataset: Path, strategy: str, **settings: Any) -> Job:
    processes = 1 if strategy == "single" else 2
    content: dict[str, Any] = {"name": "spread", "method": "dpo", "max_steps": 6, "batch_size": 2, "save_steps": 3}
    content |= {"learning_rate": 1.0e-3, "parallelism": {"strategy": strategy, "processes": processes}} | settings
    return Job(parse_recipe(content), parent, dataset, checkpoints, None, checkpoints / "candidate")


def train(job: Job, reporter: Any) -> TrainingResult:
    return METHODS[job.recipe.method](1, job, reporter)


def list_losses(reporter: QuietReporter) -> list[float]:
    return [metrics["loss"] for _, metrics in reporter.metrics if "loss" in metrics]


def load_weights(folder: Path) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM

    weights: dict[str, Any] = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    return weights


@pytest.mark.parametrize(
    ("strategy", "tuning", "wrapper", "weights_divided_by", "state_divided_by"),
    [
        ("ddp", "lora", "DistributedDataParallel", 1, 1),
        ("fsdp2", "full", "FSDPLlamaForCausalLM", 2, 2),
        ("zero2", "full", "DeepSpeedEngine", 1, 2),
        ("zero3", "full", "DeepSpeedEngine", 2, 2),
    ],
)
def test_two_processes_divide_the_work_and_learn_what_one_learns(
    tmp_path: Path,
    parent: Path,
    dataset: Path,
    strategy: str,
    tuning: str,
    wrapper: str,
    weights_divided_by: int,
    state_divided_by: int,
):
    alone, together = QuietReporter(), QuietReporter()
    train(make_job(tmp_path / "single" / "1", parent, dataset, "single", tuning=tuning, batch_size=4), alone)
    job = make_job(tmp_path / strategy / "1", parent, dataset, strategy, tuning=tuning)
    trained = train(job, together)

    assert (trained.steps, together.steps) == (6, [1, 2, 3, 4, 5, 6])
    assert [checkpoint.name for checkpoint in together.checkpoints] == ["checkpoint-3", "checkpoint-6"]
    assert list_losses(together) == pytest.approx(list_losses(alone), abs=SAME_LOSS)
    record = json.loads((job.checkpoints / "parallelism.json").read_text())
    assert record["wrapper"] == wrapper
    before, after = load_weights(parent), load_weights(job.candidate)
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)
    if tuning == "full":
        whole = sum(weight.numel() for name, weight in before.items() if name != "lm_head.weight")  # it is tied
        for held in record["held"]:
            assert held["parameters"] == pytest.approx(whole / weights_divided_by, rel=0.01)
            assert held["optimizer_state"] == pytest.approx(2 * whole / state_divided_by, rel=0.01)


@pytest.fixture(scope="module")
def half(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with its weights in 16 bits."""
    from services.trainer.adapters.methods.models import load_policy

    folder = tmp_path_factory.mktemp("half")
    shutil.copytree(parent, folder, dirs_exist_ok=True)
    load_policy(parent).bfloat16().save_pretrained(folder)
    return folder


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process notes what it held."""
    make_command = launcher._make_command

    def make_watched_command(processes: int, place: Any, order: Path) -> list[str]:
        [*start, _, order_file] = make_command(processes, place, order)
        return [*start, "tests.integration.trainer.watched_rank", order_file]

    monkeypatch.setattr(launcher, "_make_command", make_watched_command)


def read_notes(job: Job) -> list[dict[str, Any]]:
    return [json.loads((job.checkpoints / f"held.{rank}").read_text()) for rank in range(2)]


@pytest.mark.parametrize(
    ("method", "strategy", "tuning"),
    [
        ("kto", "fsdp2", "full"),
        ("dpo", "fsdp2", "lora"),
        pytest.param("dpo", "zero3", "lora", marks=pytest.mark.faults),
    ],
)
def test_the_reference_is_the_parent_and_no_process_holds_the_whole_model(
    tmp_path: Path, half: Path, dataset: Path, watched: None, method: str, strategy: str, tuning: str
):
    reporter, adapter = QuietReporter(), {"lora": {"r": 2}} if tuning == "lora" else {}
    job = make_job(tmp_path / "1", half, dataset, strategy, method=method, tuning=tuning, max_steps=2, **adapter)
    assert train(job, reporter).steps == 2
    first = next(metrics for _, metrics in reporter.metrics if "loss" in metrics)
    assert first["rewards/chosen"] == pytest.approx(0.0, abs=1e-4), "before the first step policy and reference agree"
    assert first["rewards/rejected"] == pytest.approx(0.0, abs=1e-4)
    order = json.loads((job.checkpoints / "order.json").read_text())
    assert order["folders"]["weights"].endswith("shared_weights"), "one copy in the run's format for all processes"
    assert not (job.checkpoints / "shared_weights").exists()
    before, after = load_weights(half), load_weights(job.candidate)
    assert any((before[name] != after[name]).any() for name in before)
    whole = sum(weight.numel() for name, weight in before.items() if name != "lm_head.weight")  # it is tied
    for notes in read_notes(job):
        if strategy == "zero3":
            assert notes["loaded"] == pytest.approx(whole / 2, rel=0.01), "divided as it is loaded"
        else:
            assert (notes["loaded"], notes["own_memory"]) == (whole, False), "mapped from the file that both share"
            layer = sum(before[name].numel() for name in before if ".layers." in name) // 2
            assert 0 < notes["placed"] < whole - layer / 2, "one layer of two, embedding and head"


@pytest.mark.faults
def test_a_stopped_run_goes_on_from_its_checkpoint_over_as_many_processes(tmp_path: Path, parent: Path, dataset: Path):
    undisturbed, stopped = QuietReporter(), QuietReporter(stop_at=2)
    job = make_job(tmp_path / "a" / "1", parent, dataset, "zero2", max_steps=40)
    train(job, undisturbed)
    with pytest.raises(Interrupted):
        train(replace(job, checkpoints=tmp_path / "b" / "1"), stopped)
    [*_, checkpoint] = stopped.checkpoints
    resumed = QuietReporter()
    train(replace(job, checkpoints=tmp_path / "b" / "2", resume_from=checkpoint), resumed)
    assert resumed.steps[0] == stopped.steps[-1] + 1
    assert list_losses(stopped) + list_losses(resumed) == pytest.approx(list_losses(undisturbed), abs=SAME_LOSS)


def test_the_death_of_one_process_ends_all_with_a_reason(tmp_path: Path, parent: Path, dataset: Path):
    class Murderer(QuietReporter):
        def on_step(self, step: int, total: int) -> None:
            if step == 2:
                os.kill(max(find_ranks(tmp_path)), signal.SIGKILL)

    with pytest.raises(ProcessesDied):
        train(make_job(tmp_path / "1", parent, dataset, "ddp", max_steps=2000), Murderer())
    assert find_ranks(tmp_path) == []


def test_a_lost_claim_ends_all_processes(tmp_path: Path, parent: Path, dataset: Path):
    class Loser(QuietReporter):
        def on_micro_step(self) -> None:
            if self.steps:
                raise StaleClaim("somebody else holds the run")

    with pytest.raises(StaleClaim):
        train(make_job(tmp_path / "1", parent, dataset, "ddp", max_steps=2000), Loser())
    assert find_ranks(tmp_path) == []


def test_what_a_process_finds_wrong_is_the_reason(tmp_path: Path, parent: Path):
    dataset = save_dataset(tmp_path / "dataset", make_pairs(16))
    (dataset / "train.parquet").unlink()
    with pytest.raises(TrainingFailed, match=r"no train\.parquet"):
        train(make_job(tmp_path / "1", parent, dataset, "ddp"), QuietReporter())


def find_ranks(folder: Path) -> list[int]:
    """Processes that train in this folder."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if (command := process.info["cmdline"] or [])
        and command[-1].startswith(str(folder))
        and "-m" in command[:3]
        and "services.trainer.bootstrap.rank" in command[:4]
    ]
