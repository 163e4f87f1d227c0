"""What a machine stores of a run's end, and what of it outlives a store that is away."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from services.trainer.adapters.launching.mailbox import Mailbox
from services.trainer.adapters.launching.run_store import RunStore
from services.trainer.adapters.launching.stored_checkpoints import StoredCheckpoints
from services.trainer.bootstrap.addressed import cleaned_up
from services.trainer.domain.launching.endings import OutcomeUnsent, PeerLost
from services.trainer.domain.planning.places import ALONE, Place
from services.trainer.domain.training import Interrupted, Job, OutOfMemory, TrainingFailed, TrainingResult
from services.trainer.handlers.addressed import AddressedOrder, run_addressed
from services.trainer.handlers.memory_fallback import train_with_fitting_batch
from services.trainer.ports import RunReporter, TrainingMethod
from shared.artifacts import Artifacts, ArtifactStoreUnavailable
from shared.artifacts.manifest import Note
from tests.builders import make_recipe

RESULT = TrainingResult(4, "w" * 64, "all steps taken", 60, 0)


class FlakyStore(Artifacts):
    """A store that is away for the next so many uploads to addresses with this word."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, max_cache_bytes=1 << 30)
        self.away: dict[str, int] = {}

    def upload(self, folder: Path, uri: str, note: Note | None = None) -> str:
        for word, left in self.away.items():
            if word in uri and left > 0:
                self.away[word] = left - 1
                raise ArtifactStoreUnavailable(f"{uri} could not be reached")
        return super().upload(folder, uri, note)


class Machine:
    """One machine on which a run starts, again and again."""

    def __init__(self, folder: Path) -> None:
        self.store = FlakyStore(folder / "cache")
        self.output = (folder / "store").as_uri()
        self.home, self.trained = folder / "home", 0

    def order(self, number: int = 1, patience: float = 0.0, **changes: Any) -> AddressedOrder:
        fields: dict[str, Any] = {
            "recipe": make_recipe(),
            "base": self.home / "base",
            "base_uri": "s3://b/base",
            "base_sha256": None,
            "dataset": self.home / "dataset",
            "output": self.output,
            "number": number,
            "folder": self.home / "trained",
            "place": ALONE,
            "patience_seconds": patience,
        }
        return AddressedOrder(**fields | changes)

    def start(self, order: AddressedOrder, train: TrainingMethod | None = None) -> None:
        run_addressed(order, train or self.train, self.store, lambda _: None, threading.Event())

    def train(self, job: Job, reporter: RunReporter) -> TrainingResult:
        self.trained += 1
        job.candidate.mkdir(parents=True)
        (job.candidate / "model.safetensors").write_bytes(b"weights")
        return RESULT

    def mailbox(self, number: int = 1) -> Mailbox:
        return Mailbox(RunStore(self.store, self.output), number)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def save_checkpoint(job: Job, reporter: RunReporter, step: int) -> None:
    checkpoint = job.checkpoints / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_text(f"{step}")
    reporter.on_checkpoint(checkpoint)


@pytest.mark.parametrize("what", ["attempts/1/candidate", "attempts/1/outcome"], ids=["candidate", "outcome"])
def test_a_store_that_is_away_for_one_call_costs_nothing_that_was_trained(machine: Machine, what: str):
    machine.store.away = {what: 1}
    machine.start(machine.order(patience=0.1))
    outcome = machine.mailbox().read_outcome()
    assert outcome is not None
    assert (outcome.kind, outcome.result) == ("trained", RESULT)


def test_a_store_that_stays_away_is_no_failure_and_the_next_start_here_stores_what_was_trained(machine: Machine):
    machine.store.away = {"attempts/1/candidate": 99, "attempts/1/outcome": 99}
    order = machine.order()
    order.dataset.mkdir(parents=True)
    with pytest.raises(OutcomeUnsent), cleaned_up(order, machine.store):
        machine.start(order)
    assert machine.mailbox().read_outcome() is None
    machine.start(machine.order(number=2))
    assert machine.trained == 1
    outcome = machine.mailbox(2).read_outcome()
    assert outcome is not None
    machine.mailbox(2).fetch_candidate(machine.home / "fetched", outcome.candidate_sha256)


def test_a_candidate_that_the_store_did_not_take_is_an_interrupted_run_and_stays_on_this_disk(machine: Machine):
    machine.store.away = {"attempts/1/candidate": 99}
    order = machine.order()
    order.dataset.mkdir(parents=True)
    with pytest.raises(OutcomeUnsent), cleaned_up(order, machine.store):
        machine.start(order)
    assert (order.folder / "1" / "candidate").exists()
    outcome = machine.mailbox().read_outcome()
    assert outcome is not None
    assert outcome.kind == "interrupted"


def test_the_last_checkpoint_is_stored_at_the_end_if_the_store_was_away_when_it_came(machine: Machine):
    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        save_checkpoint(job, reporter, 3)
        raise Interrupted("told to end")

    machine.store.away = {"checkpoint-3": 1}
    with pytest.raises(Interrupted):
        machine.start(machine.order(), train)
    StoredCheckpoints(RunStore(machine.store, machine.output), machine.home / "other", ALONE).restore()
    assert (machine.home / "other" / "1" / "checkpoint-3" / "weights").read_text() == "3"


def test_what_is_on_this_disk_goes_once_the_outcome_is_stored(machine: Machine):
    order = machine.order()
    order.dataset.mkdir(parents=True)
    with cleaned_up(order, machine.store):
        machine.start(order)
    assert not order.folder.exists()


def test_training_learns_by_its_budget_when_the_machine_is_taken_back(machine: Machine):
    budgets = []

    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        budgets.append(job.recipe.budget.max_minutes)
        return machine.train(job, reporter)

    machine.start(machine.order(ends_at=time.monotonic() + 3600), train)
    assert budgets == [pytest.approx(54, abs=0.1)]


def test_what_has_no_budget_is_told_to_save_a_checkpoint_before_the_machine_is_taken_back(machine: Machine):
    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        while not reporter.stopping:
            time.sleep(0.01)
        save_checkpoint(job, reporter, 3)
        raise Interrupted("at step 3")

    with pytest.raises(TrainingFailed, match="time was up"):
        machine.start(machine.order(ends_at=time.monotonic() + 0.5), train)
    outcome = machine.mailbox().read_outcome()
    assert outcome is not None
    assert (outcome.kind, outcome.cause) == ("failed", "launcher")
    assert machine.store.list_below(f"{machine.output}/checkpoints") == ["1/checkpoint-3/part-0-of-1"]


def test_an_engine_that_starts_an_attempt_again_does_not_change_what_it_came_to(machine: Machine):
    mailbox = machine.mailbox()
    mailbox.begin()
    machine.start(machine.order())
    with pytest.raises(Interrupted, match="second time"):
        mailbox.begin()
    outcome = mailbox.read_outcome()
    assert outcome is not None
    assert outcome.kind == "trained"


@pytest.mark.parametrize(("rank", "error"), [(0, "lost"), (1, "lost"), (1, "memory")])
def test_each_of_several_machines_leaves_its_word(machine: Machine, rank: int, error: str):
    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        raise OutOfMemory("7 GiB") if error == "memory" else ImportError("no module named flash_attn")

    with pytest.raises(PeerLost):
        machine.start(
            machine.order(place=Place(rank, 2)), lambda job, reporter: train_with_fitting_batch(train, job, reporter)
        )
    mailbox = machine.mailbox()
    words = [mailbox.read_outcome(), *mailbox.read_others(2)]
    [word] = [word for word in words if word is not None]
    assert word.kind == error
    assert word.detail in ("7 GiB", "ImportError: no module named flash_attn")
    assert (mailbox.read_outcome() is None) == (rank == 1)
