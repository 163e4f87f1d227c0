"""What goes wrong in a run ends it as its guard or its cause says: on the run, in the event, in the metrics.

Real training of a tiny model through the worker's handler. The champion is never touched.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

torch = pytest.importorskip("torch")

from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402

from services.trainer.bootstrap.methods import METHODS  # noqa: E402
from services.trainer.consumer import RetrainHandler  # noqa: E402
from services.trainer.domain.recipe import parse_recipe  # noqa: E402
from services.trainer.handlers.training import Workplace, carry_out  # noqa: E402
from shared.registry.memory import MemoryRegistry  # noqa: E402
from shared.tables.trainer import Run  # noqa: E402
from tests.integration.test_trainer import (  # noqa: E402
    list_announced,
    load_run,
    make_request,
    make_sweeper,
    make_workplace,
    request,
)
from tests.unit.trainer.test_methods import SAMPLED, freeze, make_job, train  # noqa: E402
from tests.unit.trainer.tiny_model import make_pairs, save_dataset, save_tiny_model  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
Sessions = sessionmaker[Session]
SHORT = {"max_steps": 6, "max_length": 96, "learning_rate": 1e-3, "save_steps": 1}
GUARDS = {"patience": 2, "max_adjustments": 0}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    engine = create_engine(database_url)
    yield sessionmaker(engine, expire_on_commit=False)
    engine.dispose()


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("parent"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return freeze(tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory, parent: Path) -> Path:
    job = make_job(tmp_path_factory.mktemp("reward"), parent, method="reward", max_steps=2)
    train(job)
    return job.candidate


@pytest.fixture(scope="module")
def collapsed_reward_model(tmp_path_factory: pytest.TempPathFactory, reward_model: Path) -> Path:
    """Every answer is worth the same to it."""
    folder = tmp_path_factory.mktemp("collapsed")
    model = AutoModelForSequenceClassification.from_pretrained(reward_model)
    model.score.weight.data.zero_()
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(reward_model).save_pretrained(folder)
    return folder


def ask(sessions: Sessions, dataset: Path, recipe: dict[str, Any]) -> Run:
    """A queued run of this recipe."""
    handler = RetrainHandler(lambda name: parse_recipe({"name": name} | recipe), "injected", "")
    event = make_request(dataset_uri=str(dataset))
    with sessions() as session, session.begin():
        handler.handle(session, event)
    return request(sessions, event)  # again: the run that is there


def carry_out_real(sessions: Sessions, run: Run, workplace: Workplace) -> Run:
    carry_out(run.run_id, workplace)
    carry_out(run.run_id, workplace)  # a second message for the same run
    make_sweeper(sessions, lambda run_id: None).sweep()
    return load_run(sessions, run.run_id)


def make_real_workplace(sessions: Sessions, folder: Path, parent: Path, method: str) -> Workplace:
    """The methods as a worker has them, and a champion."""
    registry = MemoryRegistry(folder / "artifacts")
    registry.register(str(parent), None, {"served_model": str(parent)})
    registry.set_alias("champion", "1")
    train_real = partial(METHODS[method], 1)  # type: ignore[index]  # a method's name
    return replace(make_workplace(sessions, folder, train_real), registry=registry, train={method: train_real})


def assert_failed_only(sessions: Sessions, run: Run, registry: MemoryRegistry, reason: str) -> None:
    assert run.state == "failed"
    assert run.reason is not None
    assert re.search(reason, run.reason), run.reason
    [announced] = list_announced(sessions)
    assert (announced.outcome, announced.reason, announced.candidate_version) == ("failed", run.reason, None)
    assert REGISTRY.get_sample_value("heliotrope_training_runs", {"state": "failed"}) == 1
    assert [version.version for version in registry.list_versions()] == ["1"]
    assert registry.load_alias("champion") == "1"


def count_stopped() -> float | None:
    return REGISTRY.get_sample_value("heliotrope_training_guarded_runs", {"action": "stop"})


@pytest.mark.parametrize(
    ("failure", "recipe", "reason"),
    [
        ("nan", {"method": "dpo", "learning_rate": 1e30}, r"is nan|is inf"),
        ("collapsed reward model", {"method": "rloo", "guards": {"patience": 3}}, "rewards no longer differ"),
        (
            "runaway KL",
            {
                "method": "rloo",
                "kl_coefficient": 0.0,
                "learning_rate": 1e-2,
                "tuning": "full",
                "batch_size": 8,
                "max_steps": 20,
                "guards": GUARDS | {"max_kl": 0.1},
            },
            r"KL [\d.]+ nats is above 0.1",
        ),
    ],
    ids=["nan", "collapse", "kl"],
)
def test_a_guard_ends_the_run_and_says_so_everywhere(
    sessions: Sessions,
    tmp_path: Path,
    parent: Path,
    dataset: Path,
    reward_model: Path,
    collapsed_reward_model: Path,
    failure: str,
    recipe: dict[str, Any],
    reason: str,
):
    if recipe["method"] == "rloo":
        chosen = collapsed_reward_model if failure == "collapsed reward model" else reward_model
        recipe = SAMPLED | recipe | {"reward_model": str(chosen)}
    workplace = make_real_workplace(sessions, tmp_path, parent, recipe["method"])
    run = carry_out_real(sessions, ask(sessions, dataset, SHORT | recipe), workplace)
    assert isinstance(workplace.registry, MemoryRegistry)
    assert_failed_only(sessions, run, workplace.registry, reason)
    assert run.progress["guard"] == "stop"
    assert count_stopped() == 1
    [tracked] = workplace.registry.runs.values()
    assert tracked["status"] == "FAILED"
    assert any("guards/stop" in metrics for _, metrics in tracked["metrics"])


def test_a_full_disk_ends_the_run_and_is_named(sessions: Sessions, tmp_path: Path, parent: Path, dataset: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        workplace = make_real_workplace(sessions, tmp_path, parent, "dpo")
        run = ask(sessions, dataset, SHORT | {"method": "dpo"})
        run = carry_out_real(sessions, run, replace(workplace, runs_folder=disk))
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    assert isinstance(workplace.registry, MemoryRegistry)
    assert_failed_only(sessions, run, workplace.registry, "no space is left under")


STARVED = """
import resource, sys, threading
from dataclasses import replace
from pathlib import Path
from uuid import UUID
import psutil, torch
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker
from services.trainer.handlers.training import carry_out
from tests.integration import test_injected_failures as here
torch.set_num_threads(1)
threading.stack_size(2**18)
database_url, run_id, folder, parent = sys.argv[1:]
sessions = sessionmaker(create_engine(database_url), expire_on_commit=False)
workplace = here.make_real_workplace(sessions, Path(folder), Path(parent), "dpo")
train = workplace.train["dpo"]

def train_starved(job, watch):
    tell = watch.on_phase
    def on_phase(phase):
        if phase == "training":
            now = psutil.Process().memory_info().vms
            resource.setrlimit(resource.RLIMIT_AS, (now + 24 * 2**20, resource.RLIM_INFINITY))
        tell(phase)
    watch.on_phase = on_phase
    return train(job, watch)

carry_out(UUID(run_id), replace(workplace, train={"dpo": train_starved}))
assert [version.version for version in workplace.registry.list_versions()] == ["1"]
assert workplace.registry.load_alias("champion") == "1"
"""


def test_a_row_that_does_not_fit_into_memory_ends_the_run(
    sessions: Sessions, database_url: str, tmp_path: Path, parent: Path
):
    """In a process that may take 24 MiB more, where the logits of one such pair and their gradients take more."""
    pairs = make_pairs(4)
    for pair in pairs:
        pair["chosen"] = [{"role": "assistant", "content": "Open My Orders. " * 800}]
    dataset = save_dataset(tmp_path / "dataset", pairs)
    recipe = SHORT | {"method": "dpo", "batch_size": 2, "max_length": 6000}
    run = ask(sessions, dataset, recipe)
    command = [sys.executable, "-c", STARVED, database_url, str(run.run_id), str(tmp_path), str(parent)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}  # an arena for each thread would take 64 MiB of addresses
    told = subprocess.run(
        command, capture_output=True, text=True, timeout=240, cwd=Path(__file__).parents[2], env=environment
    )
    assert told.returncode == 0, told.stderr[-2000:]
    make_sweeper(sessions, lambda run_id: None).sweep()
    registry = MemoryRegistry(tmp_path / "none")
    registry.register("/models/base", None, {})
    registry.set_alias("champion", "1")
    assert_failed_only(sessions, load_run(sessions, run.run_id), registry, "out of memory with 1 rows at a time")


def test_a_broken_recipe_ends_the_run_before_anything_is_trained(sessions: Sessions, tmp_path: Path, dataset: Path):
    run = ask(sessions, dataset, {"method": "dpo", "max_steps": 0})
    workplace = make_real_workplace(sessions, tmp_path, tmp_path, "dpo")
    run = carry_out_real(sessions, run, workplace)
    assert isinstance(workplace.registry, MemoryRegistry)
    assert_failed_only(sessions, run, workplace.registry, "recipe 'injected' cannot be used: max_steps")
    assert workplace.registry.runs == {}
